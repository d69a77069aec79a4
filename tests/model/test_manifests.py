"""Manifests, indexes and configs: what is accepted, and what is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from dockersave.errors import ContentError
from dockersave.limits import LIMITS
from dockersave.model import kinds
from dockersave.model import manifests as oci
from dockersave.model.descriptors import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    parse_descriptor,
)
from dockersave.model.digest import digest_of
from dockersave.model.manifests import Index, Manifest
from tests.images import GOOD, INDEXES, ODD, read

DIGEST = "sha256:" + "0f" * 32
CONFIG: dict[str, Any] = {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 7}
LAYER: dict[str, Any] = {"mediaType": f"{OCI_LAYER}+gzip", "digest": DIGEST, "size": 7}
MANIFEST: dict[str, Any] = {
    "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER],
}  # fmt: skip
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [{"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 7}],
}


def parse(document: object, media_type: str = "") -> Manifest | Index:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return oci.parse_document(body, digest_of(body), media_type)


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy with some keys changed, or left out where they are `...`."""
    result = copy.deepcopy(document) | changes
    return {key: value for key, value in result.items() if value is not ...}


# Documents


@pytest.mark.parametrize("name", [*GOOD, *INDEXES])
def test_reads_the_samples(name: str) -> None:
    sample = (GOOD | INDEXES)[name]()
    for media_type in ("", sample.media_type):
        document = oci.parse_document(sample.manifest, sample.digest, media_type)
        assert isinstance(document, Index) == (name in INDEXES)
        assert document.body == sample.manifest
        assert document.descriptor.digest == sample.digest
        assert document.descriptor.size == len(sample.manifest)
        assert document.descriptor.media_type == sample.media_type
        if isinstance(document, Manifest):
            kinds.check_is_image(document)
            config = oci.parse_config(read(sample.blobs[0].data), len(document.layers))
            assert len(config.diff_ids) == len(document.layers)


def test_media_types() -> None:
    """The document's own word counts, then the header's, then what it looks like."""
    for document, docker, generic in (
        (MANIFEST, DOCKER_MANIFEST, OCI_MANIFEST),
        (INDEX, DOCKER_INDEX, OCI_INDEX),
    ):
        silent = changed(document, mediaType=...)
        assert parse(silent).descriptor.media_type == generic
        assert parse(silent, docker).descriptor.media_type == docker
        assert parse(changed(document, mediaType=docker)).descriptor.media_type == docker
        for header in ("application/json", "text/plain", "application/octet-stream", ""):
            assert parse(document, header).descriptor.media_type == generic


# The fault, and words of its message.
MALFORMED: dict[str, tuple[object, str]] = {
    "empty": (b"", "is not valid JSON"),
    "HTML": (b"<html><body>log in</body></html>", "is not valid JSON"),
    "half": (json.dumps(MANIFEST).encode()[:-9], "is not valid JSON"),
    "two": (json.dumps(MANIFEST).encode() * 2, "is not valid JSON"),
    "deep": (b"[" * 90_000, "is not valid JSON"),
    "deep object": (b'{"a":' * 45_000, "is not valid JSON"),
    "many values": (b"[0" + b",0" * 100_000 + b"]", "too many values or"),
    "wide": (b'{"a":"\xf0\x9f\x98\x80' + b"x" * 2_100_000 + b'"}', "too many values or"),
    "UTF-16": (json.dumps(MANIFEST).encode("utf-16"), "is not valid JSON"),
    "UTF-8 with a mark": (json.dumps(MANIFEST).encode("utf-8-sig"), "is not valid JSON"),
    "no UTF-8": (b'{"a": "\xff"}', "is not valid JSON"),
    "NaN": (b'{"schemaVersion": 2, "x": NaN}', "is not valid JSON"),
    "infinite": (b'{"schemaVersion": 2, "x": -Infinity}', "is not valid JSON"),
    "huge number": (b'{"schemaVersion": ' + b"9" * 5000 + b"}", "is not valid JSON"),
    "list": ([MANIFEST], "is not a JSON object"),
    "null": (None, "is not a JSON object"),
    "text": ("manifest", "is not a JSON object"),
    "nothing in it": ({}, "schemaVersion is not 2"),
    "no version": (changed(MANIFEST, schemaVersion=...), "schemaVersion is not 2"),
    "version 3": (changed(MANIFEST, schemaVersion=3), "schemaVersion is not 2"),
    "version as text": (changed(MANIFEST, schemaVersion="2"), "schemaVersion is not 2"),
    "schema 1": ({"schemaVersion": 1, "fsLayers": []}, "schema 1"),
    "schema 1 by type": (
        changed(MANIFEST, mediaType="application/vnd.docker.distribution.manifest.v1+prettyjws"),
        "schema 1",
    ),
    "media type is a number": (changed(MANIFEST, mediaType=1), "mediaType that is not a string"),
    "media type is unknown": (changed(MANIFEST, mediaType="a/b"), "unknown type a/b"),
    "both kinds": (MANIFEST | INDEX, "an index and an image at once"),
    "both kinds, empty": (changed(INDEX, layers=[]), "an index and an image at once"),
    "both kinds, config": (changed(INDEX, config=CONFIG), "an index and an image at once"),
    "image that says index": (changed(MANIFEST, mediaType=OCI_INDEX), "but it is not one"),
    "index that says image": (changed(INDEX, mediaType=DOCKER_MANIFEST), "but it is not one"),
    "neither kind": (changed(MANIFEST, layers=..., config=...), "no list of layers"),
    "no layers": (changed(MANIFEST, layers=...), "no list of layers"),
    "config is null": (changed(MANIFEST, config=None), "the config is not a descriptor"),
    "layers is a list of null": (changed(MANIFEST, layers=[None]), "layers[0] is not a descriptor"),
    "layers is an object": (changed(MANIFEST, layers={}), "no list of layers"),
    "too many layers": (
        changed(MANIFEST, layers=[LAYER] * (LIMITS.layers + 1)),
        f"more than {LIMITS.layers} layers",
    ),
    "no config": (changed(MANIFEST, config=...), "the config is not a descriptor"),
    "config is text": (changed(MANIFEST, config=DIGEST), "the config is not a descriptor"),
    "manifests is a text": (changed(INDEX, manifests="x"), "no list of manifests"),
    "manifests is an object": (changed(INDEX, manifests={}), "no list of manifests"),
}  # fmt: skip

