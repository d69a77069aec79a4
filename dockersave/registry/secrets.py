"""Secrets, and how to remove them from output. Pure, except for its memory.

Servers repeat what they were sent: in errors, headers and URLs, escaped as in JSON, URLs or HTML,
or encoded with Base64 or as hex. So all text from outside is searched before it is truncated and
shown.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import DockersaveError, shown

Conceal = Callable[[str], str]
"""Removes secrets from a text from outside."""

_HIDDEN = "***"
_LEAST = 4
"""Shorter words are not hidden: cutting them out of other words would reveal them."""
_LEAST_PACKED = 6
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
"""Characters of a text that are searched. The rest is dropped: nobody is shown as many."""
_EDGE = 1024
"""How much is dropped at the end of a truncated text: it may hold the start of a secret, twelve
characters for each one if escaped, and "?a" may have grown."""
_REST = r"[^\s\"'<>]*+"
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

        Only the beginning of a text that is longer than anybody is shown.
        """
        is_long = len(text) > _SEARCHED
        text = without_queries(text[:_SEARCHED])
        for pattern in self._ordered():
            text = pattern.sub(_HIDDEN, text)
        if is_long:
            text = text.removesuffix(_HIDDEN) if text.endswith(_HIDDEN) else text[:-_EDGE]
            text += _HIDDEN
        return text

    def _ordered(self) -> list[re.Pattern[str]]:
        """The patterns, with secrets that may contain others first."""
        with self._lock:
            if self._patterns is None:
                found: dict[str, re.Pattern[str]] = {}
                for kept in (self._own, self._tokens, self._signed):
                    for word, pattern in kept.items():
                        found[word] = kept[word] = pattern or _pattern(word)
                # A token before a word that it starts with.
                self._patterns = [found[word] for word in sorted(found, key=len, reverse=True)]
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
    return _WORD.sub(_without_query, text)


def _without_query(word: re.Match[str]) -> str:
    address, mark, query = word[0].partition("?")
    return f"{address}?{_HIDDEN}" if mark and query and "/" in address else word[0]


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile("|".join(_spellings(word)), re.IGNORECASE)


def _spellings(word: str) -> Iterator[str]:
    """Patterns for a secret, plain or escaped, and Base64-encoded at any offset."""
    yield _beginning([_escaped(char) for char in word])
    data = word.encode(errors="surrogateescape")
    yield _beginning([f"{byte:02x}" for byte in data])
    for before in range(3):
        packed = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        # The first and the last characters depend on the bytes around it.
        core = packed[-(-before * 8 // 6) : len(packed) - (1 if (before + len(data)) % 3 else 0)]
        if len(core) >= _LEAST_PACKED:
            yield _beginning([_PACKED.get(char, char) for char in core])


def _beginning(patterns: list[str]) -> str:
    """A pattern for a sequence of characters, or for the first ones of a long one."""
    if len(patterns) <= _BEGINNING:
        return "".join(patterns)
    return "".join(patterns[:_BEGINNING]) + _REST


def _escaped(char: str) -> str:
    """A pattern for a character: plain, or escaped as in JSON, HTML or URLs (even twice)."""
    if char.isascii() and char.isalnum():
        return char
    spellings = [re.escape(char)]
    encoded = char.encode(errors="surrogateescape")
    spellings.append("".join(f"%(?:25)?{byte:02x}" for byte in encoded))
    spellings += [f"&#0*{ord(char)};", f"&#x0*{ord(char):x};"]
    units = char.encode("utf-16-be", errors="surrogatepass")
    spellings.append(
        "".join(rf"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    )
    spellings += {
        " ": [r"\+"], "\n": [r"\\n"], "\t": [r"\\t"], "\r": [r"\\r"], "\b": [r"\\b"],
        "\f": [r"\\f"], '"': [r"\\\"", "&quot;"], "\\": [r"\\\\"], "/": [r"\\/"],
        "&": ["&amp;"], "<": ["&lt;"], ">": ["&gt;"], "'": ["&apos;"],
    }.get(char, [])  # fmt: skip
    # Longer ones first: "\\/" before "/".
    return f"(?:{'|'.join(sorted(spellings, key=len, reverse=True))})"


_PACKED = {
    "+": r"(?:\\u002b|%2b|[+-])",
    "/": r"(?:\\u002f|%2f|\\/|[/_])",
}
"""The two characters of Base64 that differ in its URL-safe variant, and need escapes."""
