"""Mirrors are tried first, never trusted, and not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dockersave.errors import ContentError, NetworkError, NotFoundError, UsageError
from dockersave.model.descriptors import Descriptor
from dockersave.model.digest import digest_of
from dockersave.registry.endpoint import mirror_base
from tests.images import Store, image, random_layer, sample_image
from tests.registry.canary import Canary
from tests.registry.clients import Run, descriptor_of, drain, opened
from tests.registry.real import Registry
from tests.registry.simulator import Auth, Fault, Simulator

BIG = random_layer(1_000_000)
BLOB = descriptor_of(BIG)
SAMPLE = image([BIG])
CONFIG = Descriptor("", SAMPLE.config_digest, len(SAMPLE.config))
STORE = Store.of({"team/sample": SAMPLE})
OTHER = Store.of({"team/sample": image([random_layer(2000)])})


@contextmanager
def mirrored(kept: Store = STORE, **network: Any) -> Iterator[tuple[Simulator, Simulator, Run]]:
    """A registry, a mirror of it that has something of its own, and a client that knows both."""
    with (
        Simulator(STORE) as server,
        Simulator(kept) as mirror,
        opened(server.host, mirrors=(mirror.base_url,), **network) as run,
    ):
        yield server, mirror, run


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://mirror.example", "https://mirror.example/v2"),
        ("https://mirror.example/", "https://mirror.example/v2"),
        ("http://mirror.example:5000", "http://mirror.example:5000/v2"),
        ("https://mirror.example/hub", "https://mirror.example/hub/v2"),
        ("https://mirror.example/v2", "https://mirror.example/v2"),
        ("https://mirror.example/v2/hub/", "https://mirror.example/v2/hub"),
        ("https://mirror.example/x?y#z", "https://mirror.example/x/v2"),
    ],
)
def test_where_a_mirror_begins(url: str, base: str) -> None:
    assert mirror_base(url) == base


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mirror.example", "not an http or https address"),
        ("ftp://mirror.example", "not an http or https address"),
        ("https://", "not an http or https address"),
        ("https://mirror.example:x", "not an http or https address"),
        ("https://me:canary-word@mirror.example", "has credentials in it"),
    ],
)
def test_what_is_no_mirror(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught, opened("r.test", mirrors=(url,)):
        pass
    assert "canary-word" not in str(caught.value) + caught.value.hint


def test_a_pull_through_cache(plain_registry: Registry, mirror_registry: Registry) -> None:
    """The image comes from the cache; the registry itself only says what the tag means."""
    sample = sample_image()
    before, cached = len(plain_registry.accesses()), len(mirror_registry.accesses())
    with opened(plain_registry.host, mirrors=(mirror_registry.url,)) as run:
        assert run.registry.manifest("docker", "latest").digest == sample.digest
        for layer in {layer.digest: layer for layer in sample.layers}.values():
            body = drain(run.registry.blob("docker", descriptor_of(layer)))
            assert digest_of(body) == layer.digest
    assert not run.lines
    asked = [access.path for access in mirror_registry.accesses()[cached:]]
    assert asked[0] == f"/v2/docker/manifests/{sample.digest}?ns={plain_registry.host}"
    # What the cache itself asked for is in the log too: ours is the first.
    assert plain_registry.accesses()[before].method == "HEAD"


def test_everything_comes_from_the_mirror() -> None:
    with mirrored() as (server, mirror, run):
        assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest
        assert run.registry.read_blob("team/sample", CONFIG, 1 << 20) == SAMPLE.config
        assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest
        assert [(r.method, r.kind) for r in server.requests] == [("HEAD", "manifest")]
        assert [(r.method, r.kind) for r in mirror.requests] == [
            ("GET", "manifest"),
            ("GET", "config"),
            ("GET", "blob"),
        ]
        assert all(request.query == {"ns": server.host} for request in mirror.requests)
        assert not run.lines


def test_a_digest_needs_no_registry() -> None:
    with Simulator(STORE) as mirror, opened("127.0.0.1:9", mirrors=(mirror.base_url,)) as run:
        assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest
        assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest


def test_a_tag_means_what_the_registry_says() -> None:
    """A mirror that has moved the tag, or is stale, changes nothing."""
    with mirrored(OTHER) as (_, _, run):
        assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest
        assert run.registry.head("team/sample", "latest") == SAMPLE.digest
        assert any("continuing without the mirror" in line for line in run.lines)


def test_a_tag_without_the_registry_is_refused() -> None:
    with Simulator(STORE) as mirror, opened("127.0.0.1:9", mirrors=(mirror.base_url,)) as run:
        with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9: connection refused"):
            run.registry.manifest("team/sample", "latest")
        assert not mirror.requests


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(404),
        Fault.status(401),
        Fault.status(403),
        Fault.status(429, retry_after="9999"),
        Fault.status(500),
        Fault.html(),
        Fault.reset(),
        Fault.flip_bit(0.5),
        Fault.endless(),
        Fault.redirect("http://169.254.169.254/"),
        Fault.redirect("{path}"),
    ],
    ids=["404", "401", "403", "429", "500", "html", "reset", "bit", "endless", "metadata", "loop"],
)
def test_a_mirror_that_fails_is_passed_over(fault: Fault) -> None:
    with mirrored() as (_, mirror, run):
        mirror.faults.add(fault)
        assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest
        assert run.registry.read_blob("team/sample", CONFIG, 1 << 20) == SAMPLE.config
        assert mirror.faults.struck()
        assert len(run.lines) == 1, "it is said once"
        assert mirror.host in run.lines[0]


def test_mirrors_are_tried_in_order() -> None:
    with (
        Simulator(STORE) as server,
        Simulator(Store()) as first,
        Simulator(STORE) as second,
        opened(server.host, mirrors=("http://127.0.0.1:9", first.base_url, second.base_url)) as run,
    ):
        assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest
        assert (len(first.requests), len(second.requests), len(server.requests)) == (1, 1, 0)
        assert run.lines[0].startswith("127.0.0.1:9: connection refused; continuing without")


def test_a_mirror_that_is_down_is_soon_left_alone() -> None:
    with mirrored(timeout=0.3) as (_, mirror, run):
        mirror.faults.add(Fault.stall_after(-1))
        for _ in range(5):
            assert run.registry.manifest("team/sample", SAMPLE.digest).digest == SAMPLE.digest
        assert len(mirror.requests) == 2


def test_a_mirror_that_corrupts_a_blob_is_not_asked_for_it_again() -> None:
    with mirrored() as (server, mirror, run):
        mirror.faults.add(Fault.flip_bit(0.5, on="blob"))
        assert digest_of(drain(run.registry.blob("team/sample", BLOB))) != BIG.digest
        # This is what the verification does then:
        assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest
        assert len(server.of("blob")) == 1


def test_a_mirror_that_breaks_off_is_left_for_the_rest() -> None:
    with mirrored() as (_, mirror, run):
        mirror.faults.add(Fault.reset_after(0, on="blob"))
        with pytest.raises(NetworkError):
            drain(run.registry.blob("team/sample", BLOB))
        assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest


def test_what_nobody_has_is_told_by_the_registry() -> None:
    with mirrored() as (server, _, run):
        with pytest.raises(NotFoundError, match=server.host):
            run.registry.manifest("team/sample", "nope")
        with pytest.raises(NotFoundError, match=server.host):
            run.registry.manifest("team/sample", digest_of(b"nope"))


def test_wrong_bytes_from_everybody() -> None:
    with mirrored() as (server, mirror, run):
        for each in (server, mirror):
            each.faults.add(Fault.flip_bit(0.5))
        with pytest.raises(ContentError, match="hashes to"):
            run.registry.manifest("team/sample", SAMPLE.digest)


def test_credentials_of_each_for_itself(home: Path, canary: Canary) -> None:
    """The flags are the registry's; a mirror gets what config.json has for the mirror."""
    auth = Auth(scheme="basic", user=canary.user, password=canary.password)
    theirs = Auth(scheme="basic", user="mirror-user", password="mirror-password")
    with (
        Simulator(STORE, auth=auth) as server,
        Simulator(STORE, auth=theirs) as mirror,
        Simulator(STORE, auth=theirs) as stranger,
    ):
        canary.must_not_reach(mirror.requests)
        canary.must_not_reach(stranger.requests)
        config = {"auths": {mirror.host: {"username": theirs.user, "password": theirs.password}}}
        (home / ".docker").mkdir()
        (home / ".docker" / "config.json").write_text(json.dumps(config))
        urls = (stranger.base_url, mirror.base_url)
        options = {"user": canary.user, "password": canary.password, "mirrors": urls}
        with opened(server.host, **options) as run:
            assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest
            assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest
            canary.say("\n".join(run.lines))
        assert [request.kind for request in server.requests] == ["manifest"] * 2
        assert mirror.of("blob")
        assert all("mirror-password" not in str(request.raw) for request in stranger.requests)
