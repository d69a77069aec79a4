"""Read an untrusted archive or directory, member by member, with bounded memory.

All untrusted archives are read here, from a stream or a file: the standard library's `tarfile`
reads extended headers of any size into memory, follows negative sizes backwards, and expands sparse
files.
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
    NO_TAR,
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
"""How many bytes may follow the end of an archive: tar pads its last record, of 10 KiB or, on
tapes, a few MiB. More than that is not padding, and a pipe could bring it endlessly."""


@dataclass(frozen=True, slots=True)
class Found:
    """A member as found.

    Args:
        path: its normalised name (no `./`, no double slashes).
        kind: its type.
        size: of its content, in bytes.
        target: the target of a link, from the archive's root.
        fault: why it is not allowed, or empty.
    """

    path: str
    kind: Literal["file", "directory", "link", "other"]
    size: int = 0
    target: str = ""
    fault: str = ""


Members = Iterator[tuple[Found, Iterator[bytes]]]
"""Members with their content. Read it before requesting the next member."""


def read_tar(pieces: Iterable[bytes]) -> Members:
    """The members of a tar archive.

    Args:
        pieces: its bytes.

    Raises:
        ContentError: it is not a tar archive, is truncated, or has something that image archives
            never contain.
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
    """The members of a tar file, which may be truncated, each with the offset of its content in
    bytes.

    Args:
        fd: the file; only headers are read.

    Raises:
        ContentError: the next header is invalid, but the archive does not end here.
        OSError: it cannot be read.
    """
    source = _File(fd)
    members = _Headers(source)
    while found := members.next():
        yield found, source.position
        source.position += found.size + padding(found.size)


def read_directory(path: str) -> Members:
    """The files of a directory, as if it were an archive, each with the size it had when found.

    Args:
        path: its name.

    Raises:
        OSError: it cannot be read.
    """
    for folder, folders, names in os.walk(path, onerror=_give_up):
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


def _give_up(failure: OSError) -> None:
    """Do not skip what cannot be read: it would be reported as missing."""
    raise failure


def _pieces(path: str, size: int) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        # A file that is still being written may never end.
        while size and (data := os.read(fd, min(size, LIMITS.read))):
            size -= len(data)
            yield data
    finally:
        os.close(fd)


class _Reads(Protocol):
    """A source of headers."""

    position: int

    def exactly(self, amount: int, what: str) -> bytes:
        """The next `amount` bytes; empty at the end."""


class _File:
    """A file with random access."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.position = 0

    def exactly(self, amount: int, what: str) -> bytes:
        data = os.pread(self._fd, amount, self.position)
        self.position += len(data)
        return _complete(data, amount, self.position, what)


class _Source:
    """Re-chunks pieces of any size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")
        self.position = 0
        self.missing = 0

    def upto(self, amount: int) -> Iterator[bytes]:
        """The next `amount` bytes, as they come; fewer at the end, see `missing`."""
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
        """The next `amount` bytes; empty at the end.

        Raises:
            ContentError: it ends before.
        """
        data = b"".join(self.upto(amount))
        return _complete(data, amount, self.position, what)


def _complete(data: bytes, amount: int, position: int, what: str) -> bytes:
    """What was read of an archive, up to a position: all that was asked for, or nothing."""
    if data and len(data) < amount:
        cut = f"the archive is truncated in {what}"
        raise ContentError(cut if position >= BLOCK else NO_TAR)
    return data


class _Headers:
    """The headers of an archive, with extended headers applied.

    Their number, the length of all names, and their extensions are limited: a few KiB of a
    compressed archive can expand to any number of them.
    """

    def __init__(self, source: _Reads) -> None:
        self._source = source
        self._count = self._extended = self._named = 0

    def next(self) -> Found | None:
        """The next member, followed by its content; None at the end of the archive.

        Raises:
            ContentError: it is neither.
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
    """A normalised name, and why it is not allowed, or empty."""
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
    """A normalised name, and whether it points outside the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(parts), name.startswith("/") or ".." in parts
