"""Images, what is kept with them, and what is refused with an explanation."""

from __future__ import annotations

import json
import tracemalloc
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import pytest

from dockersave.archive.formats import format_named
from dockersave.budget import Budget
from dockersave.errors import ContentError, NotFoundError
from dockersave.limits import LIMITS
from dockersave.model.image import Image
from dockersave.model.platforms import Platform
from dockersave.model.reference import Reference
from dockersave.resolving.resolver import Resolver
from tests.archive.resolved_images import OfflineRegistry, resolved
from tests.images import Document, image, index, random_layer
from tests.images.documents import OCI_CONFIG, OCI_EMPTY, artifact, attestation, config_document
from tests.images.layers import Blob

SAMPLE = Reference.parse("sample:latest")
LAYER = random_layer(1000)
IMAGE = image([LAYER], flavor="oci")
ARM = image([LAYER], "linux/arm64", "oci")
SOCI = "application/vnd.amazon.soci.index.v2+json"
LINUX = {"os": "linux", "architecture": "amd64"}
HELM = artifact("application/vnd.cncf.helm.config.v1+json", {"name": "x"}, "a/tar+gzip", b"chart")
WASM = artifact("application/vnd.wasm.config.v0+json", {"os": "wasip1"}, "application/wasm", b"\0a")
SIGNATURE = image(
    [replace(LAYER, media_type="application/vnd.dev.cosign.simplesigning.v1+json")], flavor="oci"
)
BUNDLE = artifact("application/vnd.cnab.config.v1+json", {"name": "x"}, "a/json", b"{}")
SOCI_INDEX = artifact(OCI_EMPTY, {}, SOCI, b"ztoc")
LOOSE = artifact("application/json", {"no": "image"}, "text/plain", b"text")
CACHE = "application/vnd.buildkit.cacheconfig.v0"
BESIDE = {
    "helm": HELM, "wasm": WASM, "signature": SIGNATURE, "cnab": BUNDLE, "soci": SOCI_INDEX,
    "loose": LOOSE, "attestation": attestation(IMAGE), "nested": index([HELM, SOCI_INDEX], "oci"),
    "fallback": image([LAYER], flavor="oci", config={"schemaVersion": "v1.0.0"}),
}  # fmt: skip


def listed(*entries: tuple[Document, Mapping[str, object]]) -> Document:
    """An index whose entries say something else than usual; None takes a key away."""
    manifests = []
    for child, changes in entries:
        entry = child.descriptor() | dict(changes)
        manifests.append({key: value for key, value in entry.items() if value is not None})
    return index([child for child, _ in entries], "oci", {"manifests": manifests})


def bodies(found: Image) -> set[bytes]:
    """The documents of an archive."""
    members = format_named("oci").documents([found])
    return {member.body for member in members}


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/json", "text/html", ""])
def test_an_image_of_2015(kind: str) -> None:
    """moby #48361: python:3.5.1-alpine and others."""
    old = image([LAYER], config_type=kind)
    assert resolved(listed((old, {"platform": None}))).root.digest == old.digest
    found = resolved(index([old, ARM], "oci"), platform="all")
    assert (len(found.variants), len(found.attached)) == (2, 0)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (HELM, "a Helm chart"),
        (SIGNATURE, "simplesigning"),
        (LOOSE, "artifact of the type application/json"),
        (artifact("text/html", "not an object", "a/b", b"x"), "artifact"),
        (image([LAYER], config_type="application/vnd.docker.plugin.v1+json"), "plugin for Docker"),
        (image([LAYER], config_type=CACHE), "a build cache of BuildKit"),
        (index([HELM, SOCI_INDEX], "oci"), "a Helm chart .* and a SOCI index"),
        (listed((HELM, {"platform": None})), "the index holds no container image but a Helm"),
        (listed((SOCI_INDEX, {"platform": LINUX, "artifactType": SOCI})), "a SOCI index"),
        (index([index([HELM], "oci")], "oci"), "a Helm chart"),
    ],
)
def test_what_is_no_image_says_what_it_is(document: Document, said: str) -> None:
    for platform in ("linux/amd64", "all"):
        with pytest.raises(ContentError, match=said):
            resolved(document, platform=platform)


