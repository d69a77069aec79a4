"""The distribution API, against a real registry, and over connections that are used again."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from dockersave.errors import ContentError, NetworkError, NotFoundError
from dockersave.limits import LIMITS
from dockersave.model.descriptors import DOCKER_MANIFEST, Descriptor
from dockersave.model.digest import digest_of
from dockersave.registry import stream as streams
from dockersave.registry.client import RegistryClient
from tests.images import Store, image, random_layer, sample_image
from tests.registry.clients import descriptor_of, drain, opened
from tests.registry.raw_server import answer, chunked, raw_server
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
        with pytest.raises(NotFoundError, match="no tags of no/such: NAME_UNKNOWN") as caught:
            list(run.registry.tags("no/such"))
        assert caught.value.hint == "is the name right?", "not: list the tags"
        with pytest.raises(NotFoundError, match="BLOB_UNKNOWN"):
            run.registry.blob("docker", missing)


QUESTIONS: dict[str, Callable[[RegistryClient], object]] = {
    "manifest": lambda registry: registry.manifest("a", "b"),
    "head": lambda registry: registry.head("a", "b"),
    "tags": lambda registry: list(registry.tags("a")),
}
PAGE = b"<!DOCTYPE html><title>Welcome</title>"


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", ["text/html", "Text/Plain; charset=utf-8"])
def test_a_server_without_v2_is_no_registry(kind: str, question: str) -> None:
    refused = answer(b"", f"Content-Type: {kind}", status="404 Not Found")
    with raw_server(lambda line: refused) as server, opened(server.host) as run:
        with pytest.raises(NetworkError, match="is not a registry: it has no /v2/") as caught:
            QUESTIONS[question](run.registry)
        assert "check host and port" in caught.value.hint
    assert server.lines[-1] == "GET /v2/ HTTP/1.1"
    assert len(server.lines) == (3 if question == "head" else 2)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("ping", ["200 OK", "401 Unauthorized", "403 Forbidden", "closed"])
def test_a_registry_may_refuse_with_a_web_page(ping: str, question: str) -> None:
    def say(line: str) -> bytes | None:
        if line.startswith("GET /v2/ "):
            return answer(b"", status=ping) if ping != "closed" else None
        body = b"" if line.startswith("HEAD ") else PAGE
        return answer(body, "Content-Type: text/html", status="404 Not Found")

    with raw_server(say) as server, opened(server.host) as run, pytest.raises(NotFoundError):
        QUESTIONS[question](run.registry)


def test_who_refuses_as_registries_do_is_asked_nothing_more() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        for ask in QUESTIONS.values():
            with pytest.raises(NotFoundError):
                ask(run.registry)
        assert not [request for request in server.requests if request.path == "/v2/"]


def test_who_has_served_something_is_a_registry() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        run.registry.manifest("team/sample", "latest")
        server.faults.add(Fault.header("Content-Type", "text/html"))
        with pytest.raises(NotFoundError):
            run.registry.manifest("a", "b")
        assert not [request for request in server.requests if request.path == "/v2/"]


@pytest.mark.parametrize("question", ["head", "tags"])
def test_a_web_page_is_not_an_answer(question: str) -> None:
    page = answer(PAGE, "Content-Type: text/html")
    with raw_server(lambda line: page) as server, opened(server.host) as run:
        with pytest.raises(ContentError) as caught:
            QUESTIONS[question](run.registry)
        assert "a login page" in caught.value.hint


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
