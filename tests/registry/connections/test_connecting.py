"""Connecting: which address when, and the error if none answers."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave.cancellation import Cancellation
from dockersave.errors import NetworkError
from dockersave.limits import LIMITS
from dockersave.registry.connections import connecting
from dockersave.registry.connections.connecting import (
    Race,
    Target,
    Unreached,
    connect,
    delay,
    describe,
    order,
)
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch
from tests.registry.clients import opened
from tests.registry.connections.test_interruption import silent_server, stopped
from tests.registry.simulator import Simulator

SAMPLE = image([random_layer(1000)])
STORE = Store.of({"sample": SAMPLE})
IPV4, IPV6 = socket.AF_INET, socket.AF_INET6


def v4(*numbers: int) -> list[Target]:
    return [(IPV4, (f"192.0.2.{number}", 80)) for number in numbers]


def v6(*numbers: int) -> list[Target]:
    return [(IPV6, (f"2001:db8::{number}", 80, 0, 0)) for number in numbers]


# The order, and the schedule


def test_families_take_turns() -> None:
    assert order([*v6(1, 2, 3), *v4(1, 2)]) == [*v6(1), *v4(1), *v6(2), *v4(2), *v6(3)]
    assert order([*v4(1), *v6(1, 2)]) == [*v4(1), *v6(1), *v6(2)]
    assert order(v4(1, 2)) == v4(1, 2)
    assert order([]) == []


def test_the_family_that_answered_comes_first() -> None:
    both = [*v6(1, 2), *v4(1, 2)]
    assert order(both, IPV4) == [*v4(1), *v6(1), *v4(2), *v6(2)]
    assert order(both, IPV6) == order(both)
    assert order(v6(1, 2), IPV4) == v6(1, 2)


@given(st.lists(st.sampled_from([*v4(1, 2, 3), *v6(1, 2, 3)])), st.sampled_from([None, IPV4, IPV6]))
def test_no_address_is_lost_or_tried_twice(
    targets: list[Target], preferred: socket.AddressFamily | None
) -> None:
    ordered = order(targets, preferred)
    assert len(ordered) == len(set(ordered))
    assert set(ordered) == set(targets)
    for family in (IPV4, IPV6):
        mine = [target for target in dict.fromkeys(targets) if target[0] == family]
        assert [target for target in ordered if target[0] == family] == mine


@pytest.mark.parametrize(
    ("count", "timeout", "seconds"),
    [(1, 30, 0.25), (12, 30, 0.25), (12, 2, 0.1), (200, 30, 0.1), (6, 2, 1 / 6)],
)
def test_how_far_attempts_are_apart(count: int, timeout: float, seconds: float) -> None:
    assert delay(count, timeout) == pytest.approx(seconds)


def test_an_attempt_every_quarter_of_a_second() -> None:
    race = Race(3, now=100.0, timeout=30.0)
    assert race.due(100.0) == 0
    assert race.due(100.0) is None
    assert race.wait(100.0) == 0.25
    assert race.due(100.25) == 1
    assert race.due(100.3) is None
    race.failed(0)
    assert race.due(100.3) is None, "another one is still under way"
    assert race.due(100.5) == 2
    assert race.due(101.0) is None
    assert race.wait(101.0) == 29.0
    assert race.wait(130.0) is None


def test_where_all_have_failed_the_next_does_not_wait() -> None:
    race = Race(2, now=0.0, timeout=30.0)
    assert race.due(0.0) == 0
    race.failed(0)
    assert race.due(0.01) == 1
    race.failed(1)
    assert race.wait(0.02) is None


def test_only_so_many_are_under_way() -> None:
    race = Race(200, now=0.0, timeout=30.0)
    now, dropped = 0.0, []
    while (pause := race.wait(now)) is not None:
        race.due(now)
        if (oldest := race.surplus()) is not None:
            dropped.append(oldest)
        assert len(race.running) <= LIMITS.connect_attempts
        now += max(pause, 0.001)
    assert dropped == sorted(dropped)
    assert now == pytest.approx(30.0, abs=0.01)


def test_what_came_of_the_addresses() -> None:
    def refused(*numbers: int) -> list[tuple[str, int]]:
        return [(f"192.0.2.{number}", errno.ECONNREFUSED) for number in numbers]

    assert describe(refused(1), "192.0.2.1") == "connection refused"
    assert describe(refused(1), "a.example") == "connection refused (192.0.2.1)"
    assert describe(refused(1, 2)) == "connection refused (192.0.2.1 and 192.0.2.2)"
    assert describe([("2001:db8::1", errno.ENETUNREACH), *refused(1, 2)]) == (
        "the network is unreachable (2001:db8::1), connection refused (192.0.2.1 and 192.0.2.2)"
    )
    many = describe(refused(*range(1, 13)))
    assert many == "connection refused (192.0.2.1, 192.0.2.2, 192.0.2.3 and 9 more)"
    assert describe([("::1", errno.EMFILE)]) == "too many open files (::1)"


# For real, on loopback


@pytest.fixture
def port() -> Iterator[int]:
    with Simulator(STORE) as server:
        yield int(server.host.rpartition(":")[2])


def made(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


def silent(stack: ExitStack) -> Target:
    """An address that does not answer."""
    host, _, number = stack.enter_context(silent_server(full=True)).rpartition(":")
    return IPV4, (host, int(number))


def test_the_first_that_answers(port: int) -> None:
    with ExitStack() as stack:
        targets = [silent(stack), (IPV4, ("127.0.0.1", 9)), (IPV4, ("127.0.0.1", port))]
        watch = Stopwatch()
        found = connect("a.example", targets, 20.0, Cancellation(), made)
        with found.sock:
            assert found.sock.getpeername()[1] == port
        assert watch.own < 10
        assert 0 < found.seconds < 10


def test_none_answers() -> None:
    with ExitStack() as stack:
        targets = [silent(stack) for _ in range(12)]
        watch = Stopwatch()
        with pytest.raises(Unreached) as caught:
            connect("a.example", targets, 0.5, Cancellation(), made)
        assert watch.own < 5
    assert caught.value.is_silent
    assert len(caught.value.failures) == 12


def test_an_attempt_that_cannot_even_begin() -> None:
    def full(_: socket.AddressFamily) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(Unreached, match="too many open files") as caught:
        connect("a.example", v4(1, 2), 5.0, Cancellation(), full)
    assert not caught.value.is_away


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """What the name registry.test stands for."""
    found: list[Target] = []
    real = socket.getaddrinfo

    def lookup(host: str, *rest: int) -> object:
        if host == "registry.test" and socket.AI_NUMERICHOST not in rest:
            return [(family, socket.SOCK_STREAM, 6, "", there) for family, there in found]
        return real(host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return found


@pytest.mark.parametrize("count", [12, 200])
def test_silent_addresses_take_one_timeout_together(count: int, addresses: list[Target]) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("0.0.0.0", 0))
        server.listen(0)
        number = server.getsockname()[1]
        for _ in range(3):  # the queue takes one or two more than it says
            waiting = stack.enter_context(made(IPV4))
            waiting.connect_ex(("127.0.0.1", number))
        # All of 127.0.0.0/8 is this host.
        addresses += [(IPV4, (f"127.0.0.{n + 1}", number)) for n in range(count)]
        time.sleep(0.05)
        watch = Stopwatch()
        with opened("registry.test", timeout=1.0) as run, pytest.raises(NetworkError) as caught:
            run.registry.manifest("sample", "latest")
        assert watch.own < 8
        assert caught.value.unreachable
        assert caught.value.message == (
            "registry.test: the attempt to connect timed out "
            f"(127.0.0.1, 127.0.0.2, 127.0.0.3 and {count - 3} more)"
        )


def test_a_stopped_run_leaves_all_of_them(addresses: list[Target]) -> None:
    with ExitStack() as stack:
        addresses += [silent(stack) for _ in range(12)]
        with opened("registry.test", timeout=30.0) as run, stopped(run):
            run.registry.manifest("sample", "latest")


def test_a_family_that_leads_nowhere(port: int, addresses: list[Target]) -> None:
    """Like an IPv6 address without a route: it costs a quarter of a second, once."""
    with ExitStack() as stack:
        nowhere = silent(stack)
        attempts: list[socket.AddressFamily] = []
        real = connecting.order

        def noted(
            targets: list[Target], preferred: socket.AddressFamily | None = None
        ) -> list[Target]:
            attempts.append(preferred or socket.AF_UNSPEC)
            return real(targets, preferred)

        addresses += [nowhere, (IPV4, ("127.0.0.1", port))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connecting, "order", noted)
            with opened("registry.test", timeout=20.0) as run:
                watch = Stopwatch()
                run.registry.manifest("sample", "latest")
                assert watch.own < 10
                run.registry._transport._managers.clear()
                run.registry.manifest("sample", "latest")
        assert attempts == [socket.AF_UNSPEC, IPV4]


def test_the_message_names_what_was_tried(addresses: list[Target]) -> None:
    addresses += [(IPV4, ("127.0.0.1", 9)), (IPV6, ("::1", 9, 0, 0))]
    with (
        opened("registry.test") as run,
        pytest.raises(NetworkError, match=r"registry\.test: connection refused \(127\.0\.0\.1"),
    ):
        run.registry.manifest("sample", "latest")


def test_names_and_connecting_share_one_timeout(
    addresses: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    real = connecting.connect

    def noted(host: str, targets: list[Target], timeout: float, *rest: object) -> object:
        asked.append(timeout)
        return real(host, targets, timeout, *rest)  # type: ignore[arg-type]

    lookup, late = socket.getaddrinfo, threading.Event()

    def slow(host: str, *rest: int) -> object:
        if socket.AI_NUMERICHOST not in rest:
            late.wait(0.5)
        return lookup(host, *rest)

    addresses += [(IPV4, ("127.0.0.1", 9))]
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(connecting, "connect", noted)
    with opened("registry.test", timeout=5.0) as run, pytest.raises(NetworkError):
        run.registry.manifest("sample", "latest")
    assert asked[0] <= 4.5
