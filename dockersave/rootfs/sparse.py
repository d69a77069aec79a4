"""Files with holes: where in a file the data goes that a layer has of it. Pure.

Source: GNU tar's manual, "Storing Sparse Files": the old format, and those for POSIX archives, 0.0,
0.1 and 1.0. Data of all pieces stands without padding in between, as in Go's archive/tar, which all
engines use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..archive.read.headers import GNU, GNU_SPARSE, SPARSE_KEYS, number
from ..archive.tar import BLOCK
from ..errors import ContentError
from ..limits import LIMITS

Piece = tuple[int, int]
"""A piece of data: its position in the file, and its size, in bytes."""
Read = Callable[[int, int], bytes]
"""Reads exactly so many bytes of a layer at an offset; none at its end."""

_MAP = b"GNU.sparse.map"
_PAIR = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
"""Format 0.0 has a record for each number, in turn."""
_ENTRY, _IN_HEADER, _IN_EXTENSION = 24, 4, 21
_DIGITS = 20


def is_sparse(block: bytes, extended: Mapping[bytes, bytes]) -> bool:
    """Whether a member is a sparse file.

    Args:
        block: its header.
        extended: the records of its extended headers.
    """
    return block[156] == GNU_SPARSE or any(key.startswith(SPARSE_KEYS) for key in extended)


def with_map(records: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The records of all extended headers of a member; those of format 0.0 become one, as in 0.1.

    Raises:
        ContentError: they are not in turn, or too many.
    """
    found: dict[bytes, bytes] = {}
    numbers: list[bytes] = []
    count = 0
    for key, value in records:
        if key in _PAIR:
            if key != _PAIR[len(numbers) % 2] or b"," in value:
                raise _wrong("is malformed")
            numbers.append(value)
        else:
            found[key] = value
            count += 1
        if count > LIMITS.tar_records or len(numbers) > 2 * LIMITS.sparse_pieces:
            raise ContentError("an extended tar header has too many records")
    if numbers:
        found[_MAP] = b",".join(numbers)
    return found


def read_map(
    block: bytes, extended: Mapping[bytes, bytes], offset: int, stored: int, read: Read
) -> tuple[int, Sequence[Piece], int]:
    """The map of a sparse file.

    Args:
        block: its header.
        extended: the records of its extended headers.
        offset: of what follows the header.
        stored: how much that is, as stated, in bytes.
        read: reads the rest of the map, which stands there in two of the formats.

    Returns:
        The size of the file, its pieces in order, and the offset of their data.

    Raises:
        ContentError: the map is malformed, or does not fit the file or the data.
    """
    start = offset
    if block[156] == GNU_SPARSE:
        size, numbers, start = _old(block, offset, read)
        offset = start
    else:
        version = extended.get(b"GNU.sparse.major"), extended.get(b"GNU.sparse.minor")
        if version == (b"1", b"0"):
            numbers, start = _in_front(offset, offset + stored, read)
        elif version in ((b"0", b"0"), (b"0", b"1"), (None, None)):
            stated = extended.get(_MAP)
            numbers = [_decimal(each) for each in stated.split(b",")] if stated else []
            if len(numbers) != 2 * _decimal(extended.get(b"GNU.sparse.numblocks")):
                raise _wrong("is not as long as stated")
        else:
            raise _wrong("has an unknown format")
        size = _decimal(extended.get(b"GNU.sparse.realsize") or extended.get(b"GNU.sparse.size"))
    if len(numbers) > 2 * LIMITS.sparse_pieces:
        raise _wrong("is too long")
    pieces = list(zip(numbers[::2], numbers[1::2], strict=True))
    _check(size, pieces, stored - (start - offset))
    return size, pieces, start


def _check(size: int, pieces: Sequence[Piece], stored: int) -> None:
    end = 0
    for position, length in pieces:
        if position < end:
            raise _wrong("overlaps or goes backward")
        end = position + length
    if not end <= size <= LIMITS.sparse_file:
        raise _wrong("exceeds the file, or the file is too large")
    if sum(length for _, length in pieces) != stored:
        raise _wrong("does not fit its data")


def _old(block: bytes, offset: int, read: Read) -> tuple[int, list[int], int]:
    """Size, numbers and the offset of the data, in the old format: the header is continued."""
    if block[257:263] != GNU:
        raise _wrong("has an unknown format")
    size = _positive(block[483:495])
    numbers: list[int] = []
    fields, count, more = block[386:], _IN_HEADER, block[482]
    while True:
        for start in range(0, count * _ENTRY, _ENTRY):
            if not fields[start]:
                break
            numbers.append(_positive(fields[start : start + 12]))
            numbers.append(_positive(fields[start + 12 : start + _ENTRY]))
        if not more:
            return size, numbers, offset
        if len(numbers) > 2 * LIMITS.sparse_pieces:
            raise _wrong("is too long")
        if not (fields := read(offset, BLOCK)):
            raise _wrong("is truncated")
        offset += BLOCK
        count, more = _IN_EXTENSION, fields[504]


def _in_front(offset: int, stop: int, read: Read) -> tuple[list[int], int]:
    """The numbers in format 1.0, which stand in front of the data, and where that begins."""
    numbers: list[int] = []
    wanted, rest = 1, b""
    while len(numbers) < wanted:
        if len(rest) > _DIGITS or offset >= stop or not (block := read(offset, BLOCK)):
            raise _wrong("is malformed or truncated")
        offset += BLOCK
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if len(numbers) == wanted:
                break
            numbers.append(_decimal(line))
            if len(numbers) == 1:
                wanted += 2 * numbers[0]
                if numbers[0] > LIMITS.sparse_pieces:
                    raise _wrong("is too long")
    return numbers[1:], offset


def _positive(field: bytes) -> int:
    found = number(field)
    if found is None or found < 0:
        raise _wrong("has an impossible number")
    return found


def _decimal(stated: bytes | None) -> int:
    if not stated or not stated.isdigit() or len(stated) > _DIGITS:
        raise _wrong("has an impossible number")
    return int(stated)


def _wrong(why: str) -> ContentError:
    return ContentError(f"a layer has a sparse file whose map {why}")
