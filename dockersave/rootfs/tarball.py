"""The headers of a merged file system as one tar. Pure, and the same on any host.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header": an extended header
only where a plain one is too small, for times with fractions, and for extended attributes. Names
that are no UTF-8, which extended headers cannot have, are written as GNU tar writes long ones.
Holes are written as zeros: every reader takes them, and the layer's format makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..archive.read.headers import DIRECTORY, HARD_LINK
from ..archive.tar import BLOCK, END, padding
from ..limits import LIMITS
from .content import whole
from .headers import FILE, SECOND, XATTR, Content, Member
from .merge import Tree
from .nodes import Entry

_NAME = 100
_ID = 1 << 21
_SIZE = 1 << 33
_TIME = 1 << 33


def pieces(
    tree: Tree,
    layers: Sequence[Content],
    prefix: bytes = b"",
    check: Callable[[], object] = lambda: None,
) -> Iterator[bytes]:
    """The tar, in pieces that are worth a system call.

    Args:
        tree: the file system.
        layers: those that it was made of.
        prefix: as for `header`.
        check: called for each path; may raise to stop.

    Raises:
        ContentError: a layer ends in the middle of a file, or a path is too long.
    """
    ready = bytearray()
    for data in _blocks_of(tree, layers, prefix):
        ready += data
        check()
        if len(ready) >= LIMITS.read:
            yield bytes(ready)
            ready.clear()
    yield bytes(ready + END)


def _blocks_of(tree: Tree, layers: Sequence[Content], prefix: bytes) -> Iterator[bytes]:
    for entry in tree.entries():
        yield header(entry, prefix)
        # What no layer describes may be in an image without layers.
        if entry.kind == FILE and not entry.same:
            yield from whole(layers[entry.layer], entry.member)
            yield bytes(padding(entry.member.size))


def header(entry: Entry, prefix: bytes = b"") -> bytes:
    """The header blocks of an entry; the content of a file follows them.

    Args:
        entry: the entry.
        prefix: of all paths; ends in a slash, or is empty.
    """
    member = entry.member
    if entry.same:
        return _blocks(prefix + entry.path, HARD_LINK, member, 0, prefix + entry.same)
    path = prefix + entry.path
    if member.kind == DIRECTORY:
        path = path.rstrip(b"/") + b"/" if path else b"./"
    return _blocks(path, member.kind, member, member.size, member.target)


def document(path: bytes, body: bytes) -> bytes:
    """A file with its header and padding, as root's."""
    plain = Member(b"", FILE, 0o644, 0, 0, 0, b"", len(body), 0, (0, 0), {})
    return _blocks(path, FILE, plain, len(body), b"") + body + bytes(padding(len(body)))


def _blocks(path: bytes, kind: int, member: Member, size: int, target: bytes) -> bytes:
    records: dict[bytes, bytes] = {}
    before = b""
    for key, type_flag, name in ((b"path", b"L", path), (b"linkpath", b"K", target)):
        if len(name) > _NAME:
            if _is_text(name):
                records[key] = name
            else:
                before += _extension(type_flag, b"././@LongLink", name + b"\x00")
    seconds, fraction = divmod(member.mtime, SECOND)
    if fraction or not 0 <= seconds < _TIME:
        records[b"mtime"] = _decimal(member.mtime)
        seconds = max(0, min(seconds, _TIME - 1))
    for key, number in ((b"uid", member.uid), (b"gid", member.gid)):
        if number >= _ID:
            records[key] = b"%d" % number
    if size >= _SIZE:
        records[b"size"] = b"%d" % size
    if kind != HARD_LINK:
        for key, value in member.xattrs.items():
            records[XATTR + key] = value
    if records:
        body = b"".join(_record(key, records[key]) for key in sorted(records))
        before += _extension(b"x", b"PaxHeader", body)
    return before + _block(
        path, bytes([kind]), member, size if size < _SIZE else 0, seconds, target
    )


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decimal(nanoseconds: int) -> bytes:
    """A time in seconds, with nine digits of its fraction at most."""
    seconds, fraction = divmod(abs(nanoseconds), SECOND)
    digits = (b"%d.%09d" % (seconds, fraction)).rstrip(b"0").rstrip(b".")
    return b"-" + digits if nanoseconds < 0 else digits


def _record(key: bytes, value: bytes) -> bytes:
    """A record, which begins with its own length in decimal digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d" % length + rest


_NOBODYS = Member(b"", FILE, 0o644, 0, 0, 0, b"", 0, 0, (0, 0), {})


def _extension(kind: bytes, name: bytes, body: bytes) -> bytes:
    return _block(name, kind, _NOBODYS, len(body), 0, b"") + body + bytes(padding(len(body)))


def _block(path: bytes, kind: bytes, member: Member, size: int, mtime: int, target: bytes) -> bytes:
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        path[:_NAME].ljust(_NAME, b"\0"),
        member.mode,
        member.uid if member.uid < _ID else 0,
        member.gid if member.gid < _ID else 0,
        size,
        mtime,
    )
    tail = b"%b%bustar\00000%b%07o\0%07o\0" % (
        kind,
        target[:_NAME].ljust(_NAME, b"\0"),
        bytes(64),
        *member.device,
    )
    total = sum(head) + sum(tail) + 8 * 0x20
    return (head + b"%06o\0 " % total + tail).ljust(BLOCK, b"\0")
