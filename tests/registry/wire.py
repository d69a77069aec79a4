"""HTTP/1.1 by hand: a server library that keeps the rules cannot be made to break them.

`Response` says what goes over the wire, right or wrong; `send` does exactly that.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from tests.images import Data, chunks
from tests.images.content import length

Ending: TypeAlias = Literal["close", "reset", "stall"]

MAX_HEAD = 256 << 10
"""Bytes of a request's head, enough for any token; more ends the connection."""


class Disconnected(Exception):
    """The connection is over.

    Parameters:
        reason: why.
        ending: how.
    """

    def __init__(self, reason: str, ending: Ending = "close") -> None:
        super().__init__(reason)
        self.ending = ending


@dataclass(slots=True, eq=False)
class Request:
    """One request, and what became of it.

    Parameters:
        server: who got it: `registry`, `storage` or `token`.
        method, path, query, headers: as sent; the names of headers in lower case.
        raw: all bytes of it, for finding what should not be in there.
        connection: number of the connection that it came on.
        secure: whether that is TLS.
        kind: `ping`, `token`, `manifest`, `config`, `blob`, `storage`, `tags` or `other`.
        repository, reference: as in the path.
        status, sent: of the answer; the latter in bytes of its body.
        faults: names of the faults that struck.
        started, ended: `time.monotonic()`; `ended` is None while the answer is under way.
    """

    server: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    raw: bytes = field(default=b"", repr=False)
    connection: int = 0
    secure: bool = False
    kind: str = "other"
    repository: str = ""
    reference: str = ""
    status: int = 0
    sent: int = 0
    faults: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic, repr=False)
    ended: float | None = field(default=None, repr=False)

    def finish(self) -> None:
        """Note that nothing more will be sent."""
        self.ended = time.monotonic()


