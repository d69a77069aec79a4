"""Programs that tests start and stop: found, watched until they answer, ended by their own id."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_DICE = random.SystemRandom()
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class MissingProgramError(Exception):
    """A program that the tests talk to is not installed."""


def program(name: str) -> str:
    """Return where a program is, sbin directories included.

    Raises:
        MissingProgramError: it is not installed; the message says what installs it.
    """
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise MissingProgramError(f"{name} is not installed; `make test` installs it")
    return path


def free_port() -> int:
    """Return an unused TCP port on loopback.

    It is none of those that the system gives to whoever asks for any: one of these could be
    another's by the time that a program has started.
    """
    first = int(_EPHEMERAL.read_text().split()[0])
    ports = range(_LOWEST, first if first > _LOWEST + 1000 else 1 << 16)
    while True:
        # Not by `random`, which hypothesis seeds: other processes would come to the same one.
        port = _DICE.choice(ports)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def answers(port: int) -> bool:
    """Tell whether a port of 127.0.0.1 accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def scratch(prefix: str) -> Path:
    """Make a directory that a program which drops its privileges can enter, too."""
    path = Path(tempfile.mkdtemp(prefix=f"dockersave-{prefix}-"))
    path.chmod(0o755)
    return path


class Daemon:
    """A program in the background, in a process group of its own, with its output in a file.

    Parameters:
        command: program and arguments; the program is looked up with `program`.
        log: file for its standard output and error.
        ready: asked until it is true; the daemon has started then.
        env: variables on top of the environment.
        timeout: seconds that it may take to start, and later to end.

    Raises:
        RuntimeError: it ended, or was not ready in time; the message has the end of its log.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        ready: Callable[[], bool],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.log, self._timeout = log, timeout
        name, *arguments = map(str, command)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                # It ends with the tests even where they are killed.
                [program("setpriv"), "--pdeathsig", "TERM", program(name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": _PATH, **(env or {})},
                start_new_session=True,
            )
        try:
            self._await(ready, name)
        except BaseException:
            self.stop()
            raise

    def _await(self, ready: Callable[[], bool], name: str) -> None:
        end = time.monotonic() + self._timeout
        while self.process.poll() is None and time.monotonic() < end:
            if ready():
                return
            time.sleep(0.02)
        state = f"ended with {self.process.poll()}" if self.process.poll() else "is not ready"
        raise RuntimeError(f"{name} {state}: {self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End it and all that it started; harmless when it has ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                try:
                    self.process.wait(self._timeout)
                except subprocess.TimeoutExpired:
                    continue
        # Nobody of its group is left, as it should be, or else not for long.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
