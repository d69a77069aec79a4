"""Names become addresses, and addresses connections, also where little is there."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import NetworkError
from dockersave.registry.connections import connecting
from dockersave.registry.connections.connecting import is_loopback_name, resolve
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch
from tests.registry.clients import opened
from tests.registry.connections.test_interruption import silent_server
from tests.registry.simulator import Simulator

SAMPLE = image([random_layer(1000)])
STORE = Store.of({"sample": SAMPLE})


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost.", "a.b.localhost"])
def test_names_of_this_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need no resolver, which an empty root does not have."""
    monkeypatch.delattr(socket, "getaddrinfo")
    assert is_loopback_name(name)
    assert resolve(name, 80, 1, Cancellation()) == [
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET6, ("::1", 80, 0, 0)),
    ]


@pytest.mark.parametrize("name", ["localhost.example", "notlocalhost", "127.0.0.1", ""])
def test_names_of_other_hosts(name: str) -> None:
    assert not is_loopback_name(name)


@pytest.mark.parametrize(
    ("address", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
)
def test_addresses_need_no_thread(
    address: str, family: socket.AddressFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(threading, "Thread")
    [(found, there)] = resolve(address, 80, 1, Cancellation())
    assert (found, there[:2]) == (family, (address, 80))


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old seccomp profiles refuse clone3: names are still looked up."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]
    real = socket.getaddrinfo

    def lookup(host: str, *rest: int) -> object:
        return found if host == "registry.test" and rest[-1] == 0 else real(host, *rest)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert resolve("registry.test", 80, 1, Cancellation()) == [(socket.AF_INET, ("192.0.2.1", 80))]


def test_a_name_server_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *rest: int) -> object:
        if socket.AI_NUMERICHOST not in rest:
            answer.wait(20)
        return real(host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        with (
            opened("registry.test", timeout=0.3) as run,
            pytest.raises(NetworkError, match="the name server does not answer") as caught,
        ):
            run.registry.manifest("sample", "latest")
        assert caught.value.unreachable
    finally:
        answer.set()


@pytest.mark.parametrize(
    ("code", "message", "transient"),
    [
        (socket.EAI_NONAME, "host not found", False),
        (socket.EAI_NODATA, "host not found", False),
        (socket.EAI_AGAIN, "the name server does not answer", True),
    ],
)
def test_names_that_cannot_be_looked_up(
    code: int, message: str, transient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise socket.gaierror(code, "as the resolver says")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with (
        opened("registry.test") as run,
        pytest.raises(NetworkError, match=f"registry.test: {message}") as caught,
    ):
        run.registry.manifest("sample", "latest")
    assert (caught.value.transient, caught.value.unreachable) == (transient, True)


def test_a_name_that_is_too_long() -> None:
    with (
        opened(f"{'a' * 64}.example") as run,
        pytest.raises(NetworkError, match="host not found"),
    ):
        run.registry.manifest("sample", "latest")


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(STORE) as server:
        port = int(server.host.rpartition(":")[2])
        addresses = [("127.0.0.1", 9), ("127.0.0.1", port)]
        monkeypatch.setattr(
            connecting, "resolve", lambda *_: [(socket.AF_INET, there) for there in addresses]
        )
        with opened("registry.test") as run:
            assert run.registry.manifest("sample", "latest").digest == SAMPLE.digest


def test_what_never_answered_is_not_tried_again() -> None:
    """The name is misspelt, or nothing runs there: the user wants to know at once."""
    watch = Stopwatch()
    with opened("127.0.0.1:9", retries=5) as run:
        with pytest.raises(NetworkError, match="connection refused"):
            run.registry.manifest("sample", "latest")
        assert not run.lines
    with silent_server(full=True) as host, opened(host, retries=5, timeout=0.3) as run:
        with pytest.raises(NetworkError, match="the attempt to connect timed out"):
            run.registry.manifest("sample", "latest")
        assert not run.lines
    assert watch.own < 3


def test_what_has_answered_is_tried_again() -> None:
    with ExitStack() as stack:
        with Simulator(STORE) as server:
            run = stack.enter_context(opened(server.host, retries=1))
            run.registry.manifest("sample", "latest")
        with pytest.raises(NetworkError, match="connection refused"):
            run.registry.manifest("sample", "latest")
        assert len(run.lines) == 1
