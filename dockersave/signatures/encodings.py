"""Strict encodings: DER, PEM, base64, JSON. Whatever has two spellings is accepted in one of them.

Sources: ITU-T X.690 (DER, sections 10 and 11), RFC 7468 (PEM), RFC 4648 (base64, section 3.5), RFC
8259 (JSON, section 4).
"""

from __future__ import annotations

import binascii
import json
from typing import TYPE_CHECKING

from ..limits import LIMITS
from ..model.weight import is_too_heavy

if TYPE_CHECKING:
    from typing import Any, NoReturn

INTEGER, BIT_STRING, SEQUENCE = 0x02, 0x03, 0x30
_LENGTH_MOST = 4
"""Bytes of a length: more than memory has."""


class EncodingError(ValueError):
    """Bytes that are not what they should be, or not in their one canonical form."""


def items(data: bytes) -> list[tuple[int, bytes]]:
    """DER values in a row, each as its tag and its content.

    Raises:
        EncodingError: they are not DER.
    """
    found, at = [], 0
    while at < len(data):
        tag, content, at = _item(data, at)
        found.append((tag, content))
    return found


def _item(data: bytes, at: int) -> tuple[int, bytes, int]:
    head, at = data[at : at + 2], at + 2
    if len(head) < 2:
        raise EncodingError("DER: it ends too soon")
    tag, size = head
    if size & 0x80:
        width, size = size & 0x7F, int.from_bytes(data[at : at + (size & 0x7F)], "big")
        if not 1 <= width <= _LENGTH_MOST or size < 0x80 or size >> 8 * (width - 1) == 0:
            raise EncodingError("DER: a length is not in its shortest form")
        at += width
    if len(data) - at < size:
        raise EncodingError("DER: it ends too soon")
    return tag, data[at : at + size], at + size


def sequence(data: bytes, *tags: int) -> list[bytes]:
    """The contents of a DER SEQUENCE that is all of the data.

    Args:
        data: the bytes.
        tags: of the values that it must have.

    Raises:
        EncodingError: it is something else.
    """
    outer = items(data)
    if [tag for tag, _ in outer] != [SEQUENCE]:
        raise EncodingError("DER: it is not one sequence")
    inner = items(outer[0][1])
    if tuple(tag for tag, _ in inner) != tags:
        raise EncodingError("DER: a sequence has other values than it should")
    return [content for _, content in inner]


def unsigned(content: bytes) -> int:
    """The value of a DER INTEGER that is not negative.

    Raises:
        EncodingError: it is negative, empty, or has zeros in front.
    """
    is_padded = content[:1] == b"\0" and len(content) > 1 and content[1] < 0x80
    if not content or content[0] & 0x80 or is_padded:
        raise EncodingError("DER: a number is negative, or not in its shortest form")
    return int.from_bytes(content, "big")


def base64(text: str | bytes) -> bytes:
    """The bytes of base64 text: the standard alphabet, padded, and no bits to spare.

    Raises:
        EncodingError: it is anything else.
    """
    try:
        data = text.encode("ascii") if isinstance(text, str) else text
        decoded = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise EncodingError("it is not base64") from None
    if binascii.b2a_base64(decoded, newline=False) != data:
        raise EncodingError("it is not in base64's canonical form")
    return decoded


def pem(text: bytes) -> list[tuple[str, bytes]]:
    """The blocks of a PEM file, each as its label and its content.

    Raises:
        EncodingError: a block has no end, or is not base64.
    """
    found: list[tuple[str, bytes]] = []
    label, body = "", bytearray()
    for line in map(bytes.strip, text.splitlines()):
        if label and line == b"-----END %s-----" % label.encode():
            found.append((label, base64(bytes(body))))
            label, body = "", bytearray()
        elif label:
            body += line
        elif line.startswith(b"-----BEGIN ") and line.endswith(b"-----"):
            label = line[11:-5].decode("ascii", "replace")
    if label:
        raise EncodingError("a PEM block has no end")
    return found


def json_object(data: bytes) -> dict[str, Any]:
    """The object that a JSON text is.

    Raises:
        EncodingError: it is none, names a member twice, or would take too much memory.
    """
    document = json_value(data, LIMITS.document_marks)
    if not isinstance(document, dict):
        raise EncodingError("it is not a JSON object")
    return document


def json_value(data: bytes, marks: int = LIMITS.json_marks) -> Any:
    """What a JSON text says, the same to every reader.

    Args:
        data: the text.
        marks: the most commas, colons and opening brackets.

    Raises:
        EncodingError: it is not JSON, names a member twice, or would take too much memory.
    """
    if is_too_heavy(data, marks):
        raise EncodingError("it has too many values or too much text")
    try:
        document: Any = json.loads(
            data.decode(), object_pairs_hook=_members, parse_constant=_no_number
        )
    except EncodingError:
        raise
    except json.JSONDecodeError as failure:
        where = f"line {failure.lineno}, column {failure.colno}"
        raise EncodingError(f"it is not JSON from {where} on") from None
    except (ValueError, RecursionError):
        raise EncodingError("it is not JSON") from None
    return document


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    # Go ignores case, that of the long s and of the Kelvin sign, too.
    if len({name.casefold() for name in members}) < len(pairs):
        raise EncodingError("it names a member twice: readers disagree about which one counts")
    return members


def _no_number(text: str) -> NoReturn:
    raise EncodingError(f"{text} is not a JSON number")