DESCRIPTORS: dict[str, tuple[object, str]] = {
    "null": (None, "is not a descriptor"),
    "list": ([], "is not a descriptor"),
    "no digest": (changed(LAYER, digest=...), "no valid digest"),
    "digest is null": (changed(LAYER, digest=None), "no valid digest"),
    "digest is a path": (changed(LAYER, digest="sha256:../../../etc/passwd"), "no valid digest"),
    "digest with a line": (changed(LAYER, digest=DIGEST + "\n"), "no valid digest"),
    "digest in capitals": (changed(LAYER, digest=DIGEST.upper()), "no valid digest"),
    "unknown algorithm": (changed(LAYER, digest="md5:" + "0" * 32), "no valid digest"),
    "no size": (changed(LAYER, size=...), "no valid size"),
    "negative size": (changed(LAYER, size=-1), "no valid size"),
    "size is a fraction": (changed(LAYER, size=7.0), "no valid size"),
    "size is text": (changed(LAYER, size="7"), "no valid size"),
    "size is true": (changed(LAYER, size=True), "no valid size"),
    "size is too large": (changed(LAYER, size=LIMITS.blob + 1), "no valid size"),
    "media type is a list": (changed(LAYER, mediaType=[]), "mediaType that is not a string"),
    "urls is text": (changed(LAYER, urls="https://a/b"), "URLs that are not strings"),
    "urls has a number": (changed(LAYER, urls=[1]), "URLs that are not strings"),
    "annotations is a list": (
        changed(LAYER, annotations=["a"]),
        "annotations that are not strings",
    ),
    "annotation is a number": (
        changed(LAYER, annotations={"a": 1}),
        "annotations that are not strings",
    ),
    "platform is text": (changed(LAYER, platform="linux/amd64"), "platform that is not an object"),
    "os is a number": (changed(LAYER, platform={"os": 1}), "platform that is not a string"),
    "variant is a list": (
        changed(LAYER, platform={"variant": ["v7"]}),
        "platform that is not a string",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_refuses_documents(name: str) -> None:
    document, message = MALFORMED[name]
    with pytest.raises(ContentError) as info:
        parse(document)
    assert message in str(info.value)
    assert not info.value.transient


@pytest.mark.parametrize("name", DESCRIPTORS)
@pytest.mark.parametrize("place", ["config", "layers[1]", "manifests[1]"])
def test_refuses_descriptors(name: str, place: str) -> None:
    descriptor, message = DESCRIPTORS[name]
    documents = {
        "config": changed(MANIFEST, config=descriptor),
        "layers[1]": changed(MANIFEST, layers=[LAYER, descriptor]),
        "manifests[1]": changed(INDEX, manifests=[*INDEX["manifests"], descriptor]),
    }
    with pytest.raises(ContentError) as info:
        parse(documents[place])
    assert message in str(info.value)
    assert place in str(info.value)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (MANIFEST, OCI_INDEX),
        (MANIFEST, DOCKER_MANIFEST),
        (changed(MANIFEST, mediaType=...), DOCKER_INDEX),
        (INDEX, OCI_MANIFEST),
        (INDEX, DOCKER_INDEX),
        (changed(INDEX, mediaType=...), OCI_MANIFEST),
    ],
)
def test_refuses_what_is_labelled_as_something_else(document: object, media_type: str) -> None:
    with pytest.raises(ContentError, match="labelled"):
        parse(document, media_type)


