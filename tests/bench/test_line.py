"""The line between a client and a server does what it says: slow, far, capped, broken."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bench.line import Event, Shape, Shaped, line

_HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@contextmanager
def _serving(size: int) -> Iterator[int]:
    """A server that answers each request with `size` bytes and closes."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def answer(client: socket.socket) -> None:
            with client:
                if client.recv(65536):
                    try:
                        client.sendall(_HEAD + bytes(size))
                    except ConnectionError:
                        return  # the line was told to break

        def accept() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(client,)).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _get(port: int, path: str = "/blobs/x", wanted: str = "") -> tuple[int, float]:
    """Return the bytes that came, and after how many seconds the first of them did."""
    began = time.monotonic()
    first = 0.0
    count = 0
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\n{wanted}\r\n".encode())
        while data := sock.recv(65536):
            first = first or time.monotonic() - began
            count += len(data)
    return count, first


def test_nothing_is_lost_or_changed_in_order() -> None:
    with _serving(1_000_000) as port, line(port, Shape(rtt=0.01, shared=50e6)) as shaped:
        assert _get(shaped.port)[0] == len(_HEAD) + 1_000_000


def test_a_connection_and_a_request_cost_two_round_trips() -> None:
    with _serving(10) as port, line(port, Shape(rtt=0.1)) as shaped:
        assert _get(shaped.port)[1] >= 0.2


def test_the_first_windows_are_small() -> None:
    # 14,600, 29,200, 58,400 ...: a fourth window, so three round trips after the first byte
    with _serving(200_000) as port, line(port, Shape(rtt=0.1, shared=100e6)) as shaped:
        began = time.monotonic()
        _get(shaped.port)
        assert time.monotonic() - began >= 0.2 + 3 * 0.1


@pytest.mark.parametrize(
    ("shape", "least"),
    [
        (Shape(each=1e6, window=0), 0.3),
        (Shape(shared=1e6, window=0), 1.2),
        (Shape(shared=2e6, each=1e6, window=0), 0.6),
    ],
)
def test_rates_are_kept_alone_and_together(shape: Shape, least: float) -> None:
    with _serving(300_000) as port, line(port, shape) as shaped:
        threads = [threading.Thread(target=_get, args=(shaped.port,)) for _ in range(4)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # what a late timer may catch up, for each of the four
        assert time.monotonic() - began >= least - 4 * 0.010


def test_connections_break_where_the_seed_says() -> None:
    seen = []
    for seed in (1, 1, 2):
        shape = Shape(reset=(100_000, 900_000), seed=seed)
        with (
            _serving(2_000_000) as port,
            line(port, shape) as shaped,
            pytest.raises(ConnectionResetError),
        ):
            _get(shaped.port)
        (broken,) = shaped.of("reset")
        assert broken.size >= 100_000
        seen.append(broken.size)
    assert abs(seen[0] - seen[1]) <= 16_384, "the same within one slice"
    assert abs(seen[0] - seen[2]) > 16_384


def test_the_log_says_who_asked_for_what_and_when() -> None:
    with _serving(5_000) as port, line(port, Shape(rtt=0.05)) as shaped:
        _get(shaped.port, "/manifest")
        _get(shaped.port, wanted="Range: bytes=5-9\r\n")
    assert [event.what for event in shaped.of("request")] == ["GET /manifest", "GET /blobs/x 5-9"]
    assert [event.size for event in shaped.of("answer")] == [len(_HEAD) + 5_000] * 2
    assert shaped.asked() >= 0.1
    assert shaped.most_at_once() == 1


def test_it_counts_the_answers_that_were_on_their_way_at_once() -> None:
    spans = [(0.0, 2.0), (1.0, 3.0), (1.5, 1.8), (2.5, 4.0), (5.0, 5.0)]
    events = [
        Event(until, "answer", number, "GET /", 1, since)
        for number, (since, until) in enumerate(spans)
    ]
    assert Shaped(0, events).most_at_once() == 3
    assert Shaped().most_at_once() == 0
