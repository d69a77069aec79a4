"""Listening sockets and threads: one listener, a thread per connection, a quick and sure end."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
from collections.abc import Callable

from tests.registry.wire import Disconnected, Request, Response, receive, reset, send

_NOT_TLS = b"Client sent an HTTP request to an HTTPS server.\n"  # as Go's net/http has it
Handler = Callable[[Request, int], Response]
Doorkeeper = Callable[[int], Response]


class Server:
    """Answers requests on loopback, in threads, until it is stopped.

    Parameters:
        name: what requests are recorded under.
        handler: makes the answer to a request, given how many are being answered.
        doorkeeper: decides about a new connection, given how many are open: it is delayed or
            ended as its answer says.
        tls: context with the certificate; None for plain HTTP.
        port: to listen on; 0 for any.
    """

    def __init__(
        self,
        name: str,
        handler: Handler,
        doorkeeper: Doorkeeper,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.name, self._handler, self._doorkeeper, self._tls = name, handler, doorkeeper, tls
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._active = 0
        self._numbers = itertools.count(1)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name=f"{name}-accept", daemon=True)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to accept connections."""
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """End all connections and threads; wait for so many seconds for the latter."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        # Only then are there no more connections to come.
        self._thread.join(timeout)
        with self._lock:
            for sock in self._open:
                _shut(sock)
        for thread in self._threads:
            thread.join(timeout)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(
                target=self._connection, args=(sock,), name=f"{self.name}-connection", daemon=True
            )
            with self._lock:
                self._open.add(sock)
            thread.start()
            # A thread is alive for a moment after its last statement, so none takes itself off.
            self._threads = [*(each for each in self._threads if each.is_alive()), thread]

    def _connection(self, accepted: socket.socket) -> None:
        sock = accepted
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            door = self._doorkeeper(len(self._open))
            self._stopping.wait(door.delay)
            if door.cut is not None:
                if door.ending == "stall":
                    self._stopping.wait()
                elif door.ending == "reset":
                    # A client that has not written yet may find out by that, and then reads an end.
                    accepted.recv(1, socket.MSG_PEEK)
                    reset(accepted)
                raise Disconnected("at the door", door.ending)
            if self._tls:
                if accepted.recv(1, socket.MSG_PEEK) not in (b"\x16", b""):
                    accepted.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" + _NOT_TLS)
                    raise Disconnected("HTTP, where TLS is spoken")
                sock = self._tls.wrap_socket(
                    accepted, server_side=True, do_handshake_on_connect=False
                )
                with self._lock:
                    self._open.discard(accepted)
                    self._open.add(sock)
                if self._stopping.is_set():
                    return
                sock.do_handshake()
            self._serve(sock, next(self._numbers))
        except Disconnected as gone:
            if gone.ending != "reset":
                _farewell(sock)
        except OSError:
            pass  # The client went away: what came of its request is in the record.
        else:
            _farewell(sock)
        finally:
            with self._lock:
                self._open -= {sock, accepted}
            sock.close()
            accepted.close()

    def _serve(self, sock: socket.socket, number: int) -> None:
        rest = bytearray()
        lives = True
        while lives and (request := receive(sock, rest, self.name)):
            request.connection = number
            with self._lock:
                self._active += 1
                active = self._active
            try:
                lives = send(sock, request, self._handler(request, active), self._stopping.wait)
            finally:
                request.finish()
                with self._lock:
                    self._active -= 1


def _farewell(sock: socket.socket) -> None:
    # To close a socket with bytes unread is a reset, which may overtake the answer.
    with contextlib.suppress(OSError):
        sock.settimeout(0.5)
        if isinstance(sock, ssl.SSLSocket):
            sock = sock.unwrap()
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


def _shut(sock: socket.socket) -> None:
    # Past SSLSocket.shutdown, which would take the TLS state from under the feet of its thread.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
