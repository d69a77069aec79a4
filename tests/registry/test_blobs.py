"""Blobs of a registry: in ranges or as a whole, packed on the way, broken off, from elsewhere."""

from __future__ import annotations

import pytest

from dockersave.errors import ContentError, NetworkError, NotFoundError
from dockersave.limits import LIMITS
from dockersave.model.digest import digest_of
from tests.images import Store, image, random_layer
from tests.registry.clients import descriptor_of, drain, opened
from tests.registry.simulator import Fault, Simulator

BIG = random_layer(1_000_000)
SAMPLE = image([BIG])
BLOB = descriptor_of(BIG)
STORE = Store.of({"team/sample": SAMPLE})


@pytest.mark.parametrize(
    "fault",
    [
        Fault.ignore_range(),
        Fault.multipart_range(),
        Fault.content_range("bytes 0-9/{total}"),
        Fault.content_range("bytes {start}-{end}/7"),
        Fault.content_range("junk"),
        Fault.status(416, times=1),
    ],
    ids=["ignored", "multipart", "elsewhere", "other size", "junk", "416"],
)
def test_without_ranges_the_whole_blob_comes(fault: Fault) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(fault)
        stream = run.registry.blob("team/sample", BLOB, 1000, 2000)
        assert (stream.start, stream.stop, stream.ranged) == (0, BIG.size, False)
        assert digest_of(drain(stream)) == BIG.digest


def test_a_buffer_can_be_filled_again_and_again() -> None:
    """Nothing is copied, and the buffer is unchanged after the bytes that were read."""
    with Simulator(STORE) as server, opened(server.host) as run:
        for faults in ((), (Fault.chunked(),), (Fault.without_length(),), (Fault.http10(),)):
            server.faults.clear()
            server.faults.add(*faults)
            stream = run.registry.blob("team/sample", BLOB)
            buffer, body = bytearray(70_000), bytearray()
            while count := stream.readinto(memoryview(buffer)):
                body += buffer[:count]
            stream.close()
            assert digest_of(body) == BIG.digest
            part = run.registry.blob("team/sample", BLOB, 10, 110)
            assert part.readinto(memoryview(buffer)) == 100
            assert buffer[:100] == body[10:110]
            assert part.readinto(memoryview(buffer)) == 0
            part.close()


def test_ranges_are_always_closed() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.refuse_open_range())
        stream = run.registry.blob("team/sample", BLOB, 1000)
        assert stream.ranged
        assert len(drain(stream)) == BIG.size - 1000
        assert server.of("blob")[0].headers["range"] == f"bytes=1000-{BIG.size - 1}"


@pytest.mark.parametrize("start", [0, 1000])
def test_never_more_than_asked_for(start: int) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.lengthened(50), Fault.without_length())
        assert len(drain(run.registry.blob("team/sample", BLOB, start, 2000))) == 2000 - start
        assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([Fault.reset_after(5000)], "connection reset"),
        ([Fault.close_after(5000)], "ended early"),
        ([Fault.close_after(5000), Fault.chunked()], "ended early"),
        ([Fault.shortened(5000), Fault.without_length()], "ended early"),
        ([Fault.shortened(5000), Fault.chunked()], "ended early"),
        ([Fault.stall_after(5000)], "almost no data for 0.5 seconds"),
    ],
    ids=["reset", "closed", "closed chunk", "short", "short chunks", "stall"],
)
def test_a_blob_that_breaks_off_can_be_tried_again(faults: list[Fault], message: str) -> None:
    with Simulator(STORE) as server, opened(server.host, timeout=0.5) as run:
        server.faults.add(*faults)
        stream = run.registry.blob("team/sample", BLOB)
        with pytest.raises(NetworkError, match=message) as caught:
            drain(stream, 1000)
        assert caught.value.transient
        server.faults.clear()
        assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.shortened(5000), "has 5000 bytes instead of"),
        (Fault.lengthened(5), "bytes instead of"),
        (Fault.gzip_encoded(), "has .* bytes instead of"),
    ],
    ids=["short", "long", "packed"],
)
def test_a_blob_of_another_length_is_refused(fault: Fault, message: str) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(fault)
        with pytest.raises(ContentError, match=message) as caught:
            run.registry.blob("team/sample", BLOB)
        assert caught.value.transient


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "zstd"])
def test_a_blob_that_is_only_labelled_as_packed_is_taken(coding: str) -> None:
    """moby #17595: layers are compressed, and some storage labels them so. The hash decides."""
    for more in ((), (Fault.chunked(),), (Fault.without_length(),)):
        with Simulator(STORE) as server, opened(server.host) as run:
            server.faults.add(Fault.header("Content-Encoding", coding), *more)
            assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest
            assert server.requests[0].headers["accept-encoding"] == "identity"


def test_a_blob_that_was_packed_on_the_way_is_not_what_it_should_be() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.gzip_encoded(), Fault.chunked())
        with pytest.raises(NetworkError, match="ended early"):
            drain(run.registry.blob("team/sample", BLOB))


def test_a_foreign_layer_comes_without_credentials() -> None:
    with (
        Simulator(STORE) as server,
        Simulator(STORE) as elsewhere,
        opened(server.host, user="somebody", password="canary-word") as run,
    ):
        url = f"{elsewhere.base_url}/v2/team/sample/blobs/{BIG.digest}"
        assert digest_of(drain(run.registry.foreign(BLOB, url))) == BIG.digest
        assert len(drain(run.registry.foreign(BLOB, url, 10, 20))) == 10
        assert not server.requests
        assert all(b"uthorization" not in request.raw for request in elsewhere.requests)
        with pytest.raises(NetworkError, match="link-local"):
            run.registry.foreign(BLOB, "http://169.254.169.254/layer")


def test_addresses_of_foreign_layers_have_an_end() -> None:
    with (
        Simulator(STORE) as server,
        Simulator(Store.of({})) as elsewhere,
        opened(server.host) as run,
    ):
        for number in range(2 * LIMITS.foreign_failures):
            with pytest.raises((NotFoundError, NetworkError)):
                run.registry.foreign(BLOB, f"{elsewhere.base_url}/layer/{number}")
        assert len(elsewhere.requests) == LIMITS.foreign_failures
