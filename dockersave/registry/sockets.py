"""Sockets that a stopped run can wake, and on which no wait is without an end.

urllib3 blocks in system calls that watch no flag. What ends them is `shutdown` on the socket
from another thread, so every socket is known to a `Watch` before it first blocks. What bounds them
is a `Pace` in each socket, below everything that reads from it.
"""

from __future__ import annotations

import http.client
import itertools
import math
import queue
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.proxy import connection_requires_http_tunnel

from ..cancellation import Cancellation
from ..limits import LIMITS
from . import connecting
from .connecting import is_loopback_name, resolve
from .pace import Pace

__all__ = ["Watch", "body_of", "end", "is_loopback_name", "link_of", "pool_classes", "resolve"]

_clock = time.monotonic
_receive = socket.socket.recv_into
_LEAST = LIMITS.read_least


class Watch:
    """The open sockets of one run.

    Args:
        cancellation: once it is cancelled, every socket added is ended.
        timeout: seconds, of each connection's pace.
    """

    def __init__(self, cancellation: Cancellation, timeout: float = math.inf) -> None:
        self.cancellation = cancellation
        self.timeout = timeout
        self.thread = threading.local()
        """What concerns one thread: `is_new`, whether it has made a connection."""
        self.numbers = itertools.count(1)
        """Of the run's connections, for the trace."""
        self.family: socket.AddressFamily | None = None
        """Of the last address that answered: tried first from then on."""
        self.latencies: dict[tuple[str, int], float] = {}
        """Seconds of the fastest connect to a host and port."""
        self._sockets: weakref.WeakValueDictionary[int, socket.socket] = (
            weakref.WeakValueDictionary()
        )

    def add(self, sock: socket.socket) -> None:
        """Have `sock` ended when the run is stopped."""
        self._sockets[id(sock)] = sock
        if self.cancellation.cancelled:
            end(sock)

    def end_all(self) -> None:
        """Wake every thread that waits for one of the sockets."""
        for reference in self._sockets.valuerefs():
            if sock := reference():
                end(sock)

    def connected(self, host: str, port: int, made: connecting.Connected) -> None:
        """Remember what a connect has shown."""
        self.family = made.family
        known = self.latencies.get((host, port), math.inf)
        self.latencies[host, port] = min(known, made.seconds)


def end(sock: socket.socket) -> None:
    """Wake whoever waits for `sock`; may be called from any thread.

    `SSLSocket.shutdown` would take TLS away under a thread that reads: bytes still buffered
    would come out encrypted. The plain socket's leaves it in place.
    """
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Plain(socket.socket):
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
    """TLS with a pace, known to `watch` before hands are shaken.

    For `SSLContext.sslsocket_class`.
    """

    class Socket(ssl.SSLSocket):
        pace: Pace

        def do_handshake(self, block: bool = False) -> None:
            watch.add(self)
            # What is left of the time for a proxy's answer is not the handshake's.
            self.settimeout(watch.timeout)
            self.pace = Pace(watch.timeout, self.settimeout)
            super().do_handshake(block)

        def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
            # Past SSLSocket's own, which is four calls in Python for each record of 16 KiB.
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
                return 0  # ended without a farewell: who reads knows how much there should be
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
            """Whether nothing but TLS's own is there to be read, such as session tickets."""
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
    """A body is longer than whoever reads it has allowed."""


class Body(http.client.HTTPResponse):
    """An answer whose head has one timeout, and whose body keeps pace."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.most: float = math.inf
        """Bytes of the body that may come, as it is packed."""
        self.on_end: Callable[[int], None] | None = None
        """Called once with the count of the body's bytes when nothing more will be read."""
        self._come = 0
        self._waste = 0
        self._lowest = _lowest(sock)
        if self._lowest is sock:
            # The buffer asks the socket itself: a call in Python less for each record.
            cast(Any, self.fp).raw.readinto = sock.recv_into

    def begin(self) -> None:
        """Read the head, and what comes before it (RFC 9110, section 15.2)."""
        self._pace("step")
        super().begin()
        self._pace("body")

    def hurry(self) -> None:
        """Have the rest come within one timeout."""
        self._pace("step")

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the body's next bytes."""
        return self._counted(super().readinto(buffer))

    def read(self, amt: int | None = None) -> bytes:
        """The body's next bytes, so many unless it ends."""
        data = super().read(amt)
        self._counted(len(data))
        return data

    def read1(self, n: int = -1) -> bytes:
        """The body's next bytes, as they come."""
        data = super().read1(n)
        self._counted(len(data))
        return data

    def close(self) -> None:
        """Give the rest up."""
        super().close()
        self._ended()

    def _pace(self, kind: str) -> None:
        if self._lowest is not None:
            getattr(self._lowest.pace, kind)()

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
        # As http.client's. Extensions are no content: a pace would take them for progress.
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


