"""Asking a registry by hand: one request, nothing followed, nothing mended."""

from __future__ import annotations

import socket

import urllib3

from tests.images import Layer
from tests.registry.simulator import Simulator

Answer = urllib3.BaseHTTPResponse


def get(registry: Simulator, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask once, on a connection of its own, following nothing."""
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return pool.request(
            method,
            path if "://" in path else f"{registry.base_url}/v2/{path}",
            headers={"Accept": "*/*"} | sent,
            redirect=False,
            decode_content=False,
        )


def exchange(registry: Simulator, path: str, count: int = 1, wait: float = 5.0) -> bytes:
    """Return the bytes on the wire for `count` requests on one connection."""
    host, port = registry.host.split(":")
    with socket.create_connection((host, int(port)), wait) as sock:
        request = f"GET /v2/{path} HTTP/1.1\r\nHost: {registry.host}\r\n"
        sock.sendall((request + "\r\n").encode() * (count - 1))
        sock.sendall((request + "Connection: close\r\n\r\n").encode())
        received = b""
        while more := sock.recv(65536):
            received += more
        return received


def blob(of: Layer) -> str:
    return f"a/b/blobs/{of.digest}"
