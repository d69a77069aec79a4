"""The floor: a bare loop that fetches blobs, in the same interpreter, with no error handling.

A thread for each blob: connect, `recv_into`, `sha256.update`, `pwrite`. What dockersave costs
beyond this is the price of ranges, retries, resuming, limits and progress.

    python -m tests.bench.floor HOST:PORT REPOSITORY OUTPUT [CA_FILE]
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
import ssl
import sys
import threading
import time

_READ = 256 * 1024
_ACCEPT = (
    "application/vnd.oci.image.manifest.v1+json,"
    "application/vnd.docker.distribution.manifest.v2+json"
)


def connect(host: str, context: ssl.SSLContext | None) -> socket.socket:
    """Open a connection, through TLS if there is a context."""
    name, _, port = host.partition(":")
    plain = socket.create_connection((name, int(port)))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname=name) if context else plain


def ask(connection: socket.socket, host: str, path: str) -> tuple[bytes, int]:
    """Send a GET; return what came of the body with the header, and the body's length."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {_ACCEPT}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    header, _, rest = head.partition(b"\r\n\r\n")
    fields = dict(
        line.lower().split(b": ", 1) for line in header.split(b"\r\n")[1:] if b": " in line
    )
    return rest, int(fields[b"content-length"])


def manifest(host: str, repository: str, context: ssl.SSLContext | None) -> list[tuple[str, int]]:
    """The layers of the image: digest and size."""
    with connect(host, context) as connection:
        body, length = ask(connection, host, f"/v2/{repository}/manifests/latest")
        while len(body) < length:
            body += connection.recv(65536)
    return [(layer["digest"], layer["size"]) for layer in json.loads(body)["layers"]]


def fetch(
    host: str, repository: str, context: ssl.SSLContext | None, digest: str, fd: int, offset: int
) -> None:
    """Fetch one blob into its place and check its digest."""
    with connect(host, context) as connection:
        data, length = ask(connection, host, f"/v2/{repository}/blobs/{digest}")
        hashed = hashlib.sha256(data)
        os.pwrite(fd, data, offset)
        done = len(data)
        buffer = memoryview(bytearray(_READ))
        while done < length:
            count = connection.recv_into(buffer)
            hashed.update(buffer[:count])
            os.pwrite(fd, buffer[:count], offset + done)
            done += count
    assert f"sha256:{hashed.hexdigest()}" == digest


def main() -> None:
    """Fetch, and print wall and CPU seconds, start-up not counted, as JSON."""
    host, repository, output = sys.argv[1:4]
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    context = None
    if len(sys.argv) > 4:
        context = ssl.create_default_context(cafile=sys.argv[4])
    layers = manifest(host, repository, context)
    fd = os.open(output, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    threads, offset = [], 0
    for digest, size in layers:
        threads.append(
            threading.Thread(target=fetch, args=(host, repository, context, digest, fd, offset))
        )
        offset += size
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(fd)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": time.perf_counter() - begun, "cpu": cpu}))


if __name__ == "__main__":
    main()
