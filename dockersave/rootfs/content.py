"""The content of a layer's files."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ContentError
from ..limits import LIMITS
from .headers import FILE, Content, Member


def pieces(layer: Content, member: Member) -> Iterator[tuple[int, bytes]]:
    """The data of a file, each piece with its position in the file; between them are holes.

    Args:
        layer: the layer that has it.
        member: the file.

    Raises:
        ContentError: the layer ends before.
    """
    offset = member.content
    for position, length in member.pieces:
        stop = offset + length
        while offset < stop:
            data = layer.read(offset, min(stop - offset, LIMITS.read))
            if not data:
                raise ContentError("a layer is truncated in the middle of a file")
            yield position, data
            offset += len(data)
            position += len(data)


def whole(layer: Content, member: Member) -> Iterator[bytes]:
    """The same, with zeros for the holes.

    Raises:
        ContentError: the layer ends before.
    """
    end = 0
    for position, data in pieces(layer, member):
        yield from zeros(position - end)
        yield data
        end = position + len(data)
    yield from zeros(member.size - end)


def start_of(layer: Content, member: Member, most: int) -> bytes:
    """At most so many of its first bytes; none of what is no file.

    Raises:
        ContentError: the layer ends before.
    """
    body = b""
    for data in whole(layer, member) if member.kind == FILE else ():
        body += data
        if len(body) >= most:
            break
    return body[:most]


def zeros(count: int) -> Iterator[bytes]:
    """So many of them."""
    while count > 0:
        yield bytes(min(count, LIMITS.read))
        count -= LIMITS.read
