"""Run the command as a user does after installing it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path

from tests.cli.terminal import Terminal

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "dockersave"]
Runner = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of a user with nothing but a home."""

    return {"PATH": os.defpath, "HOME": str(folder), "PYTHONPATH": str(ROOT), **(more or {})}


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that a failure is, after checking that it is one line, and a hint."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("dockersave: error: ")
    assert len(lines) == 2
    assert lines[1].startswith("  ")
    return done.stderr


def fill(reader: int, path: str) -> None:
    """Fill a pipe to its last byte, so that writers block.

    Args:
        reader: a descriptor of its reading end, or of its writing one.
        path: of its writing end, below /proc: to open it anew changes nothing for others.
    """
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(writer, b"x" * size)
    finally:
        os.close(writer)


def on_a_terminal(folder: Path, *arguments: str) -> AbstractContextManager[Terminal]:
    """The command on a terminal of its own."""
    return closing(Terminal(folder, [*COMMAND, *arguments], environment(folder, {"TERM": "xterm"})))
