"""The registries of the world, in one: what a documentation's examples name is really there.

A proxy answers for `registry-1.docker.io`, `ghcr.io` and the others, with certificates of the
tests' authority, and hands everything on to one real docker-registry. So an example runs as it
is written.
"""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.images import Document, sample_image, sample_index
from tests.registry.real import Registries
from tests.signatures.maker import payload, signatures, signed, tag_of

HOSTS = ("registry-1.docker.io", "ghcr.io", "registry.example.com")
IMAGES: dict[str, dict[str, Document]] = {
    "latest": {
        "library/debian": sample_index("oci", attested=True),
        "library/alpine": sample_index("oci"),
        "org/app": sample_image(),
    },
    "12": {"library/debian": sample_index("oci", attested=True)},
    "3.20": {"library/alpine": sample_index("oci")},
    "1.2": {"org/app": sample_image(), "team/app": sample_image(seed=1)},
}
"""What all of them have, by tag and repository. `team/app` is signed with the key of `maker`."""


class Internet:
    """Runs until it is closed.

    Parameters:
        registries: where the real registry, and the authority, come from.
    """

    def __init__(self, registries: Registries) -> None:
        for tag, documents in IMAGES.items():
            registries.push(documents, tag)
        app = IMAGES["1.2"]["team/app"]
        made = signatures(signed(payload(app.digest)))
        registries.push({"team/app": made}, tag_of(app, ".sig"))
        self._upstream = registries.get().port
        self._stack = ExitStack()
        self._contexts: dict[str, ssl.SSLContext] = {}
        for host in HOSTS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            registries.authority.issue_cert(host).configure_cert(context)
            self._contexts[host] = context
        internet = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                internet.handle(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        server = self._stack.enter_context(Server(("127.0.0.1", 0), Handler))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.shutdown)
        self.environ = {
            "HTTPS_PROXY": f"http://127.0.0.1:{server.server_address[1]}",
            "SSL_CERT_FILE": str(registries.ca_file),
        }
        """What makes a client believe in it."""

    def handle(self, handler: socketserver.StreamRequestHandler) -> None:
        """Serve one connection: CONNECT, TLS, and then whatever is said."""
        host, _, port = handler.rfile.readline().split()[1].decode().partition(":")
        while handler.rfile.readline().strip():
            pass
        if host not in self._contexts or port != "443":
            handler.wfile.write(b"HTTP/1.1 502 Nobody Here\r\n\r\n")
            return
        handler.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        with ExitStack() as stack:
            # The other side may leave at any moment, even in the middle of the handshake.
            stack.enter_context(suppress(OSError))
            there = stack.enter_context(
                self._contexts[host].wrap_socket(handler.request, server_side=True)
            )
            here = stack.enter_context(socket.create_connection(("127.0.0.1", self._upstream)))
            back = threading.Thread(target=_pump, args=(here, there), daemon=True)
            back.start()
            _pump(there, here)
            back.join(10)

    def close(self) -> None:
        """End it."""
        self._stack.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def environment(internet: Internet, home: Path) -> dict[str, str]:
    """The variables of a user with a home and an internet proxy."""
    root = str(Path(__file__).parent.parent)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": root, **internet.environ}
