"""What a save remembers of a directory, so that the next one writes only what differs.

It has the headers of each layer, by diff_id: what the layers make is known without fetching them.
And it has a row for each file: which content of which layer it was, its inode, and when that was
changed last. While that time stays, nobody has changed the file.

In `NAME.saved` this is a section of zlib data for each layer, one for the rows, a table of them
(JSON), its size, and a SHA-256 of all that.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import accumulate, chain
from typing import NamedTuple

from ..limits import LIMITS
from .headers import Content, Member
from .merge import Entry
from .walk import Seen

_ROW = struct.Struct("<HQQQQ")
_SIZE = struct.Struct("<I")
_SUM = hashlib.sha256().digest_size
_LEVEL = 1
"""Of compression: most of a header is zeros."""


class Row(NamedTuple):
    """A file that was saved.

    Args:
        path: from the root of the file system.
        layer: the number of the layer that had its content.
        content: the offset in that layer.
        inode: its number.
        changed: when the inode was changed last, in nanoseconds since 1970.
    """

    path: bytes
    layer: int
    content: int
    inode: int
    changed: int


class Skeleton:
    """A layer of which there are only the headers.

    Args:
        file: an open file, where they stand without a gap.
        starts, sizes: of each member's headers, in the layer.
    """

    def __init__(self, file: int, starts: Sequence[int], sizes: Sequence[int]) -> None:
        self._file = file
        self._starts = starts
        self._sizes = sizes
        self._positions = array("Q", accumulate(sizes, initial=0))

    def read(self, offset: int, amount: int) -> bytes:
        """Up to `amount` bytes; fewer at the end of a member's headers."""
        number = bisect_right(self._starts, offset) - 1
        skipped = offset - self._starts[number] if number >= 0 else 0
        left = self._sizes[number] - skipped if number >= 0 else 0
        if left <= 0:
            return b""
        return os.pread(self._file, min(amount, left), self._positions[number] + skipped)


class Record:
    """A record that an earlier save has written.

    Args:
        file: an open file, which has it.
        start: where it begins, in bytes; it ends where the file does.

    Raises:
        ValueError: it is damaged.
    """

    def __init__(self, file: int, start: int) -> None:
        self._file = file
        self._start = start
        end = os.fstat(file).st_size - _SUM
        if end - start < _SIZE.size or _sum(_pieces(file, start, end)) != os.pread(file, _SUM, end):
            raise ValueError("the record is damaged")
        (size,) = _SIZE.unpack(os.pread(file, _SIZE.size, end - _SIZE.size))
        table = json.loads(os.pread(file, size, end - _SIZE.size - size))
        self.root: str = table["root"]
        """The folder of the file system in the directory: empty, or it ends in a slash."""
        self.layers: list[str] = table["layers"]
        """The diff_ids of the image's layers; a row has a number of one of them."""
        self._sections: dict[str, tuple[int, int, int]] = {}
        position = start
        for digest, count, length in table["sections"]:
            self._sections[digest] = count, position, length
            position += length

    def pieces(self) -> Iterator[bytes]:
        """All of it, as it is."""
        return _pieces(self._file, self._start, os.fstat(self._file).st_size)

    @property
    def known(self) -> Set[str]:
        """The diff_ids of the layers whose headers it has: those that were fetched."""
        return self._sections.keys() - {""}

    def section(self, digest: str) -> tuple[int, Iterator[bytes]]:
        """How many members a layer has, and its section, as it is."""
        count, position, length = self._sections[digest]
        return count, _pieces(self._file, position, position + length)

    def skeleton(self, digest: str, file: int) -> Skeleton:
        """A layer's headers.

        Args:
            digest: its diff_id.
            file: an empty file, open, which they go to.
        """
        count, pieces = self.section(digest)
        size = 0
        for data in _unpacked(pieces):
            os.pwrite(file, data, size)
            size += len(data)
        starts, sizes = array("Q"), array("I")
        size -= count * (starts.itemsize + sizes.itemsize)
        starts.frombytes(os.pread(file, count * starts.itemsize, size))
        size += count * starts.itemsize
        sizes.frombytes(os.pread(file, count * sizes.itemsize, size))
        return Skeleton(file, starts, sizes)

    def rows(self) -> Iterator[Row]:
        """All files, in the order of a tree's entries."""
        _, pieces = self.section("")
        held = b""
        for data in _unpacked(pieces):
            held += data
            start = 0
            while len(held) - start >= _ROW.size:
                length, *numbers = _ROW.unpack_from(held, start)
                stop = start + _ROW.size + length
                if stop > len(held):
                    break
                yield Row(held[start + _ROW.size : stop], *numbers)
                start = stop
            held = held[start:]


