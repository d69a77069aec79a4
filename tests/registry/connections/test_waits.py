"""Every wait has an end, whatever part of an exchange it is in, and however it is read."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dockersave.errors import ContentError, DockersaveError, NetworkError
from dockersave.registry.connections.proxies import EVEN_LOOPBACK
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch
from tests.registry.clients import Run, descriptor_of, drain, opened
from tests.registry.simulator import Fault, Simulator, Tls, context_of
from tests.registry.trickling import Script, endless, scripted

TIMEOUT = 0.6
SLOW = 10.0
"""Seconds that no test may need."""

BLOB = random_layer(300_000)
SAMPLE = image([BLOB])
STORE = Store.of({"sample": SAMPLE})
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PACKED = HEAD + b"Content-Encoding: gzip\r\n"


def server_context() -> ssl.SSLContext:
    return context_of(Tls())


@contextmanager
def in_time() -> Iterator[None]:
    watch = Stopwatch()
    yield
    assert watch.own < SLOW


def manifest(host: str, *, tls: bool = False) -> None:
    with opened(host, insecure=not tls, skip_tls_verify=tls, timeout=TIMEOUT) as run:
        run.registry.manifest("sample", "latest")


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


SCRIPTS: dict[str, Script] = {
    "silence": [30.0],
    "a head that trickles": endless(b"H"),
    "headers without an end": itertools.chain([HEAD], endless(b"X: y\r\n")),
    "interim answers without an end": endless(b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
    "interim answers that trickle": endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body that trickles": itertools.chain(
        [HEAD + b"Content-Length: 100000\r\n\r\n"], endless(b"x")
    ),
    "a body that does not come": [HEAD + b"Content-Length: 10\r\n\r\n", 30.0],
    "a body without a length": itertools.chain([HEAD + b"\r\n"], endless(b"x")),
    "the size of a chunk": itertools.chain([CHUNKED], endless(b"0")),
    "a chunk's extension": itertools.chain([CHUNKED + b"5;"], endless(b"x")),
    "extensions of many chunks": itertools.chain([CHUNKED], endless(b"1;xxxx\r\ny\r\n")),
    "a chunk": itertools.chain([CHUNKED + b"fffff\r\n"], endless(b"x")),
    "the end of a chunk": [CHUNKED + b"1\r\nx", 30.0],
    "trailers": itertools.chain([CHUNKED + b"0\r\n"], endless(b"X: y\r\n")),
    "a trailer": itertools.chain([CHUNKED + b"0\r\nX: "], endless(b"y")),
    "a packed body": itertools.chain([PACKED + b"\r\n" + gzip.compress(b"")], endless(b"\0")),
}


@pytest.mark.parametrize("script", SCRIPTS, ids=[name.replace(" ", "-") for name in SCRIPTS])
def test_a_document(script: str, tls: bool) -> None:
    # Every script is used once for each protocol, because an iterator continues where it stopped.
    with (
        scripted(lambda _: SCRIPTS[script], server_context if tls else None) as host,
        in_time(),
        pytest.raises(NetworkError) as caught,
    ):
        manifest(host, tls=tls)
    assert caught.value.transient


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (itertools.repeat(b"5;" + b"x" * 9999 + b"\r\nyyyyy\r\n"), NetworkError),
        (itertools.repeat(b"5;" + b"x" * 20_000), NetworkError),
        (
            itertools.chain([b"0\r\n"], itertools.repeat(b"X: " + b"y" * 900 + b"\r\n")),
            NetworkError,
        ),
        (itertools.repeat(b"-5\r\nyyyyy\r\n"), NetworkError),
    ],
    ids=["extensions", "one extension", "trailers", "negative"],
)
def test_a_flood_that_is_no_content(body: Iterator[bytes], error: type[DockersaveError]) -> None:
    """It comes fast enough, and means nothing: no pace ends it."""
    with (
        scripted(lambda _: itertools.chain([CHUNKED], body)) as host,
        in_time(),
        pytest.raises(error),
    ):
        manifest(host)


def test_what_unpacks_to_nothing() -> None:
    """Empty members of gzip, as fast as they go: that are no byte of a manifest."""
    flood = itertools.chain([PACKED + b"\r\n"], itertools.repeat(gzip.compress(b"") * 1000))
    with (
        scripted(lambda _: flood) as host,
        in_time(),
        pytest.raises(ContentError, match="streams that decompress to nothing"),
    ):
        manifest(host)


def test_chunks_of_one_byte_are_taken() -> None:
    """Wasteful, but right."""
    body = json.dumps({"schemaVersion": 2, "padding": "x" * 9000}).encode()
    chunks = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in body) + b"0\r\nX-Sum: 1\r\n\r\n"
    with scripted(lambda _: [CHUNKED + chunks, b""]) as host, opened(host, timeout=20.0) as run:
        assert run.registry.manifest("sample", "latest").body == body
        assert run.registry.manifest("sample", "latest").body == body


def test_an_error_that_trickles() -> None:
    """The status says enough."""
    head = b"HTTP/1.1 403 Forbidden\r\n\r\n"
    with (
        scripted(lambda _: itertools.chain([head], endless(b"x"))) as host,
        in_time(),
        pytest.raises(DockersaveError, match=r"refuses the manifest of sample:latest \(403\)"),
    ):
        manifest(host)


def test_a_token_that_trickles() -> None:
    def answer(request: bytes) -> Script:
        if b"/token" in request:
            return itertools.chain([HEAD + b"\r\n"], endless(b" "))
        challenge = f'WWW-Authenticate: Bearer realm="http://{host}/token"\r\n'.encode()
        return [b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n" + challenge + b"\r\n", b""]

    with (
        scripted(answer) as host,
        in_time(),
        pytest.raises(NetworkError, match="almost no data"),
    ):
        manifest(host)


def test_a_redirect_whose_body_trickles() -> None:
    """Waiting for an unwanted body is limited to one timeout."""

    def answer(request: bytes) -> Script:
        if b"elsewhere" in request:
            return [HEAD + b"Content-Length: 2\r\n\r\n{}", b""]
        moved = b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 60000\r\n\r\n"
        return itertools.chain([moved], endless(b"x" * 2000))

    with scripted(answer) as host, in_time(), opened(host, timeout=TIMEOUT) as run:
        assert run.registry.manifest("sample", "latest").body == b"{}"


# Blobs


@pytest.mark.parametrize(
    "fault", [Fault.rate(100, on="blob"), Fault.stall_after(50_000, on="blob")], ids=str
)
@pytest.mark.parametrize("framing", [None, Fault.chunked(), Fault.without_length()])
def test_a_blob_that_trickles_or_stalls(fault: Fault, framing: Fault | None, tls: bool) -> None:
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls, timeout=TIMEOUT) as run,
    ):
        server.faults.add(*([framing] if framing else []), fault)
        stream = run.registry.blob("sample", descriptor_of(BLOB))
        with in_time(), pytest.raises(NetworkError) as caught:
            drain(stream)
        assert caught.value.message == f"{server.host}: almost no data for {TIMEOUT:g} seconds"
        assert caught.value.hint == "if the connection is that slow, raise timeout="
        assert caught.value.transient


def test_a_slow_line_that_brings_enough_is_read_to_the_end(tls: bool) -> None:
    """Longer than the timeout as a whole, and never too little in it."""
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls, timeout=2.0) as run,
    ):
        server.faults.add(Fault.rate(100_000, on="blob"))
        begun = time.monotonic()
        assert len(drain(run.registry.blob("sample", descriptor_of(BLOB)))) == BLOB.size
        assert time.monotonic() - begun > 2.0


def test_who_reads_slowly_is_not_punished(tls: bool) -> None:
    """A rate limit, or a pipe that is full: the line does not wait, its reader does."""
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls, timeout=TIMEOUT) as run,
    ):
        stream = run.registry.blob("sample", descriptor_of(BLOB))
        read = 0
        for amount in (100, 100, BLOB.size - 200):
            time.sleep(TIMEOUT * 1.2)
            read += len(stream.read(amount))
        stream.close()
        assert read == BLOB.size


def test_the_end_of_a_chunked_blob_that_does_not_come() -> None:
    """All bytes are there: the connection is closed instead."""
    blob = random_layer(1000)
    chunk = b"%x\r\n%s\r\n" % (blob.size, b"x" * blob.size)
    script: Script = [CHUNKED + chunk, 30.0]
    with (
        scripted(lambda _: script) as host,
        opened(host, timeout=TIMEOUT) as run,
        in_time(),
    ):
        assert drain(run.registry.blob("sample", descriptor_of(blob))) == b"x" * blob.size


# Before the exchange


@pytest.fixture
def through_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", EVEN_LOOPBACK)


CONNECTS: dict[str, Script] = {
    "silence": [30.0],
    "a trickle": endless(b"H"),
    "headers": itertools.chain([b"HTTP/1.1 200 OK\r\n"], endless(b"X: y\r\n", 0.001)),
    "hands that are not shaken": [b"HTTP/1.1 200 OK\r\n\r\n", 30.0],
    "hands shaken by a trickle": itertools.chain(
        [b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03\x40\x00"], endless(b"\x02")
    ),
}


@pytest.mark.parametrize("script", CONNECTS, ids=[name.replace(" ", "-") for name in CONNECTS])
@pytest.mark.usefixtures("through_proxy")
def test_a_proxys_answer(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(lambda _: CONNECTS[script]) as proxy, in_time():
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        with pytest.raises(NetworkError):
            manifest("registry.test", tls=True)


@pytest.mark.usefixtures("through_proxy")
def test_a_blob_through_tls_in_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The record inside comes byte by byte, each of them in a record of the proxy's."""
    ca = tmp_path_factory.mktemp("ca") / "ca.pem"
    with Simulator(STORE, tls=True) as server, relaying(server.host) as proxy:
        ca.write_bytes(server.ca_pem)
        monkeypatch.setenv("HTTPS_PROXY", f"https://{proxy}")
        with opened(server.host, ca_file=str(ca), timeout=TIMEOUT) as run:
            stream = run.registry.blob("sample", descriptor_of(BLOB))
            stream.read(1000)
            with in_time(), pytest.raises(NetworkError, match="almost no data"):
                drain(stream)