@dataclass(slots=True)
class Response:
    """What goes over the wire.

    Parameters:
        status, headers, data: as usual; headers are sent as they are, CR and LF included.
        start, stop: which bytes of `data`.
        version: of the protocol, in the status line.
        content_length: what the header says; None for the truth, -1 for no such header.
        chunked: send in chunks.
        close: close the connection at the end, and say so.
        delay: seconds before the first byte.
        rate: bytes per second; None for as fast as it goes.
        cut: bytes of the body after which it ends early; -1 is before the status line.
        ending: how it ends then.
        before, after: bytes in front of the status line, and behind the body.
        flips: positions in `data` of bytes whose lowest bit is wrong.
    """

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: Data = b""
    start: int = 0
    stop: int = -1
    version: str = "HTTP/1.1"
    content_length: int | None = None
    chunked: bool = False
    close: bool = False
    delay: float = 0.0
    rate: float | None = None
    cut: int | None = None
    ending: Ending = "close"
    before: bytes = b""
    after: bytes = b""
    flips: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.stop < 0:
            self.stop = length(self.data)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return self.stop - self.start

    def header(self, name: str) -> str | None:
        """Return the value of a header, if it is there."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def set(self, name: str, value: str | None) -> None:
        """Put a header in the place of any of its name; None removes it."""
        self.headers = [(n, v) for n, v in self.headers if n.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))

    def replace_body(self, data: Data, media_type: str | None = None) -> None:
        """Send something else."""
        self.data, self.start, self.stop = data, 0, length(data)
        if media_type is not None:
            self.set("Content-Type", media_type)

    def cut_at(self, count: int, ending: Ending) -> None:
        """End after `count` bytes of the body; of several cuts the first counts."""
        if self.cut is None or count < self.cut:
            self.cut, self.ending = count, ending

    def head(self) -> bytes:
        """Return the status line and the headers."""
        phrase = HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else "Unknown"
        headers = list(self.headers)
        if self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        elif self.content_length != -1:
            said = self.size if self.content_length is None else self.content_length
            headers.append(("Content-Length", str(said)))
        if self.close:
            headers.append(("Connection", "close"))
        lines = [f"{self.version} {self.status} {phrase}", *(f"{n}: {v}" for n, v in headers)]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def receive(sock: socket.socket, rest: bytearray, server: str) -> Request | None:
    """Read one request; None when the client closed the connection in good order.

    Parameters:
        sock: where to read from.
        rest: bytes read too far, kept from call to call.
        server: who reads.
    """
    while (end := rest.find(b"\r\n\r\n")) < 0:
        if len(rest) > MAX_HEAD:
            raise Disconnected("head too long")
        if not (more := sock.recv(65536)):
            return None
        rest += more
        if rest[0] < 32:  # TLS, where HTTP is spoken; without an answer the client would wait
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
            return None
    head = bytes(rest[: end + 4])
    del rest[: end + 4]
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in filter(None, lines):
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    try:
        method, target, _ = first.split(" ")
        wanted = int(headers.get("content-length", "0"))
    except ValueError:
        raise Disconnected(f"no request: {first[:80]!r}") from None
    while len(rest) < wanted:
        if not (more := sock.recv(65536)):
            raise Disconnected("in the middle of a request")
        rest += more
    body = bytes(rest[:wanted])
    del rest[:wanted]
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    secure = isinstance(sock, ssl.SSLSocket)
    return Request(server, method, parts.path, query, headers, body, head + body, secure=secure)


def send(
    sock: socket.socket,
    request: Request,
    response: Response,
    pause: Callable[[float], object] = time.sleep,
) -> bool:
    """Send the answer to a request; return whether the connection lives on.

    Parameters:
        sock: where to.
        request: learns how many bytes of the body were sent.
        response: what to send.
        pause: waits for so many seconds, or less if all is to end.
    """
    request.status = response.status
    if response.delay:
        pause(response.delay)
    if response.cut == -1:
        _end(sock, response.ending)
    head = response.before + response.head()
    if request.method == "HEAD":
        sock.sendall(head)
        return _lives(request, response)
    stop = response.size if response.cut is None else min(response.cut, response.size)
    if _plain(response) and isinstance(response.data, Path) and not isinstance(sock, ssl.SSLSocket):
        sock.sendall(head)
        with response.data.open("rb") as file:
            request.sent += sock.sendfile(file, response.start, stop) if stop else 0
    else:
        for chunk in _paced(_body(response, stop), response.rate, pause):
            framed = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" if response.chunked else chunk
            if head and len(framed) > 65536:
                sock.sendall(head)
                head = b""
            sock.sendall(head + framed if head else framed)
            head = b""
            request.sent += len(chunk)
        if head:
            sock.sendall(head)
    if response.cut is not None:
        _end(sock, response.ending)
    if response.chunked:
        sock.sendall(b"0\r\n\r\n")
    if response.after:
        sock.sendall(response.after)
    return _lives(request, response)


def _plain(response: Response) -> bool:
    return not (response.chunked or response.flips or response.rate)


def _lives(request: Request, response: Response) -> bool:
    endless = response.content_length == -1 and not response.chunked and request.method != "HEAD"
    asked = request.headers.get("connection", "").lower() == "close"
    return not (response.close or response.version == "HTTP/1.0" or endless or asked)


def _body(response: Response, size: int) -> Iterator[bytes]:
    position = response.start
    for chunk in chunks(response.data, response.start, response.start + size):
        flips = [at - position for at in response.flips if 0 <= at - position < len(chunk)]
        position += len(chunk)
        if flips:
            changed = bytearray(chunk)
            for at in flips:
                changed[at] ^= 1
            chunk = bytes(changed)
        if chunk:
            yield chunk


def _paced(
    body: Iterator[bytes], rate: float | None, pause: Callable[[float], object]
) -> Iterator[bytes]:
    if not rate:
        yield from body
        return
    started, sent, piece = time.monotonic(), 0, max(1, int(rate / 50))
    for chunk in body:
        for at in range(0, len(chunk), piece):
            early = sent / rate - (time.monotonic() - started)
            if early > 0:
                pause(early)
            yield chunk[at : at + piece]
            sent += len(chunk[at : at + piece])


def _end(sock: socket.socket, ending: Ending) -> None:
    if ending == "stall":
        sock.settimeout(None)
        while sock.recv(65536):  # until the client, or the simulator, has had enough
            pass
    elif ending == "reset":
        reset(sock)
    raise Disconnected("the answer ends early", ending)


def reset(sock: socket.socket) -> None:
    """Make the close of a socket a reset (RST) instead of an end (FIN)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
