"""Servers that refuse ranges, though they give the blob as a whole."""

from __future__ import annotations

import pytest

from dockersave.errors import CredentialsError, DockersaveError, NetworkError, NotFoundError
from dockersave.registry.stream import may_be_about_ranges
from tests.images import Store, image, random_layer
from tests.images.content import read
from tests.registry.clients import descriptor_of, drain, opened
from tests.registry.simulator import Fault, Simulator

BLOB = random_layer(100_000)
STORE = Store.of({"sample": image([BLOB])})
CONTENT = read(BLOB.data)

REFUSALS = (400, 402, 403, 405, 406, 411, 412, 416, 417, 422, 451, 501)


@pytest.mark.parametrize("status", REFUSALS)
def test_what_may_be_about_ranges(status: int) -> None:
    assert may_be_about_ranges(status)


@pytest.mark.parametrize("status", [401, 404, 407, 408, 410, 425, 429, 500, 502, 503, 504, 505])
def test_what_is_about_something_else(status: int) -> None:
    assert not may_be_about_ranges(status)


@pytest.mark.parametrize("storage", [False, True], ids=["registry", "storage"])
@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_followed_by_a_request_for_everything(status: int, storage: bool) -> None:
    kind = "storage" if storage else "blob"
    with Simulator(STORE, storage=storage) as server, opened(server.host) as run:
        server.faults.add(Fault.refuse_range(status, on=kind))
        stream = run.registry.blob("sample", descriptor_of(BLOB), 50_000, 60_000)
        assert (stream.ranged, stream.start) == (False, 0)
        assert drain(stream) == CONTENT
        *ranged, last = (request.headers.get("range") for request in server.of(kind))
        assert last is None
        assert set(ranged) == {"bytes=50000-59999"}


def test_a_storage_that_is_known_already() -> None:
    """Its 403 may mean that the address has expired: the registry is asked for another first."""
    with Simulator(STORE, storage=True) as server, opened(server.host) as run:
        drain(run.registry.blob("sample", descriptor_of(BLOB)))
        server.requests.clear()
        server.faults.add(Fault.status(403, on="storage", times=1))
        stream = run.registry.blob("sample", descriptor_of(BLOB), 50_000, 60_000)
        assert stream.ranged
        assert drain(stream) == CONTENT[50_000:60_000]
        assert [request.kind for request in server.requests] == ["storage", "blob", "storage"]
        server.faults.add(Fault.refuse_range(403, on="storage"))
        assert drain(run.registry.blob("sample", descriptor_of(BLOB), 50_000, 60_000)) == CONTENT


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, NetworkError), (500, NetworkError), (503, NetworkError), (404, NotFoundError)],
)
def test_what_is_not_asked_for_again(status: int, error: type[DockersaveError]) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.status(status, on="blob"))
        with pytest.raises(error):
            run.registry.blob("sample", descriptor_of(BLOB), 50_000, 60_000)
        assert len(server.requests) == 1


def test_only_once() -> None:
    """Who refuses the whole blob, too, is believed."""
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.status(403, on="blob"))
        with pytest.raises(CredentialsError, match=r"refuses the blob sha256:\w+ \(403\)"):
            run.registry.blob("sample", descriptor_of(BLOB), 50_000, 60_000)
        assert len(server.requests) == 2


def test_the_whole_blob_is_asked_for_without_a_range() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        drain(run.registry.blob("sample", descriptor_of(BLOB), 0, BLOB.size))
        assert "range" not in server.requests[0].headers


def test_a_refusal_does_not_cost_the_connection() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.refuse_range(400))
        drain(run.registry.blob("sample", descriptor_of(BLOB), 50_000, 60_000))
        assert [request.connection for request in server.requests] == [1, 1]
