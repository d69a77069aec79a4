"""What a save remembers of a directory, so that the next one writes only what differs.

It has the headers of each layer, by diff_id: what the layers make is known without fetching them.
And it has a row for each file: which member of which layer it was, its inode, and when that was
changed last. While that time stays, nobody has changed the file.

In `NAME.saved` this is a row of sections of zlib data: of each layer, what merging needs of its
members, and all of their headers; then the files. A table of the sections follows (JSON), its size,
and a SHA-256 of all that.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from ..limits import LIMITS
from .headers import Content, Headers, Member

_ROW = struct.Struct("<IQQQQI")
_MEMBER = struct.Struct("<IQIQBI")
"""Both begin with the size of the bytes that follow: a path; a name and a target."""
_SIZE = struct.Struct("<I")
_SUM = hashlib.sha256().digest_size
_FORM = 1
"""Which form of a record this is."""
_LEVEL = 1
"""Of compression: most of a header is zeros."""
_TOGETHER = 256
"""How many rows are compressed at once."""
_Frame = tuple[tuple[int, ...], bytes]
_MOST = 2 * LIMITS.tar_extension
"""How long a path, or a name and a target, can be."""
_FILES = ""
"""The name of the files' section; the others have the diff_id of their layer."""


class Row(NamedTuple):
    """A file that was saved.

    Args:
        path: from the root of the file system.
        layer: the number of the layer that had it.
        offset: of its headers in that layer.
        inode: its number.
        changed: when the inode was changed last, in nanoseconds since 1970.
        lacks: what could not be had, as in `Missing.packed`.
    """

    path: bytes
    layer: int
    offset: int
    inode: int
    changed: int
    lacks: int


class Skeleton:
    """A layer of which there are only the headers, which stand in a file without a gap.

    Args:
        file: the file, open.
        briefs: reads what merging needs of its members.
    """

    def __init__(self, file: int, briefs: Callable[[], Iterator[_Frame]]) -> None:
        self._file = file
        self._briefs = briefs
        self._starts, self._sizes, self._positions = array("Q"), array("I"), array("Q")

    def members(self) -> Iterator[tuple[int, Member]]:
        """All members, each with the offset of its first header: name, kind, target and size."""
        starts, sizes, positions, position = array("Q"), array("I"), array("Q"), 0
        for (offset, size, stored, kind, length), names in self._briefs():
            if not self._starts:
                starts.append(offset)
                sizes.append(size)
                positions.append(position)
                position += size
            name, target = names[:length], names[length:]
            yield offset, Member(name, kind, 0, 0, 0, 0, target, stored, 0, (0, 0), {})
        # Not before: who asks for members may stop in between.
        if not self._starts:
            self._starts, self._sizes, self._positions = starts, sizes, positions

    @property
    def least_size(self) -> int:
        """The least size of the layer, in bytes."""
        self._learn()
        return self._starts[-1] if self._starts else 0

    def _learn(self) -> None:
        if not self._starts:
            for _ in self.members():
                pass

    def read(self, offset: int, amount: int) -> bytes:
        """Up to `amount` bytes; fewer at the end of a member's headers."""
        self._learn()
        number = bisect_right(self._starts, offset) - 1
        if number < 0:
            return b""
        skipped = offset - self._starts[number]
        most = max(0, min(amount, self._sizes[number] - skipped))
        return os.pread(self._file, most, self._positions[number] + skipped)


class Record:
    """A record that an earlier save has written.

    Args:
        file: an open file, which has it.
        start: where it begins, in bytes; it ends where the file does.
        spool: makes unnamed files; `close` closes them.

    Raises:
        ValueError: it is damaged, or of another version.
    """

    def __init__(self, file: int, start: int, spool: Callable[[], int]) -> None:
        self._file = file
        self._start = start
        self._spool = spool
        self._skeletons: dict[str, Skeleton] = {}
        self._ending = ExitStack()
        end = os.fstat(file).st_size - _SUM
        if end - start < _SIZE.size or _sum(_pieces(file, start, end)) != os.pread(file, _SUM, end):
            raise ValueError("the record is damaged")
        (size,) = _SIZE.unpack(os.pread(file, _SIZE.size, end - _SIZE.size))
        self._sections: dict[str, list[tuple[int, int]]] = {}
        try:
            self._read(json.loads(os.pread(file, size, end - _SIZE.size - size)), start)
        except (AttributeError, KeyError, TypeError, RecursionError) as failure:
            raise ValueError("the record is of another kind") from failure

    root: str
    """The folder of the file system in the directory: empty, or it ends in a slash."""
    layers: list[str]
    """The diff_ids of the image's layers; a row has a number of one of them."""
    owners: list[list[int]]
    """Who stands for the owners in the layers."""
    only: list[str]
    """The parts that were saved; none for the whole file system."""

    def _read(self, table: Any, start: int) -> None:
        if table["form"] != _FORM:
            raise ValueError("the record is of another version")
        self.root, self.layers = table["root"], table["layers"]
        self.owners, self.only = table["owners"], table["only"]
        for name, *lengths in table["sections"]:
            self._sections[name] = []
            for length in lengths:
                self._sections[name].append((start, start + length))
                start += length

    def close(self) -> None:
        """Free the space of all skeletons."""
        self._ending.close()

    def pieces(self) -> Iterator[bytes]:
        """All of it, as it is."""
        return _pieces(self._file, self._start, os.fstat(self._file).st_size)

    @property
    def known(self) -> Set[str]:
        """The diff_ids of the layers whose headers it has: those that were fetched."""
        return self._sections.keys() - {_FILES}

    def sections(self, name: str) -> list[Iterator[bytes]]:
        """The sections of a layer, or of the files, as they are."""
        return [_pieces(self._file, *extent) for extent in self._sections[name]]

    def skeleton(self, digest: str) -> Skeleton:
        """A layer's headers.

        Args:
            digest: its diff_id.
        """
        if digest not in self._skeletons:
            file, size = self._spool(), 0
            self._ending.callback(os.close, file)
            _, heads = self.sections(digest)
            for data in _unpacked(heads):
                os.pwrite(file, data, size)
                size += len(data)
            briefs = partial(self._briefs, digest)
            self._skeletons[digest] = Skeleton(file, briefs)
        return self._skeletons[digest]

    def _briefs(self, digest: str) -> Iterator[_Frame]:
        return _framed(_MEMBER, self.sections(digest)[0])

    def rows(self) -> Iterator[Row]:
        """All files, in the order of a tree's entries."""
        (pieces,) = self.sections(_FILES)
        for numbers, path in _framed(_ROW, pieces):
            yield Row(path, *numbers)


