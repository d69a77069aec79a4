"""The distribution API, against a real registry, and against one that does it differently."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import socket
import threading
import time

import pytest

from dockersave.errors import ContentError, CredentialsError, NetworkError, NotFoundError
from dockersave.limits import LIMITS
from dockersave.model.digest import digest_of
from dockersave.model.manifests import DOCKER_MANIFEST, Descriptor
from dockersave.registry import stream as streams
from tests.images import Store, image, random_layer, sample_image
from tests.pace import Stopwatch
from tests.registry.clients import descriptor_of, drain, opened
from tests.registry.raw_server import chunked, raw_server
from tests.registry.real import Registries, Registry
from tests.registry.simulator import Fault, Simulator

BIG = random_layer(1_000_000)
SAMPLE = image([BIG])
BLOB = descriptor_of(BIG)
CONFIG = Descriptor("", SAMPLE.config_digest, len(SAMPLE.config))
STORE = Store.of({"team/sample": SAMPLE})


@pytest.fixture(params=["http", "https"])
def real(request: pytest.FixtureRequest, registries: Registries) -> Registry:
    """A real registry, and how it is spoken to."""
    return registries.get(tls=request.param == "https")


def test_a_real_registry_gives_everything(real: Registry) -> None:
    sample = sample_image()
    with opened(real.host, **trust(real)) as run:
        document = run.registry.manifest("docker", "latest")
        assert digest_of(document.body) == sample.digest
        assert (document.digest, document.media_type) == (sample.digest, DOCKER_MANIFEST)
        assert run.registry.manifest("docker", sample.digest) == document
        assert run.registry.head("docker", "latest") == sample.digest
        assert list(run.registry.tags("docker")) == ["latest"]
        config = Descriptor("", sample.config_digest, len(sample.config))
        assert run.registry.read_blob("docker", config, 1 << 20) == sample.config
        for layer in sample.layers:
            descriptor = descriptor_of(layer)
            stream = run.registry.blob("docker", descriptor)
            assert (stream.start, stream.ranged) == (0, False)
            assert digest_of(drain(stream)) == layer.digest
    assert not run.lines


def test_a_real_registry_gives_ranges(real: Registry) -> None:
    layer = sample_image().layers[2]
    descriptor = descriptor_of(layer)
    with opened(real.host, **trust(real)) as run:
        whole = drain(run.registry.blob("docker", descriptor))
        for start, stop in [(0, 1), (1, 2), (100, 5000), (layer.size - 1, layer.size)]:
            stream = run.registry.blob("docker", descriptor, start, stop)
            assert (stream.start, stream.stop, stream.ranged) == (start, stop, True)
            assert drain(stream, 999) == whole[start:stop]


def test_exactly_the_requests_that_are_needed(real: Registry) -> None:
    """One for each document and blob, on one connection, and no ping."""
    sample = sample_image()
    before = len(real.accesses())
    with opened(real.host, **trust(real)) as run:
        run.registry.manifest("docker", "latest")
        run.registry.read_blob(
            "docker", Descriptor("", sample.config_digest, len(sample.config)), 1 << 20
        )
        for layer in sample.layers:
            drain(run.registry.blob("docker", descriptor_of(layer)))
    asked = [(access.method, access.path) for access in real.accesses()[before:]]
    assert asked == [
        ("GET", "/v2/docker/manifests/latest"),
        ("GET", f"/v2/docker/blobs/{sample.config_digest}"),
        *(("GET", f"/v2/docker/blobs/{layer.digest}") for layer in sample.layers),
    ]


def test_what_a_real_registry_does_not_have(real: Registry) -> None:
    missing = Descriptor("", digest_of(b"missing"), 7)
    with opened(real.host, **trust(real)) as run:
        with pytest.raises(NotFoundError, match="no manifest of docker:nope: MANIFEST_UNKNOWN"):
            run.registry.manifest("docker", "nope")
        with pytest.raises(NotFoundError, match="no manifest of docker:nope"):
            run.registry.head("docker", "nope")
        with pytest.raises(NotFoundError, match="no tags of no/such: NAME_UNKNOWN"):
            list(run.registry.tags("no/such"))
        with pytest.raises(NotFoundError, match="BLOB_UNKNOWN"):
            run.registry.blob("docker", missing)


def trust(real: Registry) -> dict[str, object]:
    """The options that a real registry is spoken to with."""
    return {"ca_file": str(real.ca_file)} if real.tls else {"insecure": True}


@pytest.mark.parametrize(
    "fault",
    [
        Fault.http10(),
        Fault.connection_close(),
        Fault.chunked(),
        Fault.without_length(),
        Fault.garbage_after(),
        Fault.header("Content-Type", "application/json"),
        Fault.header("Docker-Content-Digest", digest_of(b"wrong"), on="manifest", method="GET"),
        Fault.redirect_chain(LIMITS.redirects),
        Fault.redirect("{path}?again", times=1),
    ],
    ids=lambda fault: fault.name,
)
def test_other_ways_to_say_the_same(fault: Fault) -> None:
    with Simulator(STORE) as server, opened(server.host, retries=2) as run:
        server.faults.add(fault)
        assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest
        assert run.registry.read_blob("team/sample", CONFIG, 1 << 20) == SAMPLE.config
        retry = run.retry.call  # the fetcher does so, too
        body = retry(lambda: drain(run.registry.blob("team/sample", BLOB)))
        assert digest_of(body) == BIG.digest
        part = retry(lambda: drain(run.registry.blob("team/sample", BLOB, 1000, 2000)))
        assert part == body[1000:2000]
        assert server.faults.struck()


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


def test_connections_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_END", 4.0)  # however slow the machine is
    with Simulator(STORE) as server, opened(server.host) as run:
        for faults in ((), (Fault.chunked(),)):
            server.faults.clear()
            server.faults.add(*faults)
            for start in range(0, 5000, 1000):
                drain(run.registry.blob("team/sample", BLOB, start, start + 1000))
        assert len({request.connection for request in server.requests}) == 1
        run.registry.blob("team/sample", BLOB).close()  # not read to its end
        drain(run.registry.blob("team/sample", BLOB))
        assert len({request.connection for request in server.requests}) == 2


def test_an_end_of_chunks_that_does_not_come_is_not_waited_for() -> None:
    def say(line: str) -> bytes:
        return chunked(SAMPLE.config).removesuffix(b"0\r\n\r\n")

    with raw_server(say) as server, opened(server.host, timeout=300.0) as run:
        begun = time.monotonic()
        for _ in range(3):
            assert drain(run.registry.blob("team/sample", CONFIG)) == SAMPLE.config
        assert time.monotonic() - begun < 100
        assert server.connections == 3


def test_a_kept_connection_that_was_closed_meanwhile() -> None:
    """Another one is used at once: this is not a failure."""
    with Simulator(STORE) as server, opened(server.host) as run:
        run.registry.manifest("team/sample", "latest")
        server.faults.add(Fault.close_after(-1, times=1))
        assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest
        assert not run.lines
        server.faults.add(Fault.reset(times=3))
        with pytest.raises(NetworkError, match="connection reset"):
            run.registry.manifest("team/sample", "latest")


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


def test_documents_that_were_packed_on_the_way() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.gzip_encoded())
        assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest
        assert list(run.registry.tags("team/sample")) == ["latest"]


def test_a_bomb_in_a_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(bytes(50 << 20))
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.body(bomb), Fault.header("Content-Encoding", "gzip"))
        with pytest.raises(ContentError, match="is longer than"):
            run.registry.manifest("team/sample", "latest")


def test_documents_are_checked() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.flip_bit(0.5))
        with pytest.raises(ContentError, match="hashes to") as caught:
            run.registry.manifest("team/sample", SAMPLE.digest)
        assert caught.value.transient
        with pytest.raises(ContentError, match="hashes to"):
            run.registry.read_blob("team/sample", CONFIG, 1 << 20)


def test_one_flipped_bit_is_fetched_again() -> None:
    with Simulator(STORE) as server, opened(server.host, retries=2) as run:
        server.faults.add(Fault.flip_bit(0.5, times=1))
        assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest
        assert len(server.requests) == 2


@pytest.mark.parametrize("version", ["latest", SAMPLE.digest], ids=["tag", "digest"])
def test_an_endless_manifest_ends(version: str) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.endless())
        with pytest.raises(ContentError, match=f"longer than {LIMITS.manifest} bytes"):
            run.registry.manifest("team/sample", version)


def test_a_config_that_is_too_large_is_not_asked_for() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        with pytest.raises(ContentError, match="at most 10 are accepted"):
            run.registry.read_blob("team/sample", CONFIG, 10)
        assert not server.requests


def test_a_manifest_that_trickles_in_is_given_up() -> None:
    with Simulator(STORE) as server, opened(server.host, timeout=0.5) as run:
        server.faults.add(Fault.rate(10))
        with pytest.raises(NetworkError, match=r"almost no data for 0\.5 seconds"):
            run.registry.manifest("team/sample", "latest")


def test_a_head_that_trickles_in_is_given_up() -> None:
    """Every byte is in time, all of them together are not."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            sock, _ = server.accept()
            with sock, contextlib.suppress(OSError):
                sock.recv(65536)
                for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\nX-Endless: ..."):
                    sock.sendall(bytes([byte]))
                    time.sleep(0.05)

        thread = threading.Thread(target=trickle)
        thread.start()
        watch = Stopwatch()
        with (
            opened(f"127.0.0.1:{server.getsockname()[1]}", timeout=0.5) as run,
            pytest.raises(NetworkError, match="no response in time"),
        ):
            run.registry.manifest("team/sample", "latest")
        assert watch.own < 3
        thread.join()


