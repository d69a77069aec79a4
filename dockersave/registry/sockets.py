"""Sockets that a stopped run can wake: connecting, shaking hands, waiting and reading.

urllib3 blocks in system calls that watch no flag. What ends them is `shutdown` on the socket
from another thread, so every socket is known to a `Watch` before it first blocks.
"""

from __future__ import annotations

import http.client
import math
import socket
import ssl
import threading
import time
import weakref
from contextlib import suppress
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from ..cancellation import Cancellation
from .http import Answer, Exact

Address = tuple[Any, ...]


class Watch:
    """The open sockets of one run.

    Args:
        cancellation: once it is cancelled, every socket added is ended.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self.cancellation = cancellation
        self.thread = threading.local()
        """What concerns one thread: `is_new`, whether it has made a connection."""
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


def end(sock: socket.socket) -> None:
    """Wake whoever waits for `sock`; may be called from any thread.

    `SSLSocket.shutdown` would take TLS away under a thread that reads: bytes still buffered
    would come out encrypted. The plain socket's leaves it in place.
    """
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def is_loopback_name(host: str) -> bool:
    """Whether a name means this host wherever it is looked up (RFC 6761, section 6.3)."""
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def resolve(
    host: str, port: int, timeout: float | None, cancellation: Cancellation
) -> list[tuple[socket.AddressFamily, Address]]:
    """The addresses of a host.

    The resolver cannot be interrupted, so it works in a thread of its own, which is left
    behind when the run is stopped. `localhost` needs neither resolver nor `/etc/hosts`.

    Raises:
        OSError: there are none, or the resolver gave none in time.
        CancelledError: the run was stopped.
    """
    if is_loopback_name(host):
        return [
            (socket.AF_INET, ("127.0.0.1", port)),
            (socket.AF_INET6, ("::1", port, 0, 0)),
        ]
    with suppress(socket.gaierror, UnicodeError):
        return _addresses(host, port, socket.AI_NUMERICHOST)
    done = threading.Event()
    found: list[tuple[socket.AddressFamily, Address]] = []
    failures: list[OSError] = []

    def work() -> None:
        try:
            found.extend(_addresses(host, port, 0))
        except OSError as error:
            failures.append(error)
        except UnicodeError:
            failures.append(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        done.set()

    try:
        threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
    except RuntimeError:  # no more threads (seccomp, limits): without interruption then
        work()
    with cancellation.interrupting(done.set):
        in_time = done.wait(timeout)
    cancellation.check()
    if failures:
        raise failures[0]
    if not in_time:
        # As the resolver itself would say it: each name server more makes it more patient.
        raise socket.gaierror(socket.EAI_AGAIN, "the name was not resolved in time")
    return found


def _addresses(host: str, port: int, flags: int) -> list[tuple[socket.AddressFamily, Address]]:
    answers = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
    return [(family, address) for family, _, _, _, address in answers]


class _Response(Answer):
    """An answer whose head must be complete in time: a socket's timeout is for each byte."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._sock = sock

    def begin(self) -> None:
        sock = self._sock
        timeout = sock.gettimeout()
        end_of_head = time.monotonic() + 2 * timeout if timeout else math.inf

        def receive(buffer: memoryview) -> int:
            if time.monotonic() > end_of_head:
                raise TimeoutError("the head of the answer trickles in")
            return sock.recv_into(buffer)

        raw = cast(Any, self.fp).raw
        raw.readinto = receive
        super().begin()
        # For the body, the buffer asks the socket itself: a call in Python less for each record.
        raw.readinto = sock.recv_into


class _Watched(Exact):
    """A connection whose sockets a `Watch` knows. The subclasses made below say which."""

    response_class = _Response
    watch: Watch
    link: socket.socket | None = None
    """The latest socket; http.client forgets its own while a last body is still read."""

    def _new_conn(self) -> socket.socket:
        self.watch.thread.is_new = True
        timeout = self.timeout
        host, port = self._dns_host, self.port
        try:
            addresses = resolve(host, port, timeout, self.watch.cancellation)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failure: OSError = OSError("the name has no addresses")
        for family, address in addresses:
            self.watch.cancellation.check()
            sock = None
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(timeout)
                self.watch.add(sock)
                sock.connect(address)
            except OSError as error:
                failure = error
                if sock:
                    sock.close()
            else:
                return sock
        self.watch.cancellation.check()
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, str(failure)) from failure
        raise NewConnectionError(self, str(failure)) from failure

    def connect(self) -> None:
        super().connect()
        self.link = self.sock


class _WatchedTLS(_Watched, HTTPSConnection):
    pass


def body_of(response: urllib3.BaseHTTPResponse) -> http.client.HTTPResponse:
    """What reads the body of a response as it comes, into a buffer where one is at hand.

    urllib3's own `readinto` copies, and each of its reads takes new memory, which for large
    blobs costs as much as hashing them.
    """
    return cast(http.client.HTTPResponse, cast(Any, response)._original_response)


def link_of(response: urllib3.BaseHTTPResponse) -> socket.socket | None:
    """The socket that a response is still read from."""
    connection = response.connection
    link: Any = connection.link if isinstance(connection, _Watched) else None
    # TLS inside TLS (an https proxy) wraps a socket in something that only looks like one.
    while link is not None and not isinstance(link, socket.socket):
        link = getattr(link, "socket", None)
    return link


def pool_classes(watch: Watch) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Pools whose connections `watch` knows, for `PoolManager.pool_classes_by_scheme`."""
    plain = type("Connection", (_Watched,), {"watch": watch})
    secure = type("SecureConnection", (_WatchedTLS,), {"watch": watch})

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = secure

        def _validate_conn(self, conn: Any) -> None:
            # urllib3's also warns about certificates that are not checked: that was asked for.
            if conn.is_closed:
                conn.connect()

    return {"http": Pool, "https": SecurePool}


def socket_class(watch: Watch) -> type[ssl.SSLSocket]:
    """Sockets that `watch` knows before they shake hands, for `SSLContext.sslsocket_class`."""

    class Socket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            watch.add(self)
            super().do_handshake(block)

    return Socket