class Recording:
    """A record that is being made: its layers first, then its files.

    Args:
        file: an empty file, open, which it goes to; `close` closes it.
        layers: the diff_ids of the image's layers.
        owners: who stands for the owners in them.
        only: the parts that are saved; none for the whole file system.
    """

    def __init__(
        self,
        file: int,
        layers: Sequence[str],
        owners: Sequence[tuple[int, int, int]] = (),
        only: Sequence[str] = (),
    ) -> None:
        self._file = file
        self._size = 0
        self._layers = layers
        self._owners = owners
        self._only = only
        self._sections: list[tuple[str | int, ...]] = []

    def close(self) -> None:
        """Free its space."""
        os.close(self._file)

    def layer(self, digest: str, content: Content) -> Iterator[tuple[int, Member]]:
        """The members of a layer, which is added while they are iterated over.

        Args:
            digest: its diff_id.
            content: the layer.

        Raises:
            ContentError: it is no layer.
        """
        starts, sizes = array("Q"), array("I")
        packing, before = zlib.compressobj(_LEVEL), self._size
        for offset, member in Headers(content):
            names, size = member.name + member.target, member.content - offset
            starts.append(offset)
            sizes.append(size)
            length = len(member.name)
            numbers = len(names), offset, size, member.stored, member.kind, length
            self._write([packing.compress(_MEMBER.pack(*numbers) + names)])
            yield offset, member
        self._write([packing.flush()])
        briefs = self._size - before
        heads = self._write(_packed(map(content.read, starts, sizes)))
        self._sections.append((digest, briefs, heads))

    def copy(self, digest: str, record: Record) -> None:
        """Add a layer as another record has it."""
        self._sections.append((digest, *map(self._write, record.sections(digest))))

    def finish(self, root: str, rows: Iterable[Row]) -> Iterator[bytes]:
        """Add the files, and return all of it.

        Args:
            root: the folder of the file system in the directory.
            rows: the files, in the order of a tree's entries.
        """
        pack = _ROW.pack
        lines = (
            pack(len(path), layer, offset, inode, changed, lacks) + path
            for path, layer, offset, inode, changed, lacks in rows
        )
        many = iter(lambda: b"".join(islice(lines, _TOGETHER)), b"")
        self._sections.append((_FILES, self._write(_packed(many))))
        table = {
            "form": _FORM,
            "root": root,
            "layers": self._layers,
            "owners": self._owners,
            "only": self._only,
            "sections": self._sections,
        }
        body = json.dumps(table).encode()
        self._write([body, _SIZE.pack(len(body))])
        self._write([_sum(_pieces(self._file, 0, self._size))])
        return _pieces(self._file, 0, self._size)

    def _write(self, pieces: Iterable[bytes]) -> int:
        before = self._size
        for data in pieces:
            if data:
                os.pwrite(self._file, data, self._size)
                self._size += len(data)
        return self._size - before


def _framed(form: struct.Struct, pieces: Iterable[bytes]) -> Iterator[_Frame]:
    """Numbers, the first of which says how many bytes follow them, and those bytes."""
    held, fixed = b"", form.size
    for data in _unpacked(pieces):
        held += data
        start, end = 0, len(held)
        while end - start >= fixed:
            numbers = form.unpack_from(held, start)
            size = numbers[0]
            if size > _MOST:
                raise ValueError("the record is damaged")
            stop = start + fixed + size
            if stop > end:
                break
            yield numbers[1:], held[start + fixed : stop]
            start = stop
        held = held[start:]


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
            try:
                yield unpacking.decompress(data, LIMITS.read)
            except zlib.error as failure:
                raise ValueError("the record is damaged") from failure
            data = unpacking.unconsumed_tail
