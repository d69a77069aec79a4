"""Standard output: answers, and nothing else."""

from __future__ import annotations

import fcntl
import os
import stat
import sys

from ..errors import OutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = "standard output"


class Unread(OutputError):
    """Nobody reads an answer to its end, as behind `head`: they have what they wanted."""


def check_is_open() -> None:
    """Raise `OutputError` if standard output is closed."""
    if sys.stdout is None:
        raise OutputError(f"{NAME} is closed", "redirect it, or write a file with -o FILE")


def is_named_by(path: str) -> bool:
    """Whether a path is another name for it, such as `/dev/stdout`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def is_a_file_of_its_own() -> bool:
    """Whether it is redirected to a file of its own: the user expects output there.

    A log has standard error, too, or is appended to, or has something in it already.
    """
    try:
        status = os.fstat(1)
        is_log = os.path.samestat(status, os.fstat(2)) or status.st_size > 0
        return (
            stat.S_ISREG(status.st_mode)
            and not is_log
            and not fcntl.fcntl(1, fcntl.F_GETFL) & os.O_APPEND
        )
    except OSError:
        return False


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output, as UTF-8 whatever the locale.

    Args:
        lines: texts; a newline is added to each that does not end with one.

    Raises:
        OutputError: it cannot be written; `Unread` if its reader has closed it.
    """
    check_is_open()
    try:
        for line in lines:
            data = line if line.endswith("\n") else f"{line}\n"
            _write(data.encode(errors="surrogateescape"))
        _write(b"")
    except OSError as failure:
        kind = Unread if isinstance(failure, BrokenPipeError) else OutputError
        raise kind(
            f"{NAME} cannot be written: {failure.strerror}",
            "redirect it to a file, or pipe it into a program that reads it",
        ) from failure


def _write(data: bytes) -> None:
    """Write all of it; flush if it is empty.

    With PYTHONUNBUFFERED there is no buffer, and only a part may be written.
    """
    out, view = sys.stdout.buffer, memoryview(data)
    while True:
        try:
            # None stands for nothing, because a pipe does not block.
            view = view[(out.write(view) if view else out.flush()) or 0 :]
        except BlockingIOError as full:
            view = view[full.characters_written :]
        else:
            if not view:
                return
        from ..pipes import await_reader

        await_reader(out.fileno())
