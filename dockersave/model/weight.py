"""Estimate the memory of a parsed JSON document before parsing it. Pure.

It is many times the document's size: each value is an object of 50 bytes or more, and one character
beyond Latin-1 makes every character of its string two or four bytes wide (PEP 393).
"""

from __future__ import annotations

import re

from ..limits import LIMITS

_MARKS = (b",", b":", b"[", b"{")
# As UTF-8 or as an escape; of characters beyond U+FFFF, the first half of the pair.
_WIDE = re.compile(rb"[\xc4-\xff]|\\u(?!00)")
_WIDEST = re.compile(rb"[\xf0-\xff]|\\u[dD][89abAB]")


def is_too_heavy(body: bytes, marks: int = LIMITS.json_marks) -> bool:
    """Whether a document would take too much memory.

    Args:
        body: the document, as UTF-8.
        marks: the most commas, colons and opening brackets.
    """
    if _marks(body) > marks:
        return True
    if len(body) * 4 <= LIMITS.json_text:
        return False
    return _text(body) > LIMITS.json_text


def kept_of(body: bytes) -> int:
    """Memory for a parsed manifest or index in addition to its bytes, in bytes, at most.

    Args:
        body: the document.
    """
    return max(LIMITS.document_mark * _marks(body), _text(body))


def _text(body: bytes) -> int:
    """What a document's text takes at most, in bytes."""
    width = 4 if _WIDEST.search(body) else 2 if _WIDE.search(body) else 1
    return len(body) * width


def _marks(body: bytes) -> int:
    return sum(map(body.count, _MARKS))