@contextmanager
def relaying(upstream: str) -> Iterator[str]:
    """A proxy that speaks TLS, and lets a byte through now and then after a part of `BLOB`."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def forth(ours: socket.socket, theirs: socket.socket) -> None:
        try:
            while data := ours.recv(16384):
                theirs.sendall(data)
        except OSError:
            pass  # the client has gone

    def serve() -> None:
        try:
            accepted, _ = server.accept()
            with server_context().wrap_socket(accepted, server_side=True) as ours:
                ours.recv(65536)
                ours.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                host, _, port = upstream.partition(":")
                with socket.create_connection((host, int(port))) as theirs:
                    threads.append(threading.Thread(target=forth, args=(ours, theirs), daemon=True))
                    threads[-1].start()
                    left = BLOB.size // 3
                    while not stop.is_set() and (data := theirs.recv(4096 if left > 0 else 1)):
                        ours.sendall(data)
                        left -= len(data)
                        stop.wait(0 if left > 0 else 0.05)
        except OSError:
            pass  # the client has gone

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join(5)


def test_a_request_that_nobody_takes() -> None:
    """A token of megabytes fills the buffers of a server that does not read."""
    with socket.create_server(("127.0.0.1", 0)) as server, in_time():
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with opened(host, timeout=TIMEOUT) as run, pytest.raises(NetworkError, match="in time"):
            send(run, f"http://{host}/", b"x" * (64 << 20))


def send(run: Run, url: str, body: bytes) -> None:
    run.registry._transport.send("POST", url, {}, body=body)