@pytest.mark.parametrize(
    "fault",
    [Fault.status(405, method="HEAD"), Fault.header("Docker-Content-Digest", "nonsense")],
    ids=["405", "no digest"],
)
def test_a_digest_comes_from_get_where_head_has_none(fault: Fault) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(fault)
        assert run.registry.head("team/sample", "latest") == SAMPLE.digest
        assert [request.method for request in server.requests] == ["HEAD", "GET"]


def test_no_other_digest_is_believed_than_the_one_asked_for() -> None:
    other = digest_of(b"other")
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.header("Docker-Content-Digest", other))
        with pytest.raises(ContentError, match=f"is reported to hash to {other}"):
            run.registry.head("team/sample", SAMPLE.digest)
        assert run.registry.head("team/sample", "latest") == other, "the registry's word"


def test_a_digest_is_checked_where_head_has_none() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.header("Docker-Content-Digest", "nonsense"))
        assert run.registry.head("team/sample", SAMPLE.digest) == SAMPLE.digest
        server.faults.add(Fault.flip_bit(0.5, on="manifest"))
        with pytest.raises(ContentError, match="instead of"):
            run.registry.head("team/sample", SAMPLE.digest)


def test_a_digest_by_another_algorithm_is_no_contradiction() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.header("Docker-Content-Digest", "sha512:" + "0" * 128))
        assert run.registry.head("team/sample", SAMPLE.digest) == SAMPLE.digest
        assert [request.method for request in server.requests] == ["HEAD", "GET"]


def test_a_digest_costs_one_head() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        assert run.registry.head("team/sample", "latest") == SAMPLE.digest
        assert [request.method for request in server.requests] == ["HEAD"]


def test_an_error_text_cannot_reach_the_terminal() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.error("DENIED", "\x1b]0;owned\x07 go \x9b2J away", status=403))
        with pytest.raises(CredentialsError) as caught:
            run.registry.manifest("team/sample", "latest")
        assert str(caught.value).isprintable()
        assert "DENIED: ?]0;owned? go ?2J away" in str(caught.value)


def test_an_endless_error_is_cut() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.endless(), Fault.status(400))
        with pytest.raises(NetworkError, match="returned 400"):
            run.registry.manifest("team/sample", "latest")


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
