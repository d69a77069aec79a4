"""Secrets, and how to remove them from output. Pure, except for its memory.

Servers repeat what they were sent: in errors, headers and URLs, escaped in one way or several, or
encoded with Base64 or as hex. So all text from outside is read without its escapes, and searched,
before it is truncated and shown.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import parse_qsl, unquote, urlsplit

from ...errors import DockersaveError, shown
from .spellings import Reading, readings

Span = tuple[int, int]
"""The start and the end of a part of a text."""
Conceal = Callable[[str], str]
"""Removes secrets from a text from outside."""

_HIDDEN = "***"
_LEAST = 4
"""Shorter words are not hidden: cutting them out of other words would reveal them."""
_LEAST_PACKED = 6
_LEAST_CUT = 6
"""What is left of a secret where a text was cut is hidden if it is that long."""
_LEAST_SIGNATURE = 12
"""A value in a query of this length is taken for a signature or a token."""
_GIVEN_MOST = 64
"""How many signatures and tokens are remembered: the latest. Each blob may have its own URL, and
each response a token."""
_BEGINNING = 32
"""A longer secret is recognised by its first characters: so no text makes the search slow, and
truncated secrets are found, too."""
_KEPT = _BEGINNING + 1
"""Characters of a secret that are kept: these, and whether there are more."""
_SEARCHED = 8192
"""Characters of a text that are searched. The rest is dropped: no message is that long."""
_EDGE = 1024
"""How much is dropped at the end of a truncated text: it may hold the start of a secret, up to 32
characters for each one if escaped, and "?a" may have grown."""
_HALF = 6
"""Characters of the longest escape that is common in passwords: `\\u0065`."""
_REST = re.compile(r"[^\s\"'<>]*+")
_WORD = re.compile(r"[^\s\"'<>]+")


class Secrets:
    """The secrets of one run. All methods are thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The pattern of each, created on demand.
        self._own: dict[str, re.Pattern[str] | None] = {}
        self._tokens: dict[str, re.Pattern[str] | None] = {}
        self._signed: dict[str, re.Pattern[str] | None] = {}
        self._patterns: list[re.Pattern[str]] | None = None

    def add(self, words: Iterable[str]) -> None:
        """Learn the user's own secrets: passwords and their equivalents."""
        self._learn(self._own, words, _LEAST)

    def add_token(self, token: str) -> None:
        """Learn a token from a registry whenever it is sent: the latest are kept."""
        self._learn(self._tokens, [token], _LEAST, _GIVEN_MOST)

    def add_signed(self, url: str) -> None:
        """Learn the secret parts of a signed URL: whoever has them has access."""
        values = (value for _, value in parse_qsl(urlsplit(url).query))
        self._learn(self._signed, values, _LEAST_SIGNATURE, _GIVEN_MOST)

    def _learn(
        self,
        kept: dict[str, re.Pattern[str] | None],
        words: Iterable[str],
        least: int,
        most: int | None = None,
    ) -> None:
        """Keep words of a minimum length, and only the latest."""
        with self._lock:
            for word in words:
                if len(word) < least:
                    continue
                beginning = word[:_KEPT]
                if beginning not in kept:
                    self._patterns = None
                kept[beginning] = kept.pop(beginning, None)
                if most and len(kept) > most:
                    del kept[next(iter(kept))]

    def add_proxies(self, environ: Mapping[str, str]) -> None:
        """Learn the passwords in the URLs of proxies."""
        for name in ("http_proxy", "https_proxy"):
            for address in (environ.get(name), environ.get(name.upper())):
                login, at, _ = (address or "").rpartition("://")[2].rpartition("@")
                if at:
                    user, _, word = unquote(login).partition(":")
                    pair = base64.b64encode(f"{user}:{word}".encode(errors="surrogateescape"))
                    self.add([word, pair.decode()])

    def conceal(self, text: str) -> str:
        """Text from outside, without secrets in any encoding, and without URL queries.

        Only the beginning of a text that is longer than any message.
        """
        is_long = len(text) > _SEARCHED
        text = text[:_SEARCHED]
        text = _without(text, self._found(text))
        if is_long:
            text = text.removesuffix(_HIDDEN) if text.endswith(_HIDDEN) else text[:-_EDGE]
            text += _HIDDEN
        return text

    def _found(self, text: str) -> Iterator[Span]:
        """Where secrets and queries are, in each reading of a text."""
        patterns = self._compiled()
        for read in readings(text):
            yield from _queries(read)
            for pattern in patterns:
                for match in pattern.finditer(read.text):
                    start, end = read.starts[match.start()], read.starts[match.end()]
                    yield start, end
                    if match.lastindex and (rest := _REST.match(text, end)):
                        yield start, rest.end()
                    if match.lastindex and (rest := _REST.match(read.text, match.end())):
                        yield start, read.starts[rest.end()]

    def _compiled(self) -> list[re.Pattern[str]]:
        with self._lock:
            if self._patterns is None:
                for kept in (self._own, self._tokens, self._signed):
                    kept.update((word, _pattern(word)) for word, known in kept.items() if not known)
                everything = self._own | self._tokens | self._signed
                self._patterns = [pattern for pattern in everything.values() if pattern]
            return self._patterns

    def shown(self, text: str) -> str:
        """Text from outside, safe to print: concealed first, then truncated."""
        return shown(self.conceal(text))

    def clean(self, error: DockersaveError) -> DockersaveError:
        """An error with text from outside, without secrets.

        Its causes appear in tracebacks, so they are cleaned, too.
        """
        error.said, error.advice = self.conceal(error.said), self.conceal(error.advice)
        seen: set[int] = set()
        waiting: list[object] = [error]
        while waiting:
            one = waiting.pop()
            if isinstance(one, BaseException) and id(one) not in seen:
                seen.add(id(one))
                waiting += [one.__cause__, one.__context__, *one.args]
                one.args = tuple(map(self._clean_part, one.args))
        return error

    def _clean_part(self, part: object) -> object:
        if isinstance(part, bytes):
            text = part.decode(errors="surrogateescape")
            return self.conceal(text).encode(errors="surrogateescape")
        return self.conceal(part) if isinstance(part, str) else part