@pytest.mark.parametrize("name", [name for name in ODD if name in {"helm", "wasm"}])
def test_artifacts_are_explained(name: str) -> None:
    sample = ODD[name]()
    document = oci.parse_document(sample.manifest, sample.digest)
    assert isinstance(document, Manifest)
    with pytest.raises(ContentError, match="this is not a container image but a") as info:
        kinds.check_is_image(document)
    assert "oras or helm" in info.value.hint


def test_an_artifact_says_what_it_is() -> None:
    empty = changed(CONFIG, mediaType="application/vnd.oci.empty.v1+json")
    for artifact, shown in (("a/b\x1b[31m", "a/b?[31m"), ("", empty["mediaType"]), (7, "empty")):
        document = parse(changed(MANIFEST, config=empty, artifactType=artifact))
        assert isinstance(document, Manifest)
        with pytest.raises(ContentError) as info:
            kinds.check_is_image(document)
        assert shown in str(info.value)


# Go's null


def test_null_is_a_list_a_map_or_a_text_without_anything() -> None:
    layer = changed(
        LAYER, mediaType=None, urls=None, annotations=None, platform=None, artifactType=None
    )
    found = parse_descriptor(layer, "it")
    assert (found.media_type, found.urls, found.annotations) == ("", (), {})
    assert (found.platform, found.artifact_type) == (None, "")
    nulls = changed(LAYER, annotations={"a": None}, urls=[None], platform={"os": None})
    found = parse_descriptor(nulls, "it")
    assert (found.urls, found.annotations, found.platform) == ((), {"a": ""}, None)


def test_null_is_an_index_or_an_image_without_anything() -> None:
    found = parse(changed(INDEX, manifests=None, mediaType=None, annotations=None))
    assert isinstance(found, Index)
    assert found.manifests == ()
    found = parse(changed(INDEX, manifests=None, layers=None, config=None), OCI_INDEX)
    assert isinstance(found, Index)
    found = parse(changed(MANIFEST, layers=None, manifests=None, artifactType=None, subject=None))
    assert isinstance(found, Manifest)
    assert found.layers == ()
    read = config({"rootfs": {"diff_ids": None}, "os": None, "history": None, "config": None}, 0)
    assert str(read.platform) == "linux"
    assert read.diff_ids == ()


# Configs


def config(document: object, layers: int = 1) -> oci.Config:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return oci.parse_config(body, layers)


ROOTFS = {"type": "layers", "diff_ids": [DIGEST]}


@pytest.mark.parametrize(
    ("document", "platform"),
    [
        ({}, "linux"),
        ({"os": "windows", "architecture": "amd64"}, "windows/amd64"),
        ({"os": "linux", "architecture": "arm64", "variant": "v8"}, "linux/arm64"),
        ({"os": "linux", "architecture": "arm"}, "linux/arm/v7"),
        ({"os": None, "architecture": "386", "variant": None}, "linux/386"),
    ],
)
def test_configs(document: dict[str, Any], platform: str) -> None:
    parsed = config(document | {"rootfs": ROOTFS})
    assert str(parsed.platform) == platform
    assert parsed.diff_ids == (DIGEST,)


def test_a_config_without_layers_needs_no_rootfs() -> None:
    assert config({}, layers=0).diff_ids == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the config is not a JSON object"),
        (b"\x1f\x8b\x08", "the config is not valid JSON"),
        ({}, "no list of diff_ids"),
        ({"rootfs": []}, "no list of diff_ids"),
        ({"rootfs": {"diff_ids": None}}, "no list of diff_ids"),
        ({"rootfs": {"diff_ids": {}}}, "no list of diff_ids"),
        ({"rootfs": {"diff_ids": ["x"]}}, "no list of diff_ids"),
        ({"rootfs": {"diff_ids": [1]}}, "no list of diff_ids"),
        ({"rootfs": {"diff_ids": []}}, "names 0 layers, but the manifest lists 1"),
        ({"rootfs": {"diff_ids": [DIGEST] * 2}}, "names 2 layers, but the manifest lists 1"),
        ({"rootfs": ROOTFS, "os": 1}, "platform is not a string"),
        ({"rootfs": ROOTFS, "architecture": ["x"]}, "platform is not a string"),
    ],
)
def test_refuses_configs(document: object, message: str) -> None:
    with pytest.raises(ContentError, match=message):
        config(document)


# Writing


def test_to_json() -> None:
    assert oci.to_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    half = oci.to_json({"a": "\ud800"})
    assert half == rb'{"a":"\ud800"}'
    assert json.loads(half) == {"a": "\ud800"}


def test_a_descriptor_of_half_a_pair_can_be_written() -> None:
    descriptor = Descriptor("a/b", DIGEST, 1, annotations={"a": "\udfff"})
    assert json.loads(oci.to_json(descriptor.to_json()))["annotations"] == {"a": "\udfff"}
