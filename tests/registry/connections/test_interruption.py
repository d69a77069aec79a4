"""A stopped run ends within a second, wherever its threads wait."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError, NetworkError
from dockersave.registry.connections.sockets import Watch
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch
from tests.registry.clients import Run, descriptor_of, drain, opened
from tests.registry.simulator import Fault, Simulator

BIG = random_layer(3_000_000)
STORE = Store.of({"sample": image([BIG])})


@contextmanager
def stopped(run: Run, after: float = 0.3) -> Iterator[None]:
    """Stop a run soon; the body must end at once with `CancelledError`."""
    timer = threading.Timer(after, run.cancellation.cancel)
    timer.start()
    watch = Stopwatch()
    try:
        with pytest.raises(CancelledError):
            yield
        assert watch.elapsed >= after - 0.05, "not because of it"
        assert watch.own < after + 0.7, "not within a second"
    finally:
        timer.cancel()
        timer.join()


@contextmanager
def silent_server(*, full: bool = False) -> Iterator[str]:
    """A server that accepts and says nothing; with `full`, one that does not even accept."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        if full:
            for _ in range(3):  # the queue takes one or two more than it says
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
            time.sleep(0.05)
        yield f"127.0.0.1:{address[1]}"


def test_while_connecting() -> None:
    with silent_server(full=True) as host, opened(host, timeout=30.0) as run, stopped(run):
        run.registry.manifest("sample", "latest")


def test_while_shaking_hands() -> None:
    with (
        silent_server() as host,
        opened(host, skip_tls_verify=True, timeout=30.0) as run,
        stopped(run),
    ):
        run.registry.manifest("sample", "latest")


def test_while_waiting_for_an_answer() -> None:
    with silent_server() as host, opened(host, timeout=30.0) as run, stopped(run):
        run.registry.manifest("sample", "latest")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("faults", [(), ("connection_close",), ("chunked",), ("without_length",)])
def test_while_reading_a_blob(tls: bool, faults: tuple[str, ...]) -> None:
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls, timeout=30.0) as run,
    ):
        server.faults.add(*(getattr(Fault, name)(on="blob") for name in faults))
        server.faults.add(Fault.stall_after(100_000, on="blob"))
        stream = run.registry.blob("sample", descriptor_of(BIG))
        with stopped(run):
            while stream.read(65536):
                pass
        stream.close()


def test_while_reading_a_manifest() -> None:
    with Simulator(STORE) as server, opened(server.host, timeout=30.0) as run, stopped(run):
        server.faults.add(Fault.stall_after(100, on="manifest"))
        run.registry.manifest("sample", "latest")


def test_while_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *rest: int) -> object:
        if host == "registry.test" and socket.AI_NUMERICHOST not in rest:
            answer.wait(20)
        return real(host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        with opened("registry.test", timeout=30.0) as run, stopped(run):
            run.registry.manifest("sample", "latest")
    finally:
        answer.set()


def test_while_it_waits_to_try_again() -> None:
    with Simulator(STORE) as server, opened(server.host, retries=5) as run, stopped(run):
        server.faults.add(Fault.status(503, retry_after="30"))
        run.registry.manifest("sample", "latest")


def test_while_it_waits_for_the_network() -> None:
    with opened("127.0.0.1:9", wait=30.0) as run, stopped(run, after=1.0):
        run.registry.manifest("sample", "latest")
    assert run.lines == [
        "127.0.0.1:9: connection refused, waiting up to 30 s",
    ]


def test_before_it_began() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        run.cancellation.cancel()
        with pytest.raises(CancelledError):
            run.registry.manifest("sample", "latest")
        assert not server.requests


@pytest.mark.parametrize("tls", [False, True])
def test_one_stream_alone_can_be_interrupted(tls: bool) -> None:
    """The fetcher gives up a slow connection this way: the run continues."""
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls, timeout=30.0) as run,
    ):
        server.faults.add(Fault.stall_after(100_000, on="blob", times=1))
        stream = run.registry.blob("sample", descriptor_of(BIG))
        timer = threading.Timer(0.3, stream.interrupt)
        timer.start()
        watch = Stopwatch()
        with pytest.raises(NetworkError, match="interrupted") as caught:
            drain(stream)
        assert watch.own < 1
        assert caught.value.transient
        timer.join()
        assert len(drain(run.registry.blob("sample", descriptor_of(BIG)))) == BIG.size


def test_a_socket_that_comes_too_late_is_ended_at_once() -> None:
    cancellation = Cancellation()
    watch = Watch(cancellation)
    cancellation.cancel()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watch.add(ours)
        assert ours.recv(1) == b""
