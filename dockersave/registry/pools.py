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
        # A connection that was made ahead has never been read from: its tickets wait there.
        return super().is_connected or (
            isinstance(self.sock, ssl.SSLSocket) and cast(Any, self.sock).is_quiet()
        )


class _ConnectionsFirst(queue.LifoQueue[Any]):
    """Places in a pool: those without a connection come last.

    Where one that was made ahead turns out to be refused, the next request takes another of them,
    and does not ask a server that has had enough for one more.
    """

    queue: list[Any]

    def _put(self, item: Any) -> None:
        self.queue.insert(len(self.queue) if item else 0, item)


class Dialling(urllib3.HTTPConnectionPool):
    """A pool that can make connections ahead of the requests that will need them."""

    QueueCls = _ConnectionsFirst

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
        self._put_below(connection)

    def _put_below(self, connection: Any) -> None:
        """Leave a connection behind those that have been used: they need not be waited for."""
        pool = cast(Any, self.pool)
        if pool is None:
            connection.close()
            return
        with pool.mutex:
            is_one = [each is not None for each in pool.queue]
            pool.queue.insert(is_one.index(True) if True in is_one else len(is_one), connection)
            pool.unfinished_tasks += 1
            pool.not_empty.notify()

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
