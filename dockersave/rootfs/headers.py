"""What the headers of an untrusted layer say, in full. Only headers are read.

Sources: as for `archive.read.headers`; extended attributes in `SCHILY.xattr.` records as Go's
archive/tar writes them. Global extended headers are ignored, as by all engines. Sparse files: see
`sparse`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

from ..archive.read.headers import (
    DIRECTORY,
    FILES,
    GNU_SPARSE,
    HARD_LINK,
    LONG_NAMES,
    PAX,
    PAX_GLOBAL,
    POSIX,
    SYMBOLIC_LINK,
    check_sum,
    number,
    split_records,
)
from ..archive.tar import BLOCK, padding
from ..errors import ContentError, shown
from ..limits import LIMITS
from .sparse import Piece, is_sparse, read_map, with_map

FILE, CHARACTER_DEVICE, BLOCK_DEVICE, PIPE = b"0346"
KINDS = frozenset({HARD_LINK, SYMBOLIC_LINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, PIPE})
"""Kinds without content, whatever size they state, as in Go's archive/tar."""
DEVICES = (CHARACTER_DEVICE, BLOCK_DEVICE)
XATTR = b"SCHILY.xattr."
SECOND = 1_000_000_000
"""Nanoseconds."""

_NOTHING: Mapping[bytes, bytes] = {}
_TIME = re.compile(rb"(-?)([0-9]{1,12})(?:\.([0-9]*))?")
_TIME_MOST = 1 << 33
"""Seconds, until the year 2242: 64 bits of nanoseconds end in 2262."""
_ID_MOST = (1 << 32) - 2
"""The largest user or group id; the next one means none."""


class Content(Protocol):
    """A layer as a plain tar."""

    def read(self, offset: int, amount: int) -> bytes:
        """Up to `amount` bytes; fewer only at the end."""


class Member(NamedTuple):
    """A member of a layer.

    Args:
        name: as stated.
        kind: its type flag; files of all kinds are `FILE`.
        mode: permission bits, with setuid, setgid and sticky.
        uid, gid: its owner.
        mtime: in nanoseconds since 1970.
        target: of a link.
        size: of the file, in bytes; 0 of anything else.
        content: the content's offset in the layer.
        device: major and minor number.
        xattrs: extended attributes.
        sparse_map: of a sparse file: the pieces of its content.
    """

    name: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    mtime: int
    target: bytes
    size: int
    content: int
    device: tuple[int, int]
    xattrs: Mapping[bytes, bytes]
    sparse_map: Sequence[Piece] | None = None

    @property
    def pieces(self) -> Sequence[Piece]:
        """Where in the file its content goes, piece by piece; the rest of it are holes."""
        return ((0, self.size),) if self.sparse_map is None else self.sparse_map

    @property
    def stored(self) -> int:
        """How much content it has in the layer, in bytes."""
        if self.sparse_map is None:
            return self.size
        return sum(length for _, length in self.sparse_map)

    @property
    def end(self) -> int:
        """The offset of the next header."""
        stored = self.stored
        return self.content + stored + padding(stored)


class Headers:
    """The headers of a layer, wherever they are.

    Args:
        content: the layer.
        window: how many bytes to read at once.
    """

    def __init__(self, content: Content, window: int = LIMITS.read_back) -> None:
        self._content = content
        self._window = window
        self._start = 0
        self._bytes = b""

    def __iter__(self) -> Iterator[tuple[int, Member]]:
        """All members, each with the offset of its first header.

        Raises:
            ContentError: this is not a layer.
        """
        offset = 0
        while member := self.at(offset):
            yield offset, member
            offset = member.end

    def at(self, offset: int) -> Member | None:
        """The member whose headers begin at an offset; None at the end.

        Raises:
            ContentError: there is none, or it has something that no layer has.
        """
        records: list[Iterable[tuple[bytes, bytes]]] = []
        start = offset
        while block := self._read(offset, BLOCK):
            if not block[0] and not any(block):
                if any(self._read(offset + BLOCK, BLOCK)):
                    raise ContentError(f"no tar header at byte {offset}")
                break
            check_sum(block, offset)
            kind, offset = block[156], offset + BLOCK
            if kind in LONG_NAMES or kind in PAX or kind == PAX_GLOBAL:
                body, offset = self._extension(block, offset, start)
                if kind in LONG_NAMES:
                    records.append([(LONG_NAMES[kind].encode(), body.partition(b"\x00")[0])])
                elif kind in PAX:
                    records.append(split_records(body))
                continue
            extended = with_map(chain.from_iterable(records)) if records else _NOTHING
            member = _member(block, extended, offset)
            if is_sparse(block, extended):
                if member.kind != FILE:
                    raise _wrong(member.name, "is sparse, but not a file")
                size, pieces, content = read_map(block, extended, offset, member.size, self._read)
                member = member._replace(size=size, content=content, sparse_map=pieces)
            return member
        if records:
            raise ContentError("the layer is truncated: an extended header describes nothing")
        return None

    def _extension(self, block: bytes, offset: int, start: int) -> tuple[bytes, int]:
        """The content of an extension, and where the next header is.

        Args:
            block: its header.
            offset: of its content.
            start: of the member's first extension: all of them together are kept in memory.

        Raises:
            ContentError: it is too long, or truncated.
        """
        size = number(block[124:136])
        if size is None or not 0 <= size <= LIMITS.tar_extension - (offset - BLOCK - start):
            raise ContentError(f"a tar header at byte {offset - BLOCK} has too long an extension")
        body = self._read(offset, size)
        if len(body) < size:
            raise ContentError("the layer is truncated in a header")
        return body, offset + size + padding(size)

    def _read(self, offset: int, amount: int) -> bytes:
        """Exactly `amount` bytes, or none at the end.

        Raises:
            ContentError: it ends in between.
        """
        if amount > self._window:
            # Not kept: there may be thousands of layers.
            data = self._content.read(offset, amount)
        else:
            if not self._start <= offset <= self._start + len(self._bytes) - amount:
                self._start, self._bytes = offset, self._content.read(offset, self._window)
            start = offset - self._start
            data = self._bytes[start : start + amount]
        if data and len(data) < amount:
            raise ContentError("the layer is truncated in a header")
        return data


