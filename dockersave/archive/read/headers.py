"""Parse untrusted tar headers. Pure.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar's
manual, "Basic Tar Format" (long names, numbers in base 256).
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import ContentError
from ...limits import LIMITS
from ...values import dataclass
from ..tar import BLOCK

NO_TAR = "it is not a tar archive"

FILES = frozenset(b"0\x007")
HARD_LINK, SYMBOLIC_LINK, DIRECTORY = b"125"
GNU_SPARSE = ord("S")
LONG_NAMES = {ord("L"): "path", ord("K"): "linkpath"}
PAX, PAX_GLOBAL = frozenset(b"xX"), ord("g")
EXTENSIONS = frozenset(LONG_NAMES) | PAX | {PAX_GLOBAL}
"""Kinds whose content extends the next header, or all headers."""

POSIX, GNU = b"ustar\x00", b"ustar "
SPARSE_KEYS = b"GNU.sparse"
"""How the keys of records begin that describe a sparse file."""
_KEYS = frozenset({b"path", b"linkpath", b"size"})
_DIGITS_MOST = 20
"""Digits of a number in an extended header: enough for any size, and quick to parse."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header block of 512 bytes.

    Args:
        kind: the type flag, one byte.
        name: of the member.
        target: of a link.
        size: of the content that follows, in bytes.
    """

    kind: int
    name: str
    target: str
    size: int


def parse_header(block: bytes, position: int) -> Header:
    """Read a header block.

    Args:
        block: 512 bytes.
        position: where it was found, for messages.

    Raises:
        ContentError: it is not a header, or its size is impossible.
    """
    check_sum(block, position)
    size = number(block[124:136])
    if size is None or not 0 <= size <= LIMITS.blob:
        raise ContentError(f"the tar header at byte {position} has an impossible size")
    kind, name = block[156], _string(block[:100])
    if block[257:263] == POSIX and (prefix := _string(block[345:500])):
        name = f"{prefix}/{name}"
    if kind == 0 and name.endswith("/"):
        # Before POSIX, a directory was a file whose name ended in a slash.
        kind = DIRECTORY
    return Header(kind, name, _string(block[157:257]), size)


def check_sum(block: bytes, position: int) -> None:
    """Check that a block is a header: by its checksum.

    Args:
        block: 512 bytes.
        position: where it was found, for messages.

    Raises:
        ContentError: it is not a header.
    """
    if len(block) == BLOCK:
        rest = block[:148] + block[156:]
        total, stated = sum(rest) + 8 * 0x20, number(block[148:156])
        # Some old programs summed signed bytes.
        if stated == total or stated == total - 256 * sum(byte >= 0x80 for byte in rest):
            return
    if position:
        raise ContentError(f"no tar header at byte {position}")
    raise ContentError(NO_TAR)


def parse_records(body: bytes) -> dict[str, str]:
    """The relevant records of an extended header.

    Raises:
        ContentError: it is malformed.
    """
    records: dict[str, str] = {}
    for key, value in split_records(body):
        if key in _KEYS:
            records[text(key)] = text(value)
        elif key.startswith(SPARSE_KEYS):
            records["sparse"] = ""
    return records


def split_records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All records of an extended header, as keys and values.

    Raises:
        ContentError: it is malformed.
    """
    start = 0
    while start < len(body):
        length, space, _ = body[start : start + _DIGITS_MOST].partition(b" ")
        stop = start + int(length) if space and length.isdigit() else 0
        if not start + len(length) + 2 < stop <= len(body):
            raise ContentError("an extended tar header is malformed")
        key, _, value = body[start + len(length) + 1 : stop - 1].partition(b"=")
        yield key, value
        start = stop


def parse_size(stated: str) -> int:
    """A size in an extended header; -1 if it is not a number, or impossible."""
    if not (stated.isascii() and stated.isdigit() and len(stated) < _DIGITS_MOST):
        return -1
    return int(stated)


def text(data: bytes) -> str:
    """A name of arbitrary bytes."""
    return data.decode("utf-8", "surrogateescape")


def _string(field: bytes) -> str:
    return text(field.partition(b"\x00")[0])


def number(field: bytes) -> int | None:
    """A number of a header, in octal digits, or in base 256; None if it is neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    digits = field[:-1]
    if not digits.isdigit():
        # Shorter, or filled up with spaces.
        digits = field.partition(b"\x00")[0].strip()
        if not digits.isdigit():
            return None if digits else 0
    elif field[-1:] not in (b"\x00", b" "):
        digits = field
    try:
        return int(digits, 8)
    except ValueError:
        return None
