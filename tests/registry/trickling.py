"""A server that says what it is told, byte by byte where that is asked for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

Script = Iterable[bytes | float]
"""What is sent: bytes, and pauses in seconds."""


def endless(data: bytes, pause: float = 0.05) -> Iterator[bytes | float]:
    """The same again and again, with pauses."""
    while True:
        yield data
        if pause:
            yield pause


@contextmanager
def scripted(
    answer: Callable[[bytes], Script], tls: Callable[[], ssl.SSLContext] | None = None
) -> Iterator[str]:
    """Serve each request with a script, each connection in a thread.

    Parameters:
        answer: given a request, all its bytes, what to send; the connection is closed after it
            unless it ends with `b""`.
        tls: makes the context to speak TLS with.

    Yields:
        The host and port.
    """
    stop = threading.Event()
    threads: list[threading.Thread] = []
    context = tls() if tls else None

    def converse(accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            sock = stack.enter_context(accepted)
            sock.settimeout(20)
            if context:
                sock = stack.enter_context(context.wrap_socket(sock, server_side=True))
            while request := sock.recv(65536):
                goes_on = False
                for part in answer(request):
                    if stop.is_set():
                        return
                    if isinstance(part, float):
                        stop.wait(part)
                    elif part:
                        sock.sendall(part)
                    goes_on = part == b""
                if not goes_on:
                    return

    def accept() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                sock, _ = server.accept()
                threads.append(threading.Thread(target=converse, args=(sock,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.1)
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            acceptor.join()
            for thread in threads:
                thread.join(5)
