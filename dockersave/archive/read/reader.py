"""What is in an archive or a directory, member by member, trusting nothing. Bounded memory.

All that somebody else has written is read here, in a stream or in a file: the standard library's
`tarfile` takes extended headers of any size into memory, follows sizes below zero back to where
it was, and unfolds sparse files.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from ...errors import ContentError, shown
from ...limits import LIMITS, MIB
from ...values import dataclass
from ..tar import BLOCK, padding
from .headers import (
    DIRECTORY,
    EXTENSIONS,
    FILES,
    GNU_SPARSE,
    HARD_LINK,
    LONG_NAMES,
    PAX,
    SYMBOLIC_LINK,
    Header,
    parse_header,
    parse_records,
    parse_size,
    text,
)

_SPARSE = "is a sparse file, which image archives never contain"
_AFTER_END = 64 * MIB
"""What may follow an archive's end, in bytes: tar fills its last record, of 10 KiB or, on tapes,
a few MiB. Anything more is no padding, and a pipe could bring it without end."""


@dataclass(frozen=True, slots=True)
class Found:
    """A member as it was found.

    Args:
        path: its name, without what has no meaning (`./`, double slashes).
        kind: what it is.
        size: how much content it has, in bytes.
        target: where a link leads, from the archive's root.
        fault: why it must not be in an archive, or empty.
    """

    path: str
    kind: Literal["file", "directory", "link", "other"]
    size: int = 0
    target: str = ""
    fault: str = ""


Members = Iterator[tuple[Found, Iterator[bytes]]]
"""Members with their content, which has to be read before the next one is asked for."""


def read_tar(pieces: Iterable[bytes]) -> Members:
    """The members of a tar archive.

    Args:
        pieces: its bytes.

    Raises:
        ContentError: it is none, it is cut off, or it does what no image archive does.
    """
    source = _Source(pieces)
    members = _Headers(source)
    while found := members.next():
        content = source.upto(found.size)
        yield found, content
        for _ in content:
            pass
        if source.missing:
            raise ContentError(f"the archive is truncated in {shown(found.path)}")
        source.exactly(padding(found.size), shown(found.path))
    # The checksum of a compressed archive comes last.
    for _ in source.upto(_AFTER_END + 1):
        pass
    if not source.missing:
        raise ContentError(f"more than {_AFTER_END} bytes follow the end of the archive")


def read_file(fd: int) -> Iterator[tuple[Found, int]]:
    """The members of a tar file that need not be whole, each with its content's offset in bytes.

    Args:
        fd: the file; only headers are read.

    Raises:
        ContentError: there are no more, and yet it does not end here.
        OSError: it cannot be read.
    """
    source = _File(fd)
    members = _Headers(source)
    while found := members.next():
        yield found, source.position
        source.position += found.size + padding(found.size)


def read_directory(path: str) -> Members:
    """The files of a directory, as if it were an archive; of each, what it had when it was found.

    Args:
        path: its name.

    Raises:
        OSError: it cannot be read.
    """
    for folder, folders, names in os.walk(path):
        depth = os.path.relpath(folder, path).count("/")
        if depth > LIMITS.folders:
            yield (
                Found(os.path.relpath(folder, path), "other", fault=("is nested too deeply")),
                iter(()),
            )
            folders.clear()
            continue
        folders.sort()
        for name in sorted([*folders, *names]):
            full = os.path.join(folder, name)
            inside = os.path.relpath(full, path)
            status = os.lstat(full)
            if stat.S_ISLNK(status.st_mode):
                yield _link(inside, os.readlink(full), posixpath.dirname(inside)), iter(())
            elif stat.S_ISREG(status.st_mode):
                yield Found(inside, "file", status.st_size), _pieces(full, status.st_size)
            elif not stat.S_ISDIR(status.st_mode):
                yield Found(inside, "other", fault="is not a regular file"), iter(())


def _pieces(path: str, size: int) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        # A file that somebody goes on writing to may have no end.
        while size and (data := os.read(fd, min(size, LIMITS.read))):
            size -= len(data)
            yield data
    finally:
        os.close(fd)


class _Reads(Protocol):
    """What headers are read from."""

    position: int

    def exactly(self, amount: int, what: str) -> bytes:
        """The next `amount` bytes; none at the end."""


class _File:
    """A file that is read where it is needed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.position = 0

    def exactly(self, amount: int, what: str) -> bytes:
        data = os.pread(self._fd, amount, self.position)
        self.position += len(data)
        if data and len(data) < amount:
            raise ContentError(f"the archive is truncated in {what}")
        return data


