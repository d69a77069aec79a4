"""Connections and pools of them, for urllib3, on the sockets of this package."""

from __future__ import annotations

import queue
import socket
import ssl
import time
from contextlib import suppress
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.proxy import connection_requires_http_tunnel

from . import connecting
from .http import Exact
from .pace import Pace
from .sockets import Body, PlainSocket, Watch, lowest


class _Watched(Exact):
    """A connection whose sockets are registered with a `Watch`; see the subclasses below."""

    response_class = Body
    watch: Watch
    link: socket.socket | None = None
    """The latest socket; http.client forgets its own while the last body is still being read."""
    number = 0
    """Number of the connection in this run."""

    def _new_conn(self) -> socket.socket:
        watch = self.watch
        watch.thread.is_new = True
        begun = time.monotonic()
        host, port = self._dns_host, self.port
        try:
            targets = connecting.resolve(host, port, watch.timeout, watch.cancellation)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, cast(Any, self), error) from error
        left = max(0.0, begun + watch.timeout - time.monotonic())
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
        sock = cast(PlainSocket, made.sock)
        sock.settimeout(watch.timeout)
        sock.pace = Pace(watch.timeout, sock.settimeout)
        return sock

    def _new_socket(self, family: socket.AddressFamily) -> socket.socket:
        sock = PlainSocket(family, socket.SOCK_STREAM)
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        sock.setblocking(False)
        self.watch.add(sock)
        return sock

    def connect(self) -> None:
        super().connect()
        self.link = self.sock

    def request(self, *args: Any, **options: Any) -> None:
        if (sock := lowest(self.sock)) is not None:
            sock.pace.step()
        super().request(*args, **options)


class _WatchedTLS(_Watched, HTTPSConnection):
    @property
    def is_connected(self) -> bool:
        # A connection opened ahead was never read from: session tickets may be waiting.
        return super().is_connected or (
            isinstance(self.sock, ssl.SSLSocket) and cast(Any, self.sock).is_quiet()
        )


def _is_open(connection: Any) -> bool:
    return connection is not None and not connection.is_closed


class _ConnectionsFirst(queue.LifoQueue[Any]):
    """Slots of a pool: those without an open connection come last.

    If a connection opened ahead fails, the next request uses another one, instead of asking an
    overloaded server for a new one.
    """

    queue: list[Any]

    def _put(self, item: Any) -> None:
        self.queue.insert(len(self.queue) if _is_open(item) else 0, item)


class Dialling(urllib3.HTTPConnectionPool):
    """A pool that can open connections ahead of the requests that will need them."""

    QueueCls = _ConnectionsFirst

    def places(self, count: int) -> int:
        """Reserve slots for new connections, so that each is opened once.

        Args:
            count: how many connections there should be, including idle ones.

        Returns:
            How many are missing; call `dial` or `give_back` for each.
        """
        taken: list[Any] = []
        with suppress(queue.Empty, AttributeError):
            for _ in range(count):
                taken.append(cast(Any, self.pool).get(block=False))
        for connection in filter(None, taken):
            self._put_conn(connection)
        return taken.count(None)

    def dial(self) -> None:
        """Open a connection, and leave it for the next request.

        Raises:
            OSError, HTTPError: it cannot be opened.
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
        self._put_below(connection)

    def _put_below(self, connection: Any) -> None:
        """Put a connection after used ones, which need no waiting."""
        pool = cast(Any, self.pool)
        if pool is not None:
            with pool.mutex:
                is_open = [_is_open(each) for each in pool.queue]
                place = is_open.index(True) if True in is_open else len(is_open)
                pool.queue.insert(place, connection)
                pool.unfinished_tasks += 1
                pool.not_empty.notify()
        if self.pool is None:
            # It was closed, perhaps meanwhile: nobody would close this one.
            connection.close()

    def hang_up(self) -> None:
        """Close idle connections; each is opened again for the request that needs it."""
        pool = cast(Any, self.pool)
        if pool is not None:
            with pool.mutex:
                for connection in filter(None, pool.queue):
                    connection.close()

    def give_back(self) -> None:
        """Release the slot of a connection that will not be opened."""
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
            # urllib3's own also warns about unverified certificates, which the user asked for.
            if conn.is_closed:
                conn.connect()

    return {"http": Pool, "https": SecurePool}
