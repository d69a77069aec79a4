"""A server of bytes: what it says is said as it is, however little it is HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Say = Callable[[str], bytes | None]
"""The bytes that answer a request line; None closes the connection."""


@dataclass(slots=True)
class Raw:
    """What was asked.

    Parameters:
        host: where the server is, as `host:port`.
        heads: of all requests: request lines and headers, as they came.
        connections: how many there were.
    """

    host: str = ""
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def lines(self) -> list[str]:
        """The request lines."""
        return [head.partition("\r\n")[0] for head in self.heads]


@contextmanager
def raw_server(say: Say) -> Iterator[Raw]:
    """Serve until the end of the block, on loopback over plain HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))
    raw = Raw(f"127.0.0.1:{listener.getsockname()[1]}")
    open_ones: list[socket.socket] = []

    def converse(sock: socket.socket) -> None:
        rest = b""
        with suppress(OSError), sock:
            while more := sock.recv(65536):
                rest += more
                while b"\r\n\r\n" in rest:
                    head, _, rest = rest.partition(b"\r\n\r\n")
                    raw.heads.append(head.decode("latin-1"))
                    answer = say(raw.lines[-1])
                    if answer is None:
                        return
                    sock.sendall(answer)

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.connections += 1
                open_ones.append(sock)
                threading.Thread(target=converse, args=(sock,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield raw
    finally:
        for sock in (listener, *open_ones):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        thread.join(5)


def answer(body: bytes, *headers: str, status: str = "200 OK", length: bool = True) -> bytes:
    """An answer with so many headers, and its length unless it is to be without."""
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(body: bytes, *headers: str) -> bytes:
    """An answer in chunks."""
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return answer(framed, *headers, "Transfer-Encoding: chunked", length=False)