def _member(block: bytes, extended: Mapping[bytes, bytes], offset: int) -> Member:
    kind = block[156]
    name = block[:100].partition(b"\x00")[0]
    if block[345] and block[257:263] == POSIX:
        name = block[345:500].partition(b"\x00")[0] + b"/" + name
    target = block[157:257].partition(b"\x00")[0] if kind in (SYMBOLIC_LINK, HARD_LINK) else b""
    size = number(block[124:136])
    uid, gid = number(block[108:116]), number(block[116:124])
    mtime = number(block[136:148])
    xattrs = _NOTHING
    if extended:
        # An empty value restores what the header itself says (POSIX, pax, "Extended Header").
        name = extended.get(b"GNU.sparse.name") or extended.get(b"path") or name
        target = extended.get(b"linkpath") or target
        size = _decimal(extended, b"size", size)
        uid, gid = _decimal(extended, b"uid", uid), _decimal(extended, b"gid", gid)
        prefix = len(XATTR)
        xattrs = {key[prefix:]: extended[key] for key in extended if key.startswith(XATTR)}
    if kind == 0 and name.endswith(b"/"):
        # Before POSIX, a directory was a file whose name ended in a slash.
        kind = DIRECTORY
    if kind in FILES or kind == GNU_SPARSE:
        kind = FILE
    elif kind in KINDS:
        size = 0
    else:
        raise _wrong(name, f"is of an unknown kind, {chr(kind)!r}")
    if size is None or not 0 <= size <= LIMITS.unpacked_layer:
        raise _wrong(name, "has an impossible size")
    if uid is None or gid is None or not (0 <= uid <= _ID_MOST and 0 <= gid <= _ID_MOST):
        raise _wrong(name, "has an impossible owner")
    mode = number(block[100:108])
    if mode is None:
        raise _wrong(name, "has a mode that is not a number")
    nanoseconds = _nanoseconds(extended[b"mtime"]) if b"mtime" in extended else None
    if nanoseconds is None:
        nanoseconds = (mtime or 0) * SECOND
    if mtime is None or abs(nanoseconds) > _TIME_MOST * SECOND:
        raise _wrong(name, "has an impossible time")
    if kind == SYMBOLIC_LINK and not 0 < len(target) < LIMITS.path:
        raise _wrong(name, "is a link to nothing, or to too long a path")
    if b"\x00" in name or b"\x00" in target or any(b"\x00" in key for key in xattrs):
        raise _wrong(name, "has a name that no file can have")
    device = (0, 0)
    if kind in DEVICES:
        major, minor = number(block[329:337]), number(block[337:345])
        if major is None or minor is None or not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            # Linux has 12 and 20 bits for them (include/linux/kdev_t.h).
            raise _wrong(name, "has impossible device numbers")
        device = major, minor
    return Member(
        name, kind, mode & 0o7777, uid, gid, nanoseconds, target, size, offset, device, xattrs
    )


def _wrong(name: bytes, why: str) -> ContentError:
    return ContentError(f"a layer's {shown(name.decode('utf-8', 'replace'))} {why}")


def _decimal(extended: Mapping[bytes, bytes], key: bytes, otherwise: int | None) -> int | None:
    stated = extended.get(key)
    if not stated:
        return otherwise
    return int(stated) if stated.isdigit() and len(stated) <= 20 else None


def _nanoseconds(stated: bytes) -> int | None:
    """A time in an extended header; None for an empty one.

    Raises:
        ContentError: it is not a time.
    """
    if not stated:
        return None
    match = _TIME.fullmatch(stated)
    if match is None:
        raise ContentError("an extended tar header has a time that is not a number")
    sign, seconds, fraction = match.groups()
    amount = int(seconds) * SECOND + int((fraction or b"")[:9].ljust(9, b"0"))
    return -amount if sign else amount
