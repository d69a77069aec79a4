"""Documents of a registry, and their digests: checked, bounded in size and in time."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import socket
import threading
import time
import zlib

import pytest

from dockersave.errors import ContentError, CredentialsError, NetworkError
from dockersave.limits import LIMITS
from dockersave.model.descriptors import ACCEPT, Descriptor
from dockersave.model.digest import digest_of
from dockersave.registry.documents import accepting
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch
from tests.registry.clients import opened
from tests.registry.simulator import Fault, Simulator

SAMPLE = image([random_layer(1_000_000)])
CONFIG = Descriptor("", SAMPLE.config_digest, len(SAMPLE.config))
STORE = Store.of({"team/sample": SAMPLE})


def test_documents_that_were_packed_on_the_way() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.gzip_encoded())
        assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest
        assert list(run.registry.tags("team/sample")) == ["latest"]


@pytest.mark.parametrize(
    ("stated", "is_sent"),
    [
        ("application/vnd.example.manifest.v9+json", True),
        ("application/vnd.oci.image.manifest.v1+json", False),
        ("", False),
        ("application/x\r\nX-Smuggled: 1", False),
        ("application/x, text/y", False),
        ("application/ümlaut", False),
    ],
)
def test_the_stated_type_is_accepted_once_and_only_if_it_is_one(stated: str, is_sent: bool) -> None:
    accepted = accepting(stated)["Accept"].split(", ")
    assert accepted == [*ACCEPT, *[stated] * is_sent]


def test_a_bomb_in_a_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(bytes(50 << 20))
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.body(bomb), Fault.header("Content-Encoding", "gzip"))
        with pytest.raises(ContentError, match="is longer than"):
            run.registry.manifest("team/sample", "latest")


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "br"])
def test_a_document_that_is_only_labelled_as_packed_is_taken(coding: str) -> None:
    """Storage that labels layers so may label all blobs alike."""
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.header("Content-Encoding", coding))
        assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest
        assert run.registry.read_blob("team/sample", CONFIG, 1 << 20)


def test_a_document_that_is_packed_in_the_oldest_way() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(
            Fault.body(zlib.compress(SAMPLE.manifest)), Fault.header("Content-Encoding", "deflate")
        )
        assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest


@pytest.mark.parametrize("cut", [False, True])
def test_a_packed_document_that_is_damaged_on_the_way_is_asked_for_again(cut: bool) -> None:
    packed = bytearray(gzip.compress(SAMPLE.manifest))
    packed[-30] ^= 1
    body = bytes(packed[:-40] if cut else packed)
    with Simulator(STORE) as server, opened(server.host, retries=1) as run:
        server.faults.add(
            Fault.body(body, times=1), Fault.header("Content-Encoding", "gzip", times=1)
        )
        assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest


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
