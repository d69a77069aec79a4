"""The map at the end of a `.part` file: which bytes of which blobs earlier runs have written.

The map was written by a program that may have been killed, to a disk that may have lost power: it
says what is worth hashing, never what is correct. It follows the archive's last byte, and is
removed before the archive gets its name.

    archive … | one byte for each granule of each blob | table, JSON | footer
"""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Mapping, Sequence

from ..limits import LIMITS
from ..model.digest import is_digest
from ..model.weight import is_too_heavy
from ..values import dataclass

_MAGIC = b"dsmap\x00\x01\n"
_FOOTER = struct.Struct("<QQ8s")
_TABLE_MOST = 16 * 1024 * 1024

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Extent:
    """A blob in the file.

    Args:
        digest: its digest.
        size: its size in bytes.
        offset: where it starts, in bytes from the start of the file.
    """

    digest: str
    size: int
    offset: int


class PartMap:
    """The map of one file.

    Args:
        fd: the file.
        offset: where the cells start, in bytes from the start of the file.
        granule: bytes of a blob for each cell.
        extents: the blobs, in the order of their cells.
    """

    def __init__(self, fd: int, offset: int, granule: int, extents: Sequence[Extent]) -> None:
        self._fd = fd
        self.offset = offset
        self.granule = granule
        self.extents = tuple(extents)
        self._cells: dict[Extent, Range] = {}
        cell = offset
        for extent in self.extents:
            count = -(-extent.size // granule)
            self._cells[extent] = (cell, count)
            cell += count
        self._end = cell

    @classmethod
    def create(cls, fd: int, archive_size: int, extents: Sequence[Extent]) -> PartMap:
        """Write an empty map after an archive.

        Args:
            fd: the file.
            archive_size: in bytes.
            extents: the archive's blobs.

        Raises:
            OSError: the file cannot be written.
        """
        made = cls.planned(fd, archive_size, extents)
        os.ftruncate(fd, archive_size)
        os.ftruncate(fd, made._end)
        tail = made._tail()
        if os.pwrite(fd, tail, made._end) < len(tail):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return made

    @classmethod
    def planned(cls, fd: int, archive_size: int, extents: Sequence[Extent]) -> PartMap:
        """Like `create`, without writing it."""
        granule = LIMITS.granule
        while sum(-(-extent.size // granule) for extent in extents) > LIMITS.map_cells:
            granule *= 2
        return cls(fd, archive_size, granule, extents)

    @property
    def whole(self) -> int:
        """The size of a file that ends with this map, in bytes."""
        return self._end + len(self._tail())

    def _tail(self) -> bytes:
        rows = [[extent.digest, extent.size, extent.offset] for extent in self.extents]
        table = json.dumps([self.granule, rows], separators=(",", ":")).encode()
        return table + _FOOTER.pack(self.offset, len(table), _MAGIC)

    @classmethod
    def load(cls, fd: int) -> PartMap | None:
        """Read the map of a file; None if it has no valid one.

        Raises:
            OSError: the file cannot be read.
        """
        end = os.fstat(fd).st_size - _FOOTER.size
        if end < 0:
            return None
        offset, length, magic = _FOOTER.unpack(os.pread(fd, _FOOTER.size, end))
        if magic != _MAGIC or length > min(end, _TABLE_MOST):
            return None
        table = os.pread(fd, length, end - length)
        if is_too_heavy(table):
            return None
        try:
            granule, rows = json.loads(table)
            extents = [Extent(*row) for row in rows]
            numbers = [granule, *(n for extent in extents for n in (extent.size, extent.offset))]
            # Not even 65536.0, which would work everywhere except in pwrite.
            sane = granule > 0 and all(type(number) is int for number in numbers)
            sane = sane and all(
                is_digest(extent.digest)
                and extent.size >= 0
                and extent.offset >= 0
                and extent.offset + extent.size <= offset
                for extent in extents
            )
            found = cls(fd, offset, granule, extents) if sane else None
        except (ValueError, TypeError, RecursionError):
            return None
        if found is None or found._end != end - length:
            return None
        # With more cells it was not written by `create`, and would take as much memory.
        return found if found._end - offset <= LIMITS.map_cells else None

    def record(self, extent: Extent, start: int, stop: int) -> None:
        """Record that bytes of a blob have been written.

        Args:
            extent: the blob.
            start, stop: the range, relative to the blob. A granule that is not covered from its
                start is recorded when the write before it reaches it.

        Raises:
            OSError: the file cannot be written.
        """
        cell, count = self._cells[extent]
        first = start // self.granule
        last = count if stop == extent.size else stop // self.granule
        if last > first:
            os.pwrite(self._fd, b"\x01" * (last - first), cell + first)

    def forget(self, extent: Extent) -> None:
        """Record that nothing of a blob is there.

        Raises:
            OSError: the file cannot be written.
        """
        cell, count = self._cells[extent]
        os.pwrite(self._fd, bytes(count), cell)

    def present(self, extent: Extent) -> list[Range]:
        """The written ranges of a blob, relative to its start.

        Raises:
            OSError: the file cannot be read.
        """
        cell, count = self._cells[extent]
        cells = os.pread(self._fd, count, cell)
        ranges: list[Range] = []
        position = cells.find(b"\x01")
        while position >= 0:
            stop = cells.find(b"\x00", position)
            stop = len(cells) if stop < 0 else stop
            ranges.append((position * self.granule, min(stop * self.granule, extent.size)))
            position = cells.find(b"\x01", stop)
        return ranges

    def fill(self) -> None:
        """Record that every blob is complete.

        Raises:
            OSError: the file cannot be written.
        """
        for extent in self.extents:
            self.record(extent, 0, extent.size)

    def by_digest(self) -> Mapping[str, Extent]:
        """The blobs by their digest."""
        return {extent.digest: extent for extent in self.extents}
