"""A program on its own terminal, as its user sees it."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Terminal:
    """A program that believes that a person is there.

    Parameters:
        folder: its working directory.
        command: path of the program, and arguments.
        env: its whole environment.
    """

    def __init__(self, folder: Path, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.output = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(folder)
                os.execve(command[0], list(command), env)
            finally:
                os._exit(99)

    def read_until(self, text: str, timeout: float = 100) -> None:
        """Read until a text has come, or fail."""
        end = time.monotonic() + timeout
        while text.encode() not in self.output:
            assert time.monotonic() < end, f"no {text!r} in {self.output!r}"
            assert self._read(), f"no {text!r} in {self.output!r}"

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def wait(self, timeout: float = 100) -> int:
        """Read all that comes until the program ends, and return its exit code."""
        end = time.monotonic() + timeout
        while self._read():
            assert time.monotonic() < end, self.output
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], 0.5)[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other end has been closed
            return False
        self.output += data
        return bool(data)

    def close(self) -> None:
        """Hang up."""
        os.close(self._fd)
