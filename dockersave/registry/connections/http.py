"""HTTP/1.1 as servers and proxies really speak it: accepts what Go's net/http accepts.

Python's http.client is stricter than reality in some points (interim responses, many header lines),
and laxer in others (contradictory lengths). Sources: RFC 9110 and RFC 9112.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.parser import Parser
from typing import Any, cast

from urllib3.connection import HTTPConnection

from ...limits import LIMITS

TARGET = ":target"
"""A pseudo header that is never sent: the exact request target."""

OVERLOADED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes of servers that may answer the same request later, or another of them may now."""
_BODILESS = frozenset({204, 304})
_NON_AUTHORITATIVE = 203
_DIGITS_MOST = 18
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_VERSION = re.compile("HTTP/[0-9][.][0-9]")


class MalformedAnswer(http.client.HTTPException):
    """A response without a recognisable end."""


class Answer(http.client.HTTPResponse):
    """A response whose head is parsed according to RFC 9112."""

    def begin(self) -> None:
        """Read the head, and any interim responses before it (RFC 9110, section 15.2).

        Raises:
            HTTPException: it is malformed.
            OSError: the connection broke, or it took too long.
        """
        if cast(Any, self.headers) is not None:
            return
        left = LIMITS.head
        for _ in range(LIMITS.interim_answers):
            version, status, reason = cast(Any, self)._read_status()
            lines = self._head_lines(left)
            left -= sum(map(len, lines))
            # 101 would switch protocols, which was not requested.
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                break
        else:
            raise http.client.HTTPException("too many interim responses")
        if not _VERSION.fullmatch(version):
            raise http.client.UnknownProtocol(version)
        # Some proxies state the version that they speak elsewhere.
        self.version = 10 if version in {"HTTP/1.0", "HTTP/0.9"} else 11
        # 203 means that a proxy has changed the content: digests will tell.
        self.code = self.status = 200 if status == _NON_AUTHORITATIVE else status
        self.reason = reason.strip()
        text = b"".join(_meant(lines)).decode("iso-8859-1")
        self.headers = self.msg = Parser(_class=http.client.HTTPMessage).parsestr(text)
        # The parser drops what follows such a line, perhaps the length (RFC 9112, section 5.1).
        if self.headers.get_payload():
            raise MalformedAnswer("a malformed header")
        self._frame()

    def _head_lines(self, most: int) -> list[bytes]:
        """The lines of a head up to the empty one, within a total number of bytes."""
        lines: list[bytes] = []
        while True:
            line = self.fp.readline(most + 1)
            most -= len(line)
            if most < 0:
                raise http.client.LineTooLong("header line")
            lines.append(line)
            if not line:
                raise http.client.IncompleteRead(b"".join(lines))
            if line in {b"\r\n", b"\n"}:
                return lines

    def _frame(self) -> None:
        """Find out where the body ends (RFC 9112, section 6.3)."""
        self.chunked = is_chunked(self.headers.get_all("Transfer-Encoding", []))
        self.chunk_left = None
        self.length = None
        lengths = self.headers.get_all("Content-Length", [])
        del self.headers["Content-Length"]
        # With chunks a length is ignored, so hide it from other layers.
        if not self.chunked:
            self.length = content_length(lengths)
            if self.length is not None:
                self.headers["Content-Length"] = str(self.length)
        # One of several servers is behind a connection: the next request may reach another.
        self.will_close = cast(Any, self)._check_close() or self.status in OVERLOADED
        if cast(Any, self)._method == "HEAD" or self.status in _BODILESS:
            self.length = 0
            # Some servers send a body anyway: the next response would start with it.
            self.will_close = self.will_close or self._has_more()
        elif not self.chunked and self.length is None:
            self.will_close = True

    def _has_more(self) -> bool:
        """Whether bytes have already arrived after the head."""
        raw: Any = getattr(self.fp, "raw", None)
        if raw is None:
            return False
        receive = raw.readinto
        # Looks only at what is buffered.
        raw.readinto = lambda buffer: None
        try:
            return bool(self.fp.peek(1))
        finally:
            raw.readinto = receive


def _meant(lines: list[bytes]) -> Iterator[bytes]:
    """The lines of a head that count: Go ignores names with a blank before the colon.

    Raises:
        MalformedAnswer: one of those is about the length, and may mean anything (RFC 9112,
            section 5.1).
    """
    is_meant = True
    for line in lines:
        name, colon, _ = line.partition(b":")
        if line[:1] not in (b" ", b"\t"):  # which continue the line before
            is_meant = not colon or name == name.rstrip()
        if not is_meant and name.rstrip().lower() in _FRAMING:
            raise MalformedAnswer("a malformed header")
        if is_meant:
            yield line


def is_chunked(values: list[str]) -> bool:
    """Whether a body is chunked.

    Args:
        values: of the Transfer-Encoding fields.

    Raises:
        MalformedAnswer: its coding was not requested.
    """
    codings = [coding.strip().lower() for value in values for coding in value.split(",")]
    codings = [coding for coding in codings if coding not in {"", "identity"}]
    if codings not in ([], ["chunked"]):
        raise MalformedAnswer("a transfer coding that was not requested")
    return bool(codings)


def content_length(values: list[str]) -> int | None:
    """The length of a body in bytes; None if it is missing.

    Args:
        values: of the Content-Length fields. A proxy may have sent one twice, or joined two.

    Raises:
        MalformedAnswer: one is not a number (RFC 9112, section 6.3), or they contradict each other.
    """
    stated = {part.strip() for value in values for part in value.split(",")}
    if not all(each.isascii() and each.isdigit() and len(each) <= _DIGITS_MOST for each in stated):
        raise MalformedAnswer("a length that is not a number")
    numbers = set(map(int, stated))
    if len(numbers) > 1:
        raise MalformedAnswer("contradictory lengths")
    return numbers.pop() if numbers else None


class Exact(HTTPConnection):
    """A connection that sends URLs unchanged; urllib3 rewrites them."""

    _is_for_proxy = False

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        """Send a request.

        Args:
            method, url, body, options: as for urllib3's.
            headers: `TARGET` among them is the exact request target.
        """
        # tinyproxy keeps only one line of each name.
        self._is_for_proxy = not url.startswith("/")
        headers = dict(headers or {})
        exact = headers.pop(TARGET, None)
        if exact:
            # A proxy gets the whole URL, a server only its path.
            scheme, mark, rest = ("", "", "") if url.startswith("/") else url.partition("://")
            url = f"{scheme}{mark}{re.split('[/?#]', rest)[0]}{exact}"
        try:
            super().request(method, url, body=body, headers=headers, **options)
        except OSError:
            self._hear_last_words()
            raise

    def _hear_last_words(self) -> None:
        """Raise the error that a server sent before it closed, such as a missing certificate."""
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(0)
            with suppress(ssl.SSLWantReadError, ssl.SSLEOFError, ConnectionError):
                self.sock.recv(1)

    def putheader(self, header: str | bytes, *values: Any) -> None:
        """Send a header line. Accept becomes several lines, as in Docker, except to a proxy.

        Some registries only compare whole lines: distribution before 2.6, docker-adapter, olareg,
        Pulp.
        """
        if header == "Accept" and not self._is_for_proxy:
            for kind in ", ".join(values).split(", "):
                super().putheader(header, kind)
        else:
            super().putheader(cast(str, header), *values)
