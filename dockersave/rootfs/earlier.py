"""The directory that an earlier save has made: what of it can be kept.

A file is kept if the record says that it has the same content of the same layer, and its inode was
not changed since. It gets a second name. When the old directory is removed, that is the only one:
the file was moved, while readers of the old directory had all of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from .merge import Entry
from .missing import Missing, lacking
from .record import Record, Row

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Kept(NamedTuple):
    """A file that was kept.

    Args:
        status: its state.
        missing: what it lacks.
    """

    status: os.stat_result
    missing: Missing


class Earlier:
    """What an earlier save has left.

    Args:
        record: what it remembers.
        folder: the root of its file system, open.
        layers: the diff_ids of the layers now.
    """

    def __init__(self, record: Record, folder: int, layers: Sequence[str]) -> None:
        self._record = record
        self._folder = folder
        self._layers = layers
        self._rows = Rows(record.rows())

    def keep(self, entry: Entry, parent: int, name: bytes) -> Kept | None:
        """Give a file of it another name.

        Args:
            entry: what is to have the name. Later calls are for later paths.
            parent: the directory of the new name, open.
            name: the new name in it.

        Returns:
            The file; None if it must be written anew.
        """
        row = self._rows.at(entry.path)
        if row is None or not self._is_content(row, entry):
            return None
        try:
            before = os.lstat(entry.path, dir_fd=self._folder)
            if not is_untouched(row, before):
                return None
            missing = lacking(entry.member, before, partial(self._xattr, entry.path))
            if missing != Missing() and not os.geteuid():
                # This time root may have it.
                return None
            os.link(
                entry.path, name, src_dir_fd=self._folder, dst_dir_fd=parent, follow_symlinks=False
            )
            after = os.lstat(name, dir_fd=parent)
            if after.st_ino != row.inode:
                # Exchanged in between.
                os.unlink(name, dir_fd=parent)
                return None
        except OSError:
            # No links on this file system, or too many: written anew, it is right, too.
            return None
        return Kept(after, missing)

    def read(self, entry: Entry, most: int) -> bytes | None:
        """The start of a file that could be kept; None if it could not.

        Args:
            entry: the file.
            most: how many bytes at most.
        """
        row = Rows(self._record.rows()).at(entry.path)
        if row is None or not self._is_content(row, entry):
            return None
        try:
            fd = os.open(entry.path, _READING, dir_fd=self._folder)
        except OSError:
            return None
        try:
            return os.pread(fd, most, 0) if is_untouched(row, os.fstat(fd)) else None
        finally:
            os.close(fd)

    def _xattr(self, path: bytes, key: bytes) -> bytes | None:
        try:
            return os.getxattr(b"/proc/self/fd/%d/%b" % (self._folder, path), key)
        except OSError:
            return None

    def _is_content(self, row: Row, entry: Entry) -> bool:
        is_layer = self._record.layers[row.layer] == self._layers[entry.layer]
        return is_layer and row.content == entry.member.content


class Rows:
    """Rows by their paths, which are asked for in order.

    Args:
        rows: in the order of a tree's entries.
    """

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def at(self, path: bytes) -> Row | None:
        """The row of a path, if there is one."""
        wanted = _key(path)
        while self._next and _key(self._next.path) < wanted:
            self._next = next(self._rows, None)
        return self._next if self._next and self._next.path == path else None


def is_untouched(row: Row, status: os.stat_result) -> bool:
    """Whether a file is what the row says, unchanged."""
    found = status.st_ino, status.st_ctime_ns
    return stat.S_ISREG(status.st_mode) and found == (row.inode, row.changed)


def _key(path: bytes) -> bytes:
    """What sorts paths as a tree's entries are: a directory, and what is in it, before the next."""
    return path.replace(b"/", b"\0")
