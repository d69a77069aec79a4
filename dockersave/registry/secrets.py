"""Secrets, and how to leave them out of what is shown. Pure, but for what it remembers.

Servers repeat what they were sent: in errors, in headers, in addresses, escaped as JSON, a URL
or HTML is, packed with Base64 or as hex. So whatever comes from outside is looked through before it
is cut and shown.
"""

from __future__ import annotations

import base64
import re
import threading
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
_GIVEN_MOST = 64
"""Signatures that are remembered, and as many tokens: the latest, for each blob may have its own
address, and each answer a token."""
_BEGINNING = 32
"""Characters by which a longer secret is known: no text can make the search slow, and a secret that
a server has cut is found, too."""
_KEPT = _BEGINNING + 1
"""Characters that are kept of a secret: those, and whether there are more."""
_SEARCHED = 8192
"""Characters of a text that are looked through, and all that is left of a longer one: nobody is
shown as many."""
_EDGE = 1024
"""What is cut off before the end of what was looked through: a secret's first part may stand there,
twelve characters for each where it is escaped, and "?a" may have grown."""
_REST = r"[^\s\"'<>]*+"
_WORD = re.compile(r"[^\s\"'<>]+")


class Secrets:
    """What one run must not show. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The pattern of each, once it has been needed.
        self._own: dict[str, re.Pattern[str] | None] = {}
        self._tokens: dict[str, re.Pattern[str] | None] = {}
        self._signed: dict[str, re.Pattern[str] | None] = {}
        self._patterns: list[re.Pattern[str]] | None = None

    def add(self, words: Iterable[str]) -> None:
        """Learn the user's own secrets: passwords, and what stands for them."""
        self._learn(self._own, words, _LEAST)

    def add_token(self, token: str) -> None:
        """Learn what a registry has given to us, each time that it is sent: the latest are kept."""
        self._learn(self._tokens, [token], _LEAST, _GIVEN_MOST)

    def add_signed(self, url: str) -> None:
        """Learn what is secret in an address that leads elsewhere: whoever has it, has access."""
        values = (value for _, value in parse_qsl(urlsplit(url).query))
        self._learn(self._signed, values, _LEAST_SIGNATURE, _GIVEN_MOST)

    def _learn(
        self,
        kept: dict[str, re.Pattern[str] | None],
        words: Iterable[str],
        least: int,
        most: int | None = None,
    ) -> None:
        """Keep words of so many characters, the latest of so many words."""
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
        """Learn the passwords in the addresses of proxies."""
        for name in ("http_proxy", "https_proxy"):
            for address in (environ.get(name), environ.get(name.upper())):
                login, at, _ = (address or "").rpartition("://")[2].rpartition("@")
                if at:
                    user, _, word = unquote(login).partition(":")
                    pair = base64.b64encode(f"{user}:{word}".encode(errors="surrogateescape"))
                    self.add([word, pair.decode()])

    def conceal(self, text: str) -> str:
        """Text from outside, without secrets in any spelling, and without queries of addresses.

        Of a text that is longer than anybody is shown, the beginning alone.
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
        """The patterns, those of secrets that may contain others first."""
        with self._lock:
            if self._patterns is None:
                found: dict[str, re.Pattern[str]] = {}
                for kept in (self._own, self._tokens, self._signed):
                    for word, pattern in kept.items():
                        found[word] = kept[word] = pattern or _pattern(word)
                # A token before the word that it begins with.
                self._patterns = [found[word] for word in sorted(found, key=len, reverse=True)]
            return self._patterns

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
                one.args = tuple(map(self._clean_part, one.args))
        return error

    def _clean_part(self, part: object) -> object:
        if isinstance(part, bytes):
            text = part.decode(errors="surrogateescape")
            return self.conceal(text).encode(errors="surrogateescape")
        return self.conceal(part) if isinstance(part, str) else part


def without_queries(text: str) -> str:
    """Text without the queries of the addresses in it."""
    return _WORD.sub(_without_query, text)


def _without_query(word: re.Match[str]) -> str:
    address, mark, query = word[0].partition("?")
    return f"{address}?{_HIDDEN}" if mark and query and "/" in address else word[0]


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile("|".join(_spellings(word)), re.IGNORECASE)


def _spellings(word: str) -> Iterator[str]:
    """Patterns for a secret as it is or escaped, and packed wherever in a packed text it is."""
    yield _beginning([_escaped(char) for char in word])
    data = word.encode(errors="surrogateescape")
    yield _beginning([f"{byte:02x}" for byte in data])
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
    """A pattern for a character as it is, as JSON, URLs (in URLs, too) and HTML write it."""
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
    # What is longer first: "\\/" before "/".
    return f"(?:{'|'.join(sorted(spellings, key=len, reverse=True))})"


_PACKED = {
    "+": r"(?:\\u002b|%2b|[+-])",
    "/": r"(?:\\u002f|%2f|\\/|[/_])",
}
"""The two characters of Base64 that have another spelling in URLs, and need escapes."""