def test_a_build_cache_is_no_index_of_images() -> None:
    """buildx #1007: its entries are layers, which are not there as manifests."""
    config = Blob.of(CACHE, b'{"layers":[]}')
    entries = [dict(blob.descriptor()) for blob in (LAYER, config)]
    for manifests, said in ((entries, "a build cache of BuildKit"), (entries[:1], "layers")):
        cache = index([], "oci", {"manifests": manifests})
        cache = replace(cache, blobs=(LAYER, config))
        for platform in ("linux/amd64", "all"):
            offline = OfflineRegistry(cache)
            resolver = Resolver(offline, SAMPLE)
            with pytest.raises(ContentError, match=said):
                resolver.all_platforms() if platform == "all" else resolver.image(None)
            assert offline.asked == ["latest"]


@pytest.mark.parametrize("name", BESIDE)
def test_a_mirror_keeps_what_lies_beside_an_image(name: str) -> None:
    beside = BESIDE[name]
    for children in ([IMAGE, beside], [beside, IMAGE]):
        unstated = {"platform": None} if name == "fallback" else {}
        document = listed(*((child, unstated if child is beside else {}) for child in children))
        found = resolved(document, platform="all")
        assert found.root.digest == document.digest
        assert found.primary.manifest.descriptor.digest == IMAGE.digest
        kept = bodies(found)
        for part in document.walk():
            assert part.manifest in kept
        wanted = {blob.digest for part in document.walk() for blob in part.blobs}
        layers = {stored.digest for each in found.artifacts for _, stored in found.layers(each)}
        configs = {each.manifest.config.digest for each in found.artifacts}
        assert wanted <= layers | configs
        assert resolved(document).root.digest == IMAGE.digest


def test_a_mirror_keeps_blobs_and_documents_of_unknown_types() -> None:
    blob = Blob.of("application/x-thing", b"a thing")
    kind = "application/vnd.oci.artifact.manifest.v1+json"
    body = json.dumps({"mediaType": kind, "blobs": [dict(blob.descriptor())]}).encode()
    unknown = Document(kind, body, blobs=(blob,))
    entries = [IMAGE.descriptor(), unknown.descriptor(), dict(blob.descriptor())]
    entries += [dict(LAYER.descriptor()) | {"mediaType": ""}]
    document = index([IMAGE, unknown], "oci", {"manifests": entries})
    found = resolved(document, platform="all")
    layers = {stored.digest for each in found.artifacts for _, stored in found.layers(each)}
    assert {blob.digest, LAYER.digest} <= layers
    assert unknown.manifest in bodies(found)
    assert resolved(document).root.digest == IMAGE.digest


def test_an_artifact_with_the_platform_of_its_image_is_no_image() -> None:
    """soci-snapshotter #1695, wherever in the index it is, and whether or not the index says so."""
    for changes in ({"platform": LINUX}, {"platform": LINUX, "artifactType": SOCI}):
        document = listed((SOCI_INDEX, changes), (IMAGE, {"artifactType": OCI_CONFIG}))
        assert resolved(document).root.digest == IMAGE.digest
        assert resolved(document, platform="all").primary.manifest.descriptor.digest == IMAGE.digest


@pytest.mark.parametrize(
    "platform",
    [
        {}, {"os": "", "architecture": ""}, {"architecture": "amd64"}, {"os": "linux"}, None,
        {"architecture": "AMD64", "os": "Linux"}, {"architecture": "x86_64", "OS": "LINUX"},
        {"os": None, "architecture": None, "variant": None}, {"architecture": "amd64", "os": ""},
    ],
)  # fmt: skip
def test_platforms_as_go_reads_them(platform: dict[str, object] | None) -> None:
    """buildkit #1550, moby #46495: in the index, and in the config."""
    document = listed((ARM, {}), (IMAGE, {"platform": platform}))
    assert resolved(document).root.digest == IMAGE.digest
    config = config_document([LAYER], "linux/amd64") | {"os": None, "architecture": None}
    lone = image([LAYER], flavor="oci", config=config | (platform or {}))
    assert resolved(lone).root.digest == lone.digest
    assert resolved(listed((lone, {"platform": {}}))).root.digest == lone.digest


