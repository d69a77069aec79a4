"""The directory that an earlier save has made: what of it can be kept.

A file is kept if its inode was not changed since, and the record says that it is the same member of
the same layer, or one with the same attributes, and the content is the same. It gets a second name.
When the old directory is removed, that is the only one: the file was moved, while readers of the
old directory had all of it. Who writes into the old directory until then writes into the new one,
too: so what was kept is checked again, before it is published and before it is recorded.

A program that has such a file open for writing can write into it even later: the guide to formats
says to stop it first. A lease (fcntl(2), F_SETLEASE) would tell whether there is one. But whoever
opens the file at that moment makes the kernel send SIGIO, which ends a process that does not handle
it, and a save installs no handlers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from .content import whole
from .headers import FILE, Content, Headers, Member
from .nodes import Entry
from .saved_record import Record, Row

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Earlier:
    """What an earlier save has left.

    Args:
        record: what it remembers.
        folder: the root of its file system, open.
        layers: the diff_ids of the layers now.
        check: called now and then; may raise to stop.
    """

    def __init__(
        self,
        record: Record,
        folder: int,
        layers: Sequence[str],
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._record = record
        self._folder = folder
        self._layers = layers
        self._check = check
        self._rows = Rows(record.rows())

    def keep(self, entry: Entry, layer: Content, parent: int, name: bytes) -> Row | None:
        """Give a file of it another name.

        Args:
            entry: what is to have the name. Later calls are for later paths.
            layer: the layer that has its content.
            parent: the directory of the new name, open.
            name: the new name in it.

        Returns:
            Which one it is, with the time of that change; None if it must be written anew.
        """
        row = self._rows.at(entry.path)
        if row is None or not self._may_keep(row, entry):
            return None
        try:
            if not self._is_same(row, entry) and not self._is_equal(row, entry, layer):
                return None
            os.link(
                entry.path, name, src_dir_fd=self._folder, dst_dir_fd=parent, follow_symlinks=False
            )
            status = os.lstat(name, dir_fd=parent)
            if status.st_ino != row.inode:
                # Exchanged in between.
                os.unlink(name, dir_fd=parent)
                return None
        except OSError:
            # No links on this file system, or too many: written anew, it is right, too.
            return None
        return Row(row.path, row.layer, row.offset, row.inode, status.st_ctime_ns, row.lacks)

    def lacks(self, entries: Iterable[Entry]) -> tuple[int, set[int]]:
        """The least that is missing of a file system: all, if there are no hard links here.

        Args:
            entries: all of the file system.

        Returns:
            How much content of files, in bytes, and the numbers of the layers that must be read:
            for that content, or to compare files of other layers with it.
        """
        rows, size, layers = Rows(self._record.rows()), 0, set()
        for entry in entries:
            if entry.kind != FILE or entry.same:
                continue
            row = rows.at(entry.path)
            if row is None or not self._may_keep(row, entry):
                size += entry.member.stored
                layers.add(entry.layer)
            elif not self._is_same(row, entry):
                layers.add(entry.layer)
        return size, layers

    def _may_keep(self, row: Row, entry: Entry) -> bool:
        """Whether a file is untouched, and the same, or as large as one of another layer."""
        if row.lacks and not os.geteuid():
            # What it lacks, root may have this time.
            return False
        try:
            status = os.lstat(entry.path, dir_fd=self._folder)
        except OSError:
            return False
        if not is_untouched(row, status):
            return False
        # Two files of now may have been one.
        return self._is_same(row, entry) or (
            status.st_nlink == 1 and status.st_size == entry.member.size
        )

    def read(self, entry: Entry, most: int) -> bytes | None:
        """The start of a file that could be kept; None if it could not.

        Args:
            entry: the file.
            most: how many bytes at most.
        """
        row = Rows(self._record.rows()).at(entry.path)
        if row is None or not self._is_same(row, entry):
            return None
        try:
            fd = os.open(entry.path, _READING, dir_fd=self._folder)
        except OSError:
            return None
        try:
            return os.pread(fd, most, 0) if is_untouched(row, os.fstat(fd)) else None
        finally:
            os.close(fd)

    def _is_equal(self, row: Row, entry: Entry, layer: Content) -> bool:
        if 2 * entry.member.stored < entry.member.size:
            # To write holes takes no time. To compare them could take days.
            return False
        skeleton = self._record.skeleton(self._record.layers[row.layer])
        before = Headers(skeleton).at(row.offset)
        if before is None or not is_alike(before, entry.member):
            return False
        fd = os.open(entry.path, _READING, dir_fd=self._folder)
        try:
            position = 0
            for data in whole(layer, entry.member):
                self._check()
                if os.pread(fd, len(data), position) != data:
                    return False
                position += len(data)
            return os.fstat(fd).st_ino == row.inode
        finally:
            os.close(fd)

    def _is_same(self, row: Row, entry: Entry) -> bool:
        is_layer = self._record.layers[row.layer] == self._layers[entry.layer]
        return is_layer and row.offset == entry.offset


class Rows:
    """Rows by their paths, which are asked for in order.

    Args:
        rows: in the order of a tree's entries.
    """

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def at(self, path: bytes) -> Row | None:
        """The row of a path, if there is one. The next call is for a later path."""
        wanted = _key(path)
        while (row := self._next) and row.path != path and _key(row.path) < wanted:
            self._next = next(self._rows, None)
        if row is None or row.path != path:
            return None
        self._next = next(self._rows, None)
        return row


def is_of_here(record: Record, folder: int) -> bool:
    """Whether any file is what a record says, unchanged.

    If there is none, it is of another directory, or came along with this one: unpacked from an
    archive, copied. Then it says nothing that was verified here, not even about layers: nobody can
    guess when a file will be changed.

    Args:
        record: the record.
        folder: the root of the file system, open.

    Raises:
        ValueError: the record is damaged.
    """
    for row in record.rows():
        with suppress(OSError):
            if is_untouched(row, os.lstat(row.path, dir_fd=folder)):
                return True
    return False


def is_alike(one: Member, other: Member) -> bool:
    """Whether two members are the same but for their content, and where it is."""
    first, second = (
        member._replace(name=b"", content=0, sparse_map=None) for member in (one, other)
    )
    return first == second


def is_untouched(row: Row, status: os.stat_result) -> bool:
    """Whether a file is what the row says, unchanged."""
    found = status.st_ino, status.st_ctime_ns
    return stat.S_ISREG(status.st_mode) and found == (row.inode, row.changed)


def _key(path: bytes) -> bytes:
    """What sorts paths as a tree's entries are: a directory, and what is in it, before the next."""
    return path.replace(b"/", b"\0")
