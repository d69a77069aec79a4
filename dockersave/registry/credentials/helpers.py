"""Credential helpers: programs named `docker-credential-X` that keep secrets for Docker.

Source: https://github.com/docker/docker-credential-helpers, "Development": `get` reads a server's
name on standard input and writes `{"ServerURL", "Username", "Secret"}`, or a message with a
non-zero exit status.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, cast

from ...cancellation import Cancellation
from ...limits import LIMITS
from ...model.weight import is_too_heavy

# It becomes part of a program's name: paths are not allowed.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = b"credentials not found"
_TICK = 0.1
"""How often, in seconds, a waiting thread checks whether the run was stopped."""


class HelperError(Exception):
    """A helper failed. The text says why in a few words, without its output."""


def get(
    name: str,
    server: str,
    environ: Mapping[str, str],
    cancellation: Cancellation,
) -> tuple[str, str] | None:
    """Call a credential helper.

    What the helper writes is never shown: it may be, or contain, the secret.

    Args:
        name: as in config.json, without `docker-credential-`.
        server: the server whose credentials to get.
        environ: this process's environment; the helper is searched in its PATH.
        cancellation: ends the wait, and the helper.

    Returns:
        The user and the secret, or None if the helper has none for this server.

    Raises:
        HelperError: it is missing, slow, fails, or its answer is malformed.
        CancelledError: the run was stopped.
    """
    if not _NAME.fullmatch(name):
        raise HelperError("that is not a valid helper name")
    environ = original_environment(environ)
    program = shutil.which(f"docker-credential-{name}", path=environ.get("PATH", os.defpath))
    if program is None:
        raise HelperError("it is not installed, or not on the PATH")
    return _answer(*_run([program, "get"], server.encode(), environ, cancellation))


def _answer(status: int, output: bytes) -> tuple[str, str] | None:
    """A helper's answer."""
    if status:
        if _NOT_FOUND in output:
            return None
        raise HelperError(f"it exited with status {status}")
    try:
        is_heavy = is_too_heavy(output, LIMITS.answer_marks)
        document = None if is_heavy else json.loads(output)
    except (ValueError, RecursionError):
        document = None
    answer = document if isinstance(document, dict) else {}
    user, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise HelperError("its answer contains no credentials")
    return (user, secret) if secret else None


def _run(
    command: list[str], question: bytes, environ: Mapping[str, str], cancellation: Cancellation
) -> tuple[int, bytes]:
    """Run a program with bounded time and output."""
    deadline = time.monotonic() + LIMITS.helper
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
        )
    except OSError as error:
        raise HelperError(f"it cannot be run: {error.strerror}") from None
    stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    with stdin, stdout:
        try:
            # The question is far smaller than a pipe's buffer, so this never blocks.
            with suppress(BrokenPipeError):
                stdin.write(question)
                stdin.close()
            output = _read(stdout.fileno(), deadline, cancellation)
            while process.poll() is None:
                cancellation.wait(_TICK)
                if time.monotonic() > deadline:
                    raise HelperError(f"it took more than {LIMITS.helper:.0f} s")
            return process.returncode, output
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _read(file: int, deadline: float, cancellation: Cancellation) -> bytes:
    """Read to the end. A helper's children can hold the pipe open, so every wait has a limit."""
    parts = bytearray()
    poll = select.poll()
    poll.register(file, select.POLLIN)
    while time.monotonic() < deadline:
        cancellation.check()
        if not poll.poll(_TICK * 1000):
            continue
        part = os.read(file, LIMITS.read_least)
        if not part:
            return bytes(parts)
        parts += part
        if len(parts) > LIMITS.token_answer:
            raise HelperError(f"it wrote more than {LIMITS.token_answer} bytes")
    raise HelperError(f"it took more than {LIMITS.helper:.0f} s")


def original_environment(
    environ: Mapping[str, str], frozen: bool = hasattr(sys, "frozen")
) -> dict[str, str]:
    """The environment as the user set it.

    PyInstaller points LD_LIBRARY_PATH at the libraries of the frozen program, where another
    program would find the wrong libc, and keeps the user's value as LD_LIBRARY_PATH_ORIG.
    https://pyinstaller.org/en/stable/runtime-information.html#ld-library-path-libpath-considerations

    Args:
        environ: this process's environment.
        frozen: whether this is the frozen program.
    """
    own = ("_PYI_", "_MEIPASS", "STATICX_")
    if not frozen:
        return dict(environ)
    result = {name: value for name, value in environ.items() if not name.startswith(own)}
    result.pop("LD_LIBRARY_PATH", None)
    users = result.pop("LD_LIBRARY_PATH_ORIG", None)
    if users is not None:
        result["LD_LIBRARY_PATH"] = users
    return result
