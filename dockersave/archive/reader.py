"""What is in an archive or a directory, member by member, trusting nothing. Bounded memory.

`tarfile` reads the headers; it is not left to read an archive, since it takes extended headers
of any size into memory, and unfolds sparse files.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..errors import ContentError, shown
from ..limits import LIMITS, MIB
from .tar import BLOCK, padding

_NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_PAX = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
_FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_KEYS = frozenset({b"path", b"linkpath", b"size"})
_SPARSE = "is a sparse file, which no image archive has"
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
    extended: dict[str, str] = {}
    while block := source.exactly(BLOCK, "its headers"):
        if not any(block):
            if any(source.exactly(BLOCK, "its end") or b"\x00"):
                raise ContentError(f"there is no tar header at byte {source.position - BLOCK}")
            # The checksum of a compressed archive comes last.
            for _ in source.upto(_AFTER_END + 1):
                pass
            if not source.missing:
                raise ContentError(f"more than {_AFTER_END} bytes follow the archive's end")
            return
        info = _header(block, source.position - BLOCK)
        if info.type in _NAMES or info.type in _PAX or info.type == tarfile.XGLTYPE:
            body = source.exactly(_extension_size(info), "a header")
            source.exactly(padding(info.size), "a header")
            if info.type in _NAMES:
                extended[_NAMES[info.type]] = _text(body.partition(b"\x00")[0])
            elif info.type in _PAX:
                extended |= _records(body)
            continue
        found = _found(info, extended)
        extended = {}
        content = source.upto(found.size)
        yield found, content
        for _ in content:
            pass
        if source.missing:
            raise ContentError(f"the archive is cut off in {shown(found.path)}")
        source.exactly(padding(found.size), shown(found.path))
    raise ContentError(
        "the archive is cut off: it has no end" if source.position else "it is empty"
    )


def read_directory(path: str) -> Members:
    """The files of a directory, as if it were an archive; of each, what it had when it was found.

    Args:
        path: its name.

    Raises:
        OSError: it cannot be read.
    """
    for folder, folders, names in os.walk(path):
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
                yield Found(inside, "other", fault="is no file"), iter(())


def _pieces(path: str, size: int) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        # A file that somebody goes on writing to may have no end.
        while size and (data := os.read(fd, min(size, LIMITS.read))):
            size -= len(data)
            yield data
    finally:
        os.close(fd)


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
                raise ContentError("it is no tar archive")
            raise ContentError(f"the archive is cut off in {what}")
        return data


def _header(block: bytes, position: int) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        if position:
            raise ContentError(f"there is no tar header at byte {position}") from None
        raise ContentError("it is no tar archive") from None
    if not 0 <= info.size <= LIMITS.blob:
        raise ContentError(f"the size in the tar header at byte {position} cannot be")
    return info


def _extension_size(info: tarfile.TarInfo) -> int:
    if info.size > LIMITS.tar_extension:
        raise ContentError(f"a tar header is extended by {info.size} bytes")
    return info.size


def _records(body: bytes) -> dict[str, str]:
    """The records of an extended header (POSIX.1-2017, pax, "pax Extended Header")."""
    records: dict[str, str] = {}
    start = 0
    while start < len(body):
        length, space, _ = body[start : start + 20].partition(b" ")
        stop = start + int(length) if space and length.isdigit() else 0
        if not start + len(length) + 2 < stop <= len(body):
            raise ContentError("an extended tar header is malformed")
        key, _, value = body[start + len(length) + 1 : stop - 1].partition(b"=")
        if key in _KEYS or key.startswith(b"GNU.sparse"):
            records[_text(key)] = _text(value)
        start = stop
    return records


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _found(info: tarfile.TarInfo, extended: dict[str, str]) -> Found:
    name = extended.get("path", info.name)
    path, leaves = _inside(name)
    fault = ""
    if leaves or len(name) > LIMITS.path:
        fault = "has a name that leads out of the archive" if leaves else "has too long a name"
    if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in extended):
        raise ContentError(f"{shown(path)} {_SPARSE}")
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        base = posixpath.dirname(path) if info.type == tarfile.SYMTYPE else ""
        link = _link(path, extended.get("linkpath", info.linkname), base)
        return Found(path, "link", 0, link.target, fault or link.fault)
    if info.type == tarfile.DIRTYPE:
        return Found(path, "directory", fault=fault)
    if info.type not in _FILES:
        return Found(path, "other", fault=fault or "is neither file, directory nor link")
    stated = extended.get("size", str(info.size))
    if not (stated.isascii() and stated.isdigit() and len(stated) < 20):
        raise ContentError(f"the size of {shown(path)} is no number")
    if int(stated) > LIMITS.blob:
        raise ContentError(f"the size of {shown(path)} cannot be")
    return Found(path, "file", int(stated), fault=fault)


def _link(path: str, target: str, base: str) -> Found:
    inside, leaves = _inside(posixpath.normpath(posixpath.join(base, target)))
    return Found(
        path, "link", 0, inside, "is a link that leads out of the archive" if leaves else ""
    )


def _inside(name: str) -> tuple[str, bool]:
    """A name without what has no meaning, and whether it leads out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(parts), name.startswith("/") or ".." in parts
