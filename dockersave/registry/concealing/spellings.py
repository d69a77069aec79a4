"""How texts spell characters: escapes as in URLs, HTML, JSON and programming languages. Pure.

Sources: RFC 3986, section 2.1 (%65); HTML, "Character references" (&#101; &#x65; &sol;); RFC 8259,
section 7 (\\u0065); string literals of C, Go, Python, JavaScript and Perl (\\x65 \\145 \\U00000065
\\u{65} \\x{65}); IIS (%u0065).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf"(?P<percent>(?:%{_HEX}{{2}})+)"
    rf"|(?P<byte>(?:\\x{_HEX}{{2}})+)"
    r"|(?P<octal>(?:\\[0-3][0-7]{2})+)"
    rf"|(?P<unit>(?:[\\%]u{_HEX}{{4}})+)"
    rf"|\\U(?P<long>{_HEX}{{8}})"
    rf"|\\[ux]\{{0*+(?P<braced>{_HEX}{{1,6}})\}}"
    rf"|&\#[xX]0*+(?P<hex>{_HEX}{{1,6}});?"
    r"|&\#0*+(?P<decimal>[0-9]{1,7});?"
    r"|(?P<named>&[A-Za-z][A-Za-z0-9]{1,30};)"
    r"|\\(?P<letter>.)"
)
_WIDTHS = {"percent": 3, "byte": 4, "octal": 4, "unit": 6}
"""Characters of an escape, where several in a row are one character."""
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_DEPTH = 3
"""How often a text may be escaped: JSON in JSON in HTML."""
_UNSEEN = re.compile(
    r"(?:[\r\n?]+[ \t]*|[\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff])+"
)
"""Line breaks with the indentation after them, control characters, characters without a glyph, and
what `errors.shown` puts in their place. Base64 comes in lines of 76 (RFC 2045), headers are folded,
and IIS has pages in UTF-16."""


class Reading:
    """A text as it may be meant, and where each of its characters comes from.

    Args:
        text: without some or all of the original's escapes.
        starts: for each character, and for the end, its position in the original.
    """

    __slots__ = ("starts", "text")

    def __init__(self, text: str, starts: list[int]) -> None:
        self.text = text
        self.starts = starts


def readings(text: str) -> Iterator[Reading]:
    """A text as it is, then without escapes, without the escapes in that, and so on.

    Each is followed by the same text without invisible characters. The time is proportional to the
    length of the text.
    """
    read = Reading(text, list(range(len(text) + 1)))
    yield from _joined(read)
    for _ in range(_DEPTH):
        plain = _unescaped(read)
        if len(plain.text) == len(read.text):
            return
        read = plain
        yield from _joined(read)


def _joined(read: Reading) -> Iterator[Reading]:
    """A reading, and the same in one line, if it is in several."""
    yield read
    parts: list[str] = []
    starts: list[int] = []
    at = 0
    for match in _UNSEEN.finditer(read.text):
        parts.append(read.text[at : match.start()])
        starts += read.starts[at : match.start()]
        at = match.end()
    if at:
        yield Reading("".join(parts) + read.text[at:], starts + read.starts[at:])


def _unescaped(read: Reading) -> Reading:
    parts: list[str] = []
    starts: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(read.text):
        begin = match.start()
        parts.append(read.text[at:begin])
        starts += read.starts[at:begin]
        for meant, width in _meant(match):
            parts.append(meant)
            starts += [read.starts[begin]] * len(meant)
            begin += width
        at = match.end()
    return Reading("".join(parts) + read.text[at:], starts + read.starts[at:])


def _meant(escape: re.Match[str]) -> Iterator[tuple[str, int]]:
    """The characters that an escape stands for, each with the length of its spelling."""
    kind = escape.lastgroup or ""
    value = escape[kind]
    if kind in _WIDTHS:
        digits = [value[at + 1 : at + _WIDTHS[kind]] for at in range(0, len(value), _WIDTHS[kind])]
        if kind == "unit":
            data = bytes.fromhex("".join(each[1:] for each in digits))
            text, encoding, size = data.decode("utf-16-be", "surrogatepass"), "utf-16-be", 2
        else:
            base = 8 if kind == "octal" else 16
            data = bytes(int(each.lstrip("x"), base) for each in digits)
            text, encoding, size = data.decode("utf-8", "surrogateescape"), "utf-8", 1
        errors = "surrogatepass" if kind == "unit" else "surrogateescape"
        for char in text:
            yield char, len(char.encode(encoding, errors)) // size * _WIDTHS[kind]
    elif kind == "letter":
        yield _LETTERS.get(value, value), 2
    elif kind == "named":
        import html

        yield html.unescape(value), len(value)
    else:
        code = int(value, 10 if kind == "decimal" else 16)
        yield (chr(code) if code <= 0x10FFFF else "\ufffd"), len(escape[0])
