"""Sockets that a stopped run can wake, and that never wait for ever.

urllib3 blocks in system calls that watch no flag. Only `shutdown` on the socket from another thread
ends them, so every socket is registered with a `Watch` before it first blocks. A `Pace` in each
socket, below everything that reads from it, limits the waiting.
"""

from __future__ import annotations

import http.client
import itertools
import math
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import urllib3

from ...cancellation import Cancellation
from ...limits import LIMITS
from .connecting import Connected
from .http import Answer
from .pace import Pace

_clock = time.monotonic
_receive = socket.socket.recv_into
_LEAST = LIMITS.read_least


class Watch:
    """The open sockets of one run.

    Args:
        cancellation: when it is cancelled, every registered socket is shut down.
        timeout: of each connection's pace, in seconds.
    """

    def __init__(self, cancellation: Cancellation, timeout: float = math.inf) -> None:
        self.cancellation = cancellation
        self.timeout = timeout
        self.thread = threading.local()
        """Per thread: `is_new`, whether it has opened a connection."""
        self.numbers = itertools.count(1)
        """Numbers of the run's connections, for the trace."""
        self.family: socket.AddressFamily | None = None
        """The family of the last address that answered: tried first from then on."""
        self.latencies: dict[tuple[str, int], float] = {}
        """Seconds of the fastest connect to a host and port."""
        self._sockets: weakref.WeakValueDictionary[int, socket.socket] = (
            weakref.WeakValueDictionary()
        )

    def add(self, sock: socket.socket) -> None:
        """Register `sock`, to shut it down when the run is stopped."""
        self._sockets[id(sock)] = sock
        if self.cancellation.cancelled:
            end(sock)

    def end_all(self) -> None:
        """Wake every thread that waits for one of the sockets."""
        for reference in self._sockets.valuerefs():
            if sock := reference():
                end(sock)

    def connected(self, host: str, port: int, made: Connected) -> None:
        """Remember the result of a connect."""
        self.family = made.family
        known = self.latencies.get((host, port), math.inf)
        self.latencies[host, port] = min(known, made.seconds)


def end(sock: socket.socket) -> None:
    """Wake the thread that waits for `sock`. Thread-safe.

    `SSLSocket.shutdown` would remove TLS under a thread that is reading: buffered bytes would come
    out encrypted. The plain socket's leaves TLS in place.
    """
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class PlainSocket(socket.socket):
    """A socket with a pace."""

    pace: Pace

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        begun = _clock()
        try:
            count = _receive(self, buffer, nbytes, flags)
        except TimeoutError as error:
            raise self.pace.stalled() from error
        if count < _LEAST or not self.pace.calm:
            self.pace.spent(_clock() - begun, count)
        return count

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        buffer = bytearray(bufsize)
        return bytes(buffer[: self.recv_into(buffer, bufsize, flags)])


def socket_class(watch: Watch) -> type[ssl.SSLSocket]:
    """A TLS socket with a pace, registered with `watch` before the handshake.

    For `SSLContext.sslsocket_class`.
    """

    class Socket(ssl.SSLSocket):
        pace: Pace

        def do_handshake(self, block: bool = False) -> None:
            watch.add(self)
            # The handshake has its own time, apart from the proxy's response.
            self.settimeout(watch.timeout)
            self.pace = Pace(watch.timeout, self.settimeout)
            super().do_handshake(block)

        def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
            # Bypasses SSLSocket's own, which makes four Python calls for each record of 16 KiB.
            sslobj: Any = self._sslobj  # type: ignore[attr-defined]
            if sslobj is None:
                raise ValueError("the connection is closed")
            begun = _clock()
            try:
                count: int = sslobj.read(nbytes or len(buffer), buffer)
            except TimeoutError as error:
                raise self.pace.stalled() from error
            except ssl.SSLError as error:
                if error.args[0] != ssl.SSL_ERROR_EOF:
                    raise
                return 0  # closed without close_notify: the reader knows how much to expect
            if count < _LEAST or not self.pace.calm:
                self.pace.spent(_clock() - begun, count)
            return count

        def read(self, len: int = 1024, buffer: Any = None) -> Any:
            if buffer is not None:
                return self.recv_into(buffer, len)
            data = bytearray(len)
            return bytes(data[: self.recv_into(data)])

        def send(self, data: Any, flags: int = 0) -> int:
            begun = _clock()
            count = super().send(data, flags)
            self.pace.spent(_clock() - begun, count)
            return count

        def is_quiet(self) -> bool:
            """Whether only TLS data is waiting to be read, such as session tickets."""
            self.settimeout(0)
            try:
                super().read(1)
            except ssl.SSLWantReadError:
                return True
            except (OSError, ValueError):
                return False
            finally:
                self.settimeout(watch.timeout)
            return False

    return Socket