def _lowest(sock: Any) -> Any:
    """What the bytes go through last: TLS inside TLS (an https proxy) wraps a socket."""
    while sock is not None and not hasattr(sock, "pace"):
        sock = getattr(sock, "socket", None)
    return sock


class _Watched(HTTPConnection):
    """A connection whose sockets a `Watch` knows. The subclasses made below say which."""

    response_class = Body
    watch: Watch
    link: socket.socket | None = None
    """The latest socket; http.client forgets its own while a last body is still read."""
    number = 0
    """Of the connection within the run."""

    def _new_conn(self) -> socket.socket:
        watch = self.watch
        watch.thread.is_new = True
        begun = _clock()
        host, port = self._dns_host, self.port
        try:
            targets = resolve(host, port, watch.timeout, watch.cancellation)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, cast(Any, self), error) from error
        left = max(0.0, begun + watch.timeout - _clock())
        try:
            made = connecting.connect(
                self.host,
                connecting.order(targets, watch.family),
                left,
                watch.cancellation,
                self._new_socket,
            )
        except connecting.Unreached as failure:
            watch.cancellation.check()
            if failure.is_silent:
                raise ConnectTimeoutError(self, failure.words) from failure
            raise NewConnectionError(cast(Any, self), failure.words) from failure
        watch.connected(host, port, made)
        self.number = next(watch.numbers)
        sock = cast(_Plain, made.sock)
        sock.settimeout(watch.timeout)
        sock.pace = Pace(watch.timeout, sock.settimeout)
        return sock

    def _new_socket(self, family: socket.AddressFamily) -> socket.socket:
        sock = _Plain(family, socket.SOCK_STREAM)
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        sock.setblocking(False)
        self.watch.add(sock)
        return sock

    def connect(self) -> None:
        super().connect()
        self.link = self.sock

    def request(self, *args: Any, **options: Any) -> None:
        if lowest := _lowest(self.sock):
            lowest.pace.step()
        super().request(*args, **options)


class _WatchedTLS(_Watched, HTTPSConnection):
    @property
    def is_connected(self) -> bool:
        # A connection that was made ahead has never been read from: its tickets wait there.
        return super().is_connected or (
            isinstance(self.sock, ssl.SSLSocket) and cast(Any, self.sock).is_quiet()
        )


def body_of(response: urllib3.BaseHTTPResponse) -> Body:
    """What reads the body of a response as it comes, into a buffer where one is at hand.

    urllib3's own `readinto` copies, and each of its reads takes new memory, which for large
    blobs costs as much as hashing them.
    """
    return cast(Body, cast(Any, response)._original_response)


def link_of(response: urllib3.BaseHTTPResponse) -> socket.socket | None:
    """The socket that a response is still read from."""
    connection = response.connection
    link = connection.link if isinstance(connection, _Watched) else None
    return cast("socket.socket | None", _lowest(link))


def number_of(response: urllib3.BaseHTTPResponse) -> int:
    """The number of the connection that a response comes on."""
    return getattr(response.connection, "number", 0)


class Dialling(urllib3.HTTPConnectionPool):
    """A pool that can make connections ahead of the requests that will need them."""

    def places(self, count: int) -> int:
        """Take places for new connections, so that each is made once.

        Args:
            count: connections that there are to be, idle ones among them.

        Returns:
            How many are missing; `dial` is to be called as often, or `give_back`.
        """
        taken: list[Any] = []
        with suppress(queue.Empty, AttributeError):
            for _ in range(count):
                taken.append(cast(Any, self.pool).get(block=False))
        for connection in filter(None, taken):
            self._put_conn(connection)
        return taken.count(None)

    def dial(self) -> None:
        """Make a connection, and leave it for whoever sends the next request.

        Raises:
            OSError, HTTPError: there is none to be had.
        """
        connection = cast(Any, self._new_conn())
        try:
            tunnel = self.proxy and connection_requires_http_tunnel(
                self.proxy, self.proxy_config, self.scheme
            )
            if tunnel:
                self._prepare_proxy(connection)
            else:
                connection.connect()
        except BaseException:
            connection.close()
            raise
        self._put_conn(connection)

    def give_back(self) -> None:
        """Let the place of a connection that there will not be go to another."""
        self._put_conn(None)


def pool_classes(watch: Watch) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Pools whose connections `watch` knows, for `PoolManager.pool_classes_by_scheme`."""
    plain = type("Connection", (_Watched,), {"watch": watch})
    secure = type("SecureConnection", (_WatchedTLS,), {"watch": watch})

    class Pool(Dialling):
        ConnectionCls = plain

    class SecurePool(Dialling, urllib3.HTTPSConnectionPool):
        ConnectionCls = secure

        def _validate_conn(self, conn: Any) -> None:
            # urllib3's also warns about certificates that are not checked: that was asked for.
            if conn.is_closed:
                conn.connect()

    return {"http": Pool, "https": SecurePool}
