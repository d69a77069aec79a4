"""The files of a directory that is being made, and whether others have changed them since."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable, Iterator

from ..errors import OutputError
from ..spelling import argument
from .nodes import Entry
from .saved_record import Row
from .walk import Seen


class Placed:
    """The files that a save has written or kept, in the order of a tree's entries.

    Args:
        root: the folder of the file system in the directory, or empty.
    """

    def __init__(self, root: bytes = b"") -> None:
        self._root = root
        self._files = array("Q")
        self._shared: dict[int, tuple[int, int]] = {}
        """Of files with several names, by inodes: when it was changed, and how many names."""

    def add(self, entry: Entry, inode: int, lacks: int, changed: int = 0) -> None:
        """Add one.

        Args:
            entry: what it is.
            inode: its number.
            lacks: what could not be had.
            changed: of a file that was kept, which others can reach: when its inode was changed
                last, by this run; 0 of one that was written.
        """
        self._files.extend((entry.layer, entry.offset, inode, lacks, changed))
        if entry.is_shared:
            _, names = self._shared.get(inode, (0, 0))
            self._shared[inode] = changed, names + 1

    @property
    def is_kept(self) -> bool:
        """Whether all of them were kept."""
        return all(self._files[4::5])

    def was_kept(self, status: os.stat_result) -> bool:
        """Whether a file with several names was kept.

        Args:
            status: its state now.

        Raises:
            ValueError: it was changed since.
        """
        changed, _ = self._shared[status.st_ino]
        if changed not in (0, status.st_ctime_ns):
            raise ValueError("a file was changed")
        return changed > 0

    def check(self, seen: Iterable[Seen]) -> None:
        """Check that nobody has changed files that were kept.

        Args:
            seen: all that is in the directory, in the same order.

        Raises:
            ValueError: somebody has, or other files are there.
        """
        for _, status, changed, _, _ in self._found(seen):
            if changed not in (0, status.st_ctime_ns):
                raise ValueError("a file was changed")

    def rows(self, seen: Iterable[Seen], published: int, settled: int) -> Iterator[Row]:
        """A row for each of them that is still as it was placed, and has no other names.

        Args:
            seen: as for `check`.
            published: until when this run changed files that it has written, in nanoseconds since
                1970.
            settled: and those that it has kept.

        Raises:
            ValueError: other files are there.
        """
        files, start = self._files, len(self._root)
        for path, status, kept, names, at in self._found(seen):
            changed = status.st_ctime_ns
            if changed <= (settled if kept else published) and status.st_nlink == names:
                layer, offset, inode, lacks, _ = files[at : at + 5]
                yield Row(path[start:], layer, offset, inode, changed, lacks)

    def _found(self, seen: Iterable[Seen]) -> Iterator[tuple[bytes, os.stat_result, int, int, int]]:
        """Each file: its path and state, when it was changed if it was kept, how many names it has,
        and where its numbers begin.

        Files are missing where this user cannot look.
        """
        files, shared, root = self._files, self._shared, self._root
        at, end = 0, len(files)
        for path, status, _ in seen:
            if status and stat.S_ISREG(status.st_mode) and path.startswith(root):
                inode = status.st_ino
                while at < end and files[at + 2] != inode:
                    at += 5
                if at == end:
                    raise ValueError("other files are there")
                changed, names = shared.get(inode) or (files[at + 4], 1)
                yield path, status, changed, names, at
                at += 5


def changed_meanwhile(path: str) -> OutputError:
    """What to raise if a file was changed that was about to be kept.

    Args:
        path: what cannot be written.
    """
    return OutputError(
        f"cannot write {path}: files of the old directory, which it was to keep, were changed "
        "in the meantime",
        argument("again"),
    )