class TooLong(Exception):
    """A body is longer than its reader allows."""


class Body(Answer):
    """A response whose head has one timeout, and whose body must keep pace."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.most: float = math.inf
        """The most bytes of the body, as transferred."""
        self.on_end: Callable[[int], None] | None = None
        """Called once, with the number of the body's bytes, when reading has ended."""
        self._come = 0
        self._waste = 0
        self._lowest = lowest(sock)
        if self._lowest is sock:
            # The buffer reads from the socket itself, which saves a Python call for each record.
            cast(Any, self.fp).raw.readinto = sock.recv_into

    def begin(self) -> None:
        """Read the head, and interim responses before it (RFC 9110, section 15.2)."""
        if self._lowest is not None:
            self._lowest.pace.step()
        super().begin()
        if self._lowest is not None:
            self._lowest.pace.body()

    def hurry(self, within: float | None = None) -> None:
        """Require the rest within one timeout, or within this many seconds."""
        if self._lowest is not None:
            self._lowest.pace.step(within)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes of the body."""
        return self._counted(super().readinto(buffer))

    def read(self, amt: int | None = None) -> bytes:
        """The next bytes of the body, this many unless it ends."""
        data = super().read(amt)
        self._counted(len(data))
        return data

    def read1(self, n: int = -1) -> bytes:
        """The next bytes of the body, as they come."""
        data = super().read1(n)
        self._counted(len(data))
        return data

    def close(self) -> None:
        """Discard the rest."""
        super().close()
        self._ended()

    def _counted(self, count: int) -> int:
        self._come += count
        if self._come > self.most:
            raise TooLong
        if self.isclosed():
            self._ended()
        return count

    def _ended(self) -> None:
        on_end, self.on_end = self.on_end, None
        if on_end:
            on_end(self._come)

    def _read_next_chunk_size(self) -> int:
        # As in http.client. Extensions are not content: a pace would count them as progress.
        line = self._line()
        size = int(line.partition(b";")[0], 16)
        if size < 0:
            raise ValueError("a chunk of negative size")
        self._waste = max(0, self._waste + len(line) - 16 - 2 * size)
        return size

    def _read_and_discard_trailer(self) -> None:
        while (line := self._line()) and line.strip():
            self._waste += len(line)

    def _line(self) -> bytes:
        if self._waste > LIMITS.chunk_waste:
            raise http.client.LineTooLong("chunk extensions and trailers")
        line = self.fp.readline(LIMITS.chunk_waste)
        if len(line) == LIMITS.chunk_waste:
            raise http.client.LineTooLong("chunk extensions and trailers")
        return line


def lowest(sock: Any) -> Any:
    """The innermost socket: TLS inside TLS (an https proxy) wraps one."""
    while sock is not None and not hasattr(sock, "pace"):
        sock = getattr(sock, "socket", None)
    return sock


def body_of(response: urllib3.BaseHTTPResponse) -> Body:
    """How to read the body of a response as it comes, into a buffer if possible.

    urllib3's own `readinto` copies, and each of its reads allocates memory, which for large blobs
    costs as much as hashing them.
    """
    return cast(Body, cast(Any, response)._original_response)


def link_of(response: urllib3.BaseHTTPResponse) -> socket.socket | None:
    """The socket that a response is still being read from."""
    return cast("socket.socket | None", lowest(getattr(response.connection, "link", None)))


def number_of(response: urllib3.BaseHTTPResponse) -> int:
    """The number of a response's connection."""
    return getattr(response.connection, "number", 0)