def without_queries(text: str) -> str:
    """Text without the queries of the URLs in it."""
    return _without(text, (span for read in readings(text) for span in _queries(read)))


def _queries(read: Reading) -> Iterator[Span]:
    """Where the queries of URLs are in the original text."""
    for word in _WORD.finditer(read.text):
        address, mark, query = word[0].partition("?")
        if mark and query and "/" in address:
            yield read.starts[word.start() + len(address) + 1], read.starts[word.end()]


def _without(text: str, spans: Iterable[Span]) -> str:
    """Text with something else at these places, which may overlap."""
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            parts += text[done:start], _HIDDEN
        done = max(done, end)
    return "".join(parts) + text[done:]


def _pattern(word: str) -> re.Pattern[str]:
    """A pattern for a secret in a text without escapes: plain, as hex, or in Base64.

    Args:
        word: the secret, or the first `_KEPT` characters of a longer one.
    """
    found = dict.fromkeys(part for each in _variants(word) for part in _packings(*each))
    return re.compile("|".join(found), re.IGNORECASE)


def _variants(word: str) -> Iterator[tuple[str, bool]]:
    """A secret as readings of a text may show it, and whether there is more of it."""
    is_long = len(word) > _BEGINNING
    for reading in readings(word):
        # What looks like an escape in a secret is read, too. What was cut may be half of one.
        known = reading.text if reading.text == word or not is_long else reading.text[:-_HALF]
        if len(known) < _LEAST:
            continue
        yield known, is_long
        # Bytes that are no UTF-8, and UTF-8 in headers, which are read as Latin-1.
        for coded, decoded in (("iso-8859-1", "utf-8"), ("utf-8", "iso-8859-1")):
            with suppress(UnicodeEncodeError):
                data = known.encode(coded, "strict" if decoded == "utf-8" else "surrogateescape")
                yield data.decode(decoded, "surrogateescape"), is_long


def _packings(word: str, is_long: bool) -> Iterator[str]:
    """Patterns for a word: as it is, as hex, and Base64-encoded at any offset.

    What belongs to a longer secret ends in an empty group. Six characters are enough where
    `errors.shown` has cut a text.
    """

    def beginning(chars: Sequence[str]) -> str:
        more = "()" if is_long or len(chars) > _BEGINNING else ""
        whole = "".join(chars[:_BEGINNING]) + more
        if len(chars) < _LEAST_CUT:
            return whole
        rest = ""
        for char in reversed(chars[_LEAST_CUT:_BEGINNING]):
            rest = f"(?:{char}{rest})?"
        return f"{whole}|{''.join(chars[:_LEAST_CUT])}{rest}(?=[.]{{3}})"

    yield beginning([_LIKE.get(char) or re.escape(char) for char in word])
    data = word.encode(errors="surrogateescape")
    yield beginning([f"{byte:02x}[ :-]?" for byte in data])
    for before in range(3):
        packed = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        # The first and the last characters depend on the bytes around it.
        core = packed[-(-before * 8 // 6) : len(packed) - (1 if (before + len(data)) % 3 else 0)]
        if len(core) >= _LEAST_PACKED:
            yield beginning([_LIKE_PACKED.get(char, char) for char in core])


_LIKE = {" ": "[ +]"}
"""Forms write a space as a plus."""
_LIKE_PACKED = {"+": "[+-]", "/": "[/_]"}
"""The two characters of Base64 that differ in its URL-safe variant."""