def test_the_platforms_of_nested_indexes_are_named() -> None:
    document = index([index([ARM], "oci"), HELM], "oci")
    with pytest.raises(NotFoundError) as caught:
        resolved(document, platform="linux/s390x")
    assert "linux/arm64" in caught.value.hint


def test_an_index_in_two_indexes_is_kept_once_and_behind_both() -> None:
    inner = index([IMAGE], "oci")
    middle = index([inner, ARM], "oci")
    outer = index([inner, middle, inner, middle], "oci")
    offline = OfflineRegistry(outer)
    found = Resolver(offline, SAMPLE).all_platforms()
    digests = [each.descriptor.digest for each in found.indexes]
    assert digests == [outer.digest, middle.digest, inner.digest]
    assert len(offline.asked) == len(set(offline.asked))
    unpacked = replace(found, unpacked=True).with_sizes({LAYER.diff_id: LAYER.unpacked})
    named = {unpacked.root.digest}
    for each in unpacked.indexes:
        assert each.descriptor.digest in named
        named |= {entry.digest for entry in each.manifests}
    assert {each.manifest.descriptor.digest for each in unpacked.artifacts} <= named


def bomb(many: int) -> Document:
    """Every child its own: `many` indexes with `many` images each."""
    config = {"os": "linux", "architecture": "s390x", "rootfs": {"type": "layers", "diff_ids": []}}
    images = [
        [image([], flavor="oci", config=config, top={"x": f"{a} {b}"}) for b in range(many)]
        for a in range(many)
    ]
    return index([listed(*((child, {"platform": None}) for child in row)) for row in images], "oci")


def test_an_index_bomb_ends() -> None:
    document: Document = IMAGE
    document = listed((document, {"platform": {"os": "linux", "architecture": "s390x"}}))
    for _ in range(LIMITS.index_depth):
        document = replace(index([document] * 300, "oci"), children=(document,))
    for platform in (None, "all"):
        offline = OfflineRegistry(document)
        resolver = Resolver(offline, SAMPLE)
        if platform:
            resolver.all_platforms()
        else:
            with pytest.raises(NotFoundError):
                resolver.image(Platform("linux", "arm64"))
        assert len(offline.asked) < 10


def test_a_bomb_of_different_documents_ends() -> None:
    document = bomb(47)  # 2209 images, each with a manifest, all with one config
    for platform in (None, "all"):
        offline = OfflineRegistry(document)
        resolver = Resolver(offline, SAMPLE)
        with pytest.raises(ContentError, match="list too many documents"):
            resolver.all_platforms() if platform else resolver.image(Platform("linux", "arm64"))
        assert len(offline.asked) <= LIMITS.document_requests + LIMITS.document_requests_image


def test_the_documents_of_a_run_have_one_budget() -> None:
    """Twenty configs of eight megabytes, in one index or in twenty images."""
    large = [
        image(
            [LAYER], flavor="oci", config=config_document([LAYER], labels={"x": str(n) * (7 << 20)})
        )
        for n in range(10)
    ]
    with pytest.raises(ContentError, match="bytes together"):
        resolved(index(large, "oci"), platform="all")
    budget = Budget()
    resolvers = [Resolver(OfflineRegistry(each), SAMPLE, budget=budget) for each in large]
    with pytest.raises(ContentError, match="bytes together"):
        deque((resolver.image(None) for resolver in resolvers), 0)
    assert Resolver(OfflineRegistry(large[0]), SAMPLE).image(None)


def test_no_more_of_a_document_is_kept_than_is_used() -> None:
    history = [{"created_by": f"step {n}", "empty_layer": True} for n in range(15_000)]
    document = image([LAYER], flavor="oci", config=config_document([LAYER]) | {"history": history})
    offline = OfflineRegistry(document)
    tracemalloc.start()
    try:
        found = Resolver(offline, SAMPLE).image(None)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.primary.config.diff_ids
    assert kept < 2 * len(document.config) + (1 << 20)
