"""`NAME.saved`, the file beside a directory that says that a save made it.

It begins with a line for what it is, and a line for each fingerprint of a directory that may have
the name. After an empty line follows a `saved_record` of the directory with the first of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from ..archive.disk import write_all
from .saved_record import Record

_MAGIC = b"dockersave"
"""What it begins with."""
_GAP = b"\n\n"
"""What stands between its lines and the record."""
_LINES = 4096
"""The most that its lines have, in bytes."""


def opened(path: str) -> int:
    """Open it for reading.

    Args:
        path: its name.

    Returns:
        Its descriptor; -1 if there is none.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def known(path: str) -> tuple[list[str], int]:
    """The fingerprints of what saves made under the name, and the user who noted them.

    Args:
        path: its name.

    Raises:
        ValueError: it is something else.
        OSError: it cannot be read.
    """
    fd = opened(path)
    if fd < 0:
        return [], -1
    try:
        writer = os.fstat(fd).st_uid
        magic, *fingerprints = _lines(fd).split() or [b""]
    finally:
        os.close(fd)
    if magic != _MAGIC:
        raise ValueError(f"{path} was not written by a save")
    return [each.decode("ascii", "replace") for each in fingerprints], writer


def record_in(fd: int, spool: Callable[[], int]) -> Record:
    """The record in it.

    Args:
        fd: the file, open.
        spool: makes unnamed files.

    Raises:
        ValueError: there is none, or it is damaged.
        OSError: it cannot be read.
    """
    return Record(fd, len(_lines(fd)) + len(_GAP), spool)


def write(fd: int, fingerprints: Iterable[str], record: Iterable[bytes]) -> None:
    """Write it.

    Args:
        fd: an empty file, open.
        fingerprints: of what may have the name.
        record: of the first of them; empty for none.

    Raises:
        OSError: it cannot be written.
    """
    size = 0
    for data in (b"\n".join([_MAGIC, *map(str.encode, fingerprints), b"", b""]), *record):
        write_all(fd, data, size)
        size += len(data)


def _lines(fd: int) -> bytes:
    return os.pread(fd, _LINES, 0).partition(_GAP)[0]
