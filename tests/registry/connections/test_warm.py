"""Connections that are made ahead of the requests that will need them."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import pytest
from urllib3.connection import HTTPConnection

from dockersave.errors import NetworkError
from dockersave.registry.connections.http import OVERLOADED
from dockersave.registry.connections.pools import Dialling
from tests.images import Store, image, random_layer
from tests.pace import until
from tests.registry.clients import Run, descriptor_of, drain, opened
from tests.registry.connections.test_interruption import silent_server
from tests.registry.simulator import Fault, Simulator

BLOB = random_layer(10_000)
STORE = Store.of({"sample": image([BLOB])})


def idle(run: Run) -> int:
    """The open connections that wait in the pools of a run."""
    managers = run.registry._transport._managers.values()
    pools = [manager.pools[key] for manager in managers for key in manager.pools.keys()]  # noqa: SIM118
    return sum(
        connection is not None and not connection.is_closed
        for pool in pools
        if pool.pool is not None
        for connection in list(pool.pool.queue)
    )


def has_idle(run: Run, count: int) -> bool:
    return idle(run) == count


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_later_requests_find_them(tls: bool) -> None:
    """Unread session tickets of TLS 1.3 do not look like the end of the connection."""
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls) as run,
    ):
        run.registry.warm(4)
        until(lambda: idle(run) == 4)
        time.sleep(0.1)
        server.faults.add(Fault.delay(0.3, on="blob"))
        made = next(run.registry._transport._watch.numbers)
        with ThreadPoolExecutor(4) as threads:
            blobs = [
                threads.submit(lambda: drain(run.registry.blob("sample", descriptor_of(BLOB))))
                for _ in range(4)
            ]
            assert {len(blob.result()) for blob in blobs} == {BLOB.size}
        assert next(run.registry._transport._watch.numbers) == made + 1, "none was made anew"


def test_those_that_wait_already_count() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        run.registry.manifest("sample", "latest")
        run.registry.warm(3)
        until(lambda: idle(run) == 3)
        run.registry.warm(3)
        time.sleep(0.2)
        assert idle(run) == 3


def test_those_that_the_server_closes_do_no_harm(tls: bool) -> None:
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls) as run,
    ):
        run.registry.warm(3)
        until(lambda: idle(run) == 3)
        [listener] = server._servers
        for sock in list(listener._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        time.sleep(0.1)
        assert run.registry.manifest("sample", "latest").body


def test_of_those_that_are_refused_the_others_are_used() -> None:
    """A server that grants three connections resets the rest once something is sent on them."""
    with Simulator(STORE) as server, opened(server.host, retries=0) as run:
        server.faults.add(Fault.reset(over=3, on="connection"))
        run.registry.manifest("sample", "latest")
        # One after the other: the next request takes the last, which the server has counted last.
        for count in range(2, 9):
            run.registry.warm(count)
            until(partial(has_idle, run, count))
        assert run.registry.manifest("sample", "latest").body
        assert server.faults.struck(), "none was refused"


@pytest.mark.parametrize("status", sorted(OVERLOADED))
def test_a_server_that_refuses_gets_its_connections_back(status: int, tls: bool) -> None:
    """Some count those that idle, too; and behind another one there may be another server."""
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls) as run,
    ):
        server.faults.add(Fault.status(status, on="manifest", times=1))
        run.registry.warm(4)
        until(lambda: idle(run) == 4)
        with pytest.raises(NetworkError):
            run.registry.manifest("sample", "latest")
        assert idle(run) == 0
        run.registry.manifest("sample", "latest")
        first, second = server.of("manifest")
        assert first.connection != second.connection
        assert idle(run) == 1


def test_what_waits_is_used_before_what_was_closed_is_opened_again() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.connection_close(on="manifest"))
        run.registry.warm(3)
        until(lambda: idle(run) == 3)
        for left in (2, 1, 0):
            run.registry.manifest("sample", "latest")
            assert idle(run) == left


def test_failures_are_silent() -> None:
    with opened("127.0.0.1:9") as run:
        run.registry.warm(3)
        time.sleep(0.2)
        assert not run.lines
        assert idle(run) == 0


def test_a_stopped_run_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with silent_server(full=True) as host, opened(host, timeout=30.0) as run:
        run.registry.warm(3)
        run.cancellation.cancel()
        until(lambda: threading.active_count() <= before)


def test_a_closed_run_keeps_none(tls: bool) -> None:
    before = threading.active_count()
    with (
        silent_server() as host,
        opened(host, insecure=not tls, skip_tls_verify=tls, timeout=30.0) as run,
    ):
        run.registry.warm(3)
        time.sleep(0.1)
        run.registry.close()
        until(lambda: threading.active_count() <= before)
        run.registry.warm(3)
        until(lambda: threading.active_count() <= before)


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Simulator(STORE) as server, opened(server.host) as run:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            run.registry.warm(3)
        assert run.registry.manifest("sample", "latest").body
        assert idle(run) == 1


def test_a_mirror_is_what_is_connected_to() -> None:
    with (
        Simulator(STORE) as server,
        Simulator(STORE) as mirror,
        opened(server.host, mirrors=(f"http://{mirror.host}",)) as run,
    ):
        run.registry.warm(2)
        until(lambda: idle(run) == 2)
        assert next(run.registry._mirrors.usable()).latency is not None
        assert run.registry.latency is None


def test_how_far_away_it_is(tls: bool) -> None:
    with (
        Simulator(STORE, tls=tls) as server,
        opened(server.host, insecure=not tls, skip_tls_verify=tls) as run,
    ):
        before = run.registry.latency
        assert before is None
        run.registry.manifest("sample", "latest")
        latency = run.registry.latency
        assert latency is not None
        assert 0 < latency < 20


def test_what_has_answered_is_used_before_what_was_made_ahead() -> None:
    """A connection that still shakes hands would be waited for."""
    with Simulator(STORE) as server, opened(server.host) as run:
        run.registry.manifest("sample", "latest")
        [pool] = next(iter(run.registry._transport._managers.values())).pools._container.values()
        assert pool.pool is not None
        used = pool.pool.queue[-1]
        run.registry.warm(4)
        until(lambda: idle(run) == 4)
        assert pool.pool.queue[-1] is used


def test_a_far_registry_is_seen_by_its_answers() -> None:
    """What answers the attempt to connect may be nearer than what answers requests."""
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.delay(0.2, on="manifest"))
        run.registry.manifest("sample", "latest")
        # On a new connection the handshake is part of the time.
        assert run.registry.distance >= 0.1
        server.faults.clear()
        server.faults.add(Fault.delay(0.05, on="manifest"))
        run.registry.manifest("sample", "latest")
        assert run.registry.distance >= 0.05


def test_one_that_is_made_while_the_run_ends_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Dialling("registry.test", maxsize=1)
    places = cast(queue.LifoQueue[object], pool.pool)
    lock = places.mutex

    class Ending:
        """The lock of the pool's places; the pool is closed just before somebody gets it."""

        def __enter__(self) -> None:
            pool.close()
            lock.acquire()

        def __exit__(self, *error: object) -> None:
            lock.release()

    ours, theirs = socket.socketpair()
    made = HTTPConnection("registry.test")
    made.sock = ours
    monkeypatch.setattr(places, "mutex", Ending())
    with theirs:
        pool._put_below(made)
        assert ours.fileno() < 0