class _Source:
    """Bytes in pieces of any size, taken in pieces of a wanted one."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")
        self.position = 0
        self.missing = 0

    def upto(self, amount: int) -> Iterator[bytes]:
        """The next `amount` bytes, as they come; fewer if it ends, and `missing` tells."""
        self.missing = amount
        while self.missing:
            while not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self._rest = memoryview(piece)
            data = self._rest[: self.missing]
            self._rest = self._rest[len(data) :]
            self.missing -= len(data)
            self.position += len(data)
            yield bytes(data)

    def exactly(self, amount: int, what: str) -> bytes:
        """The next `amount` bytes; none at the end.

        Raises:
            ContentError: it ends in the middle of them.
        """
        data = b"".join(self.upto(amount))
        if data and len(data) < amount:
            if self.position < BLOCK:
                raise ContentError("it is not a tar archive")
            raise ContentError(f"the archive is truncated in {what}")
        return data


class _Headers:
    """The headers of an archive, extended ones taken into account.

    How many there are, how long the names are, and what extends them, is bounded in all: of a few
    KiB of a compressed archive any number of them can be made.
    """

    def __init__(self, source: _Reads) -> None:
        self._source = source
        self._count = self._extended = self._named = 0

    def next(self) -> Found | None:
        """The next member, whose content comes next; None at the archive's end.

        Raises:
            ContentError: there is neither.
        """
        source = self._source
        extended: dict[str, str] = {}
        while block := source.exactly(BLOCK, "its headers"):
            if not any(block):
                if any(source.exactly(BLOCK, "its end") or b"\x00"):
                    raise ContentError(f"no tar header at byte {source.position - BLOCK}")
                return None
            self._count += 1
            if self._count > LIMITS.archive_headers:
                raise ContentError(f"there are more than {LIMITS.archive_headers} headers")
            header = parse_header(block, source.position - BLOCK)
            if header.kind not in EXTENSIONS:
                return self._named_member(_found(header, extended))
            extended |= self._extension(header)
        raise ContentError(
            "the archive is truncated: its end is missing" if source.position else "it is empty"
        )

    def _extension(self, header: Header) -> dict[str, str]:
        self._extended += header.size
        if header.size > LIMITS.tar_extension:
            raise ContentError(f"a tar header has {header.size} bytes of extensions")
        if self._extended > LIMITS.tar_extensions:
            raise ContentError(f"tar headers have {self._extended} bytes of extensions in total")
        body = self._source.exactly(header.size, "a header")
        self._source.exactly(padding(header.size), "a header")
        if header.kind in LONG_NAMES:
            return {LONG_NAMES[header.kind]: text(body.partition(b"\x00")[0])}
        return parse_records(body) if header.kind in PAX else {}

    def _named_member(self, found: Found) -> Found:
        self._named += len(found.path) + len(found.target)
        if self._named > LIMITS.archive_names:
            raise ContentError(
                f"the names have more than {LIMITS.archive_names} characters in total"
            )
        return found


def _found(header: Header, extended: dict[str, str]) -> Found:
    path, fault = _checked(extended.get("path", header.name))
    if header.kind == GNU_SPARSE or "sparse" in extended:
        raise ContentError(f"{shown(path)} {_SPARSE}")
    if header.kind in (SYMBOLIC_LINK, HARD_LINK):
        base = posixpath.dirname(path) if header.kind == SYMBOLIC_LINK else ""
        link = _link(path, extended.get("linkpath", header.target), base)
        return Found(path, "link", 0, link.target, fault or link.fault)
    if header.kind == DIRECTORY:
        return Found(path, "directory", fault=fault)
    if header.kind not in FILES:
        return Found(path, "other", fault=fault or "is neither a file, a directory nor a link")
    size = parse_size(extended["size"]) if "size" in extended else header.size
    if size < 0:
        raise ContentError(f"the size of {shown(path)} is not a number")
    if size > LIMITS.blob:
        raise ContentError(f"the size of {shown(path)} is impossible")
    return Found(path, "file", size, fault=fault)


def _checked(name: str) -> tuple[str, str]:
    """A name without what has no meaning, and why it must not be in an archive, or nothing."""
    if len(name) > LIMITS.path:
        return name[: LIMITS.path_shown], "has a name that is too long"
    path, leaves = _inside(name)
    return path, "has a name that points outside the archive" if leaves else ""


def _link(path: str, target: str, base: str) -> Found:
    if len(target) > LIMITS.path:
        return Found(path, "link", fault="is a link whose target is too long")
    inside, leaves = _inside(posixpath.normpath(posixpath.join(base, target)))
    return Found(
        path, "link", 0, inside, "is a link that points outside the archive" if leaves else ""
    )


def _inside(name: str) -> tuple[str, bool]:
    """A name without what has no meaning, and whether it leads out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(parts), name.startswith("/") or ".." in parts
