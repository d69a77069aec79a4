"""Secrets, and how to leave them out of what is shown. Pure, but for what it remembers.

Servers repeat what they were sent: in errors, in headers, in addresses, escaped as JSON or a URL
is, packed with Base64. So whatever comes from outside is looked through before it is cut and shown.
"""

from __future__ import annotations

import base64
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import DockersaveError, shown

Conceal = Callable[[str], str]
"""Leaves secrets out of a text from outside."""

_HIDDEN = "***"
_LEAST = 4
"""Characters of what is hidden: to cut a shorter word out of every other word would betray it."""
_LEAST_PACKED = 6
_LEAST_SIGNATURE = 12
"""Characters of a value in a query that is taken for a signature or a token."""
_SIGNED_MOST = 64
"""Values of signed addresses that are remembered, the latest: each blob may have its own."""
_BEGINNING = 32
"""Characters by which a longer secret is known: no text can make the search slow, and a secret that
a server has cut is found, too."""
_REST = r"[^\s\"'<>]*+"
_WORD = re.compile(r"[^\s\"'<>]+")


class Secrets:
    """What one run must not show. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._signed: deque[str] = deque(maxlen=_SIGNED_MOST)
        self._pattern: re.Pattern[str] | None = None

    def add(self, words: Iterable[str]) -> None:
        """Learn secrets: passwords, tokens."""
        with self._lock:
            new = {word for word in words if len(word) >= _LEAST} - self._known
            if new:
                self._known |= new
                self._pattern = None

    def add_signed(self, url: str) -> None:
        """Learn what is secret in an address that leads elsewhere: whoever has it, has access."""
        values = (value for _, value in parse_qsl(urlsplit(url).query))
        with self._lock:
            for value in values:
                if len(value) >= _LEAST_SIGNATURE and value not in self._signed:
                    self._signed.append(value)
                    self._pattern = None

    def add_proxies(self, environ: Mapping[str, str]) -> None:
        """Learn the passwords in the addresses of proxies."""
        for name in ("http_proxy", "https_proxy"):
            for address in (environ.get(name), environ.get(name.upper())):
                login, at, _ = (address or "").rpartition("://")[2].rpartition("@")
                if at:
                    user, _, word = unquote(login).partition(":")
                    pair = base64.b64encode(f"{user}:{word}".encode(errors="surrogateescape"))
                    self.add([word, pair.decode()])

    def conceal(self, text: str) -> str:
        """Text from outside, without secrets in any spelling, and without queries of addresses."""
        text = without_queries(text)
        with self._lock:
            if self._pattern is None and (self._known or self._signed):
                # Those that contain others first: a token before the word that it begins with.
                known = sorted({*self._known, *self._signed}, key=len, reverse=True)
                self._pattern = re.compile(
                    "|".join(spelling for word in known for spelling in _spellings(word)),
                    re.IGNORECASE,
                )
            pattern = self._pattern
        return pattern.sub(_HIDDEN, text) if pattern else text

    def shown(self, text: str) -> str:
        """Text from outside, safe to print: concealed, and only then cut."""
        return shown(self.conceal(text))

    def clean(self, error: DockersaveError) -> DockersaveError:
        """An error that says what somebody outside has said, without secrets.

        What it came from is shown by `--verbose`, and is cleaned, too.
        """
        error.said, error.advice = self.conceal(error.said), self.conceal(error.advice)
        seen: set[int] = set()
        waiting: list[object] = [error]
        while waiting:
            one = waiting.pop()
            if isinstance(one, BaseException) and id(one) not in seen:
                seen.add(id(one))
                waiting += [one.__cause__, one.__context__, *one.args]
                one.args = tuple(
                    self.conceal(each) if isinstance(each, str) else each for each in one.args
                )
        return error


def without_queries(text: str) -> str:
    """Text without the queries of the addresses in it."""
    return _WORD.sub(_without_query, text)


def _without_query(word: re.Match[str]) -> str:
    address, mark, query = word[0].partition("?")
    return f"{address}?{_HIDDEN}" if mark and query and "/" in address else word[0]


def _spellings(word: str) -> Iterator[str]:
    """Patterns for a secret as it is or escaped, and packed wherever in a packed text it is."""
    yield _beginning([_escaped(char) for char in word])
    data = word.encode(errors="surrogateescape")
    for before in range(3):
        packed = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        # The first and the last characters depend on what is around it.
        core = packed[-(-before * 8 // 6) : len(packed) - (1 if (before + len(data)) % 3 else 0)]
        if len(core) >= _LEAST_PACKED:
            yield _beginning([_PACKED.get(char, char) for char in core])


def _beginning(patterns: list[str]) -> str:
    """A pattern for characters that have one each, all or the first of many."""
    if len(patterns) <= _BEGINNING:
        return "".join(patterns)
    return "".join(patterns[:_BEGINNING]) + _REST


def _escaped(char: str) -> str:
    """A pattern for a character as it is, as JSON writes it, and as URLs do."""
    if char.isascii() and char.isalnum():
        return char
    spellings = [re.escape(char)]
    encoded = char.encode(errors="surrogateescape")
    spellings.append("".join(f"%{byte:02x}" for byte in encoded))
    units = char.encode("utf-16-be", errors="surrogatepass")
    spellings.append(
        "".join(rf"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    )
    spellings += {
        " ": [r"\+"], "\n": [r"\\n"], "\t": [r"\\t"], "\r": [r"\\r"], "\b": [r"\\b"],
        "\f": [r"\\f"], '"': [r"\\\""], "\\": [r"\\\\"], "/": [r"\\/"],
    }.get(char, [])  # fmt: skip
    # What is longer first: "\\/" before "/".
    return f"(?:{'|'.join(sorted(spellings, key=len, reverse=True))})"


_PACKED = {
    "+": r"(?:\\u002b|%2b|[+-])",
    "/": r"(?:\\u002f|%2f|\\/|[/_])",
}
"""The two characters of Base64 that have another spelling in URLs, and need escapes."""