class Placed:
    """The files that were written, in the order of a tree's entries."""

    def __init__(self) -> None:
        self._files = array("Q")

    def add(self, entry: Entry, status: os.stat_result) -> None:
        """Add one.

        Args:
            entry: what it is.
            status: its state.
        """
        self._files.extend((entry.layer, entry.member.content, status.st_ino))

    def rows(self, seen: Iterable[Seen], root: bytes) -> Iterator[Row]:
        """A row for each of them.

        Args:
            seen: all that is in the directory, in the same order.
            root: the folder of the file system in the directory, or empty.

        Raises:
            ValueError: that is something else.
        """
        files = iter(self._files)
        for path, status, _ in seen:
            if path.startswith(root) and status and stat.S_ISREG(status.st_mode):
                layer, content, inode = next(files, 0), next(files, 0), next(files, 0)
                if status.st_ino != inode:
                    raise ValueError("other files are there")
                yield Row(path[len(root) :], layer, content, inode, status.st_ctime_ns)
        if next(files, None) is not None:
            raise ValueError("files are missing")


class Heads:
    """Where the headers of a layer are, member by member."""

    def __init__(self) -> None:
        self.starts = array("Q")
        self.sizes = array("I")

    def note(self, offset: int, member: Member) -> None:
        """Note where a member's are.

        Args:
            offset: of the first one.
            member: whose they are.
        """
        self.starts.append(offset)
        self.sizes.append(member.content - offset)


class Recording:
    """A record that is being made: its layers first, then its rows.

    Args:
        file: an empty file, open, which it goes to; `close` closes it.
        layers: the diff_ids of the image's layers.
    """

    def __init__(self, file: int, layers: Sequence[str]) -> None:
        self._file = file
        self._size = 0
        self._layers = layers
        self._sections: list[tuple[str, int, int]] = []

    def close(self) -> None:
        """Free its space."""
        os.close(self._file)

    def layer(self, digest: str, content: Content, heads: Heads) -> None:
        """Add a layer.

        Args:
            digest: its diff_id.
            content: the layer.
            heads: where its headers are.
        """
        parts = chain(
            map(content.read, heads.starts, heads.sizes),
            (heads.starts.tobytes(), heads.sizes.tobytes()),
        )
        self._sections.append((digest, len(heads.starts), self._write(_packed(parts))))

    def copy(self, digest: str, record: Record) -> None:
        """Add a layer as another record has it."""
        count, pieces = record.section(digest)
        self._sections.append((digest, count, self._write(pieces)))

    def finish(self, root: str, placed: Placed, seen: Iterable[Seen]) -> Iterator[bytes]:
        """Add the rows, and return all of it.

        Args:
            root: the folder of the file system in the directory.
            placed: the files that were written.
            seen: all that is in the directory.

        Raises:
            ValueError: that is something else.
        """
        rows = placed.rows(seen, os.fsencode(root))
        lines = (_ROW.pack(len(path), *numbers) + path for path, *numbers in rows)
        self._sections.append(("", 0, self._write(_packed(lines))))
        table = {"root": root, "layers": self._layers, "sections": self._sections}
        body = json.dumps(table).encode()
        self._write([body, _SIZE.pack(len(body))])
        self._write([_sum(_pieces(self._file, 0, self._size))])
        return _pieces(self._file, 0, self._size)

    def _write(self, pieces: Iterable[bytes]) -> int:
        before = self._size
        for data in pieces:
            os.pwrite(self._file, data, self._size)
            self._size += len(data)
        return self._size - before


def _pieces(file: int, start: int, stop: int) -> Iterator[bytes]:
    while start < stop:
        data = os.pread(file, min(stop - start, LIMITS.read), start)
        if not data:
            return
        yield data
        start += len(data)


def _sum(pieces: Iterable[bytes]) -> bytes:
    found = hashlib.sha256()
    for data in pieces:
        found.update(data)
    return found.digest()


def _packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packing = zlib.compressobj(_LEVEL)
    for data in pieces:
        if done := packing.compress(data):
            yield done
    yield packing.flush()


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    unpacking = zlib.decompressobj()
    for data in pieces:
        while data:
            yield unpacking.decompress(data, LIMITS.read)
            data = unpacking.unconsumed_tail
