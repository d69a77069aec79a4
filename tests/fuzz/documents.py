"""References, platforms, manifests, indexes and configs."""

from __future__ import annotations

import contextlib
import dataclasses

from hypothesis import strategies as st

from dockersave.archive.formats import format_named
from dockersave.errors import ContentError, NotFoundError, UsageError
from dockersave.model import kinds, reference
from dockersave.model import manifests as oci
from dockersave.model.descriptors import ACCEPT, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from dockersave.model.digest import digest_of, is_digest
from dockersave.model.formats import FORMATS
from dockersave.model.image import Image, Variant
from dockersave.model.platforms import Platform
from tests.fuzz.inputs import json_bytes, near
from tests.fuzz.target import DIGEST, Target, printable

# References and platforms

REFERENCES = [
    "debian", "localhost:5000/a/b:c", f"ghcr.io/a/b:c@{DIGEST}", "[::1]:5/a", "Foo/bar", "a/" * 120,
    "https://a/b", "a" * 64,
]  # fmt: skip


def check_reference(text: str) -> None:
    try:
        found = reference.Reference.parse(text)
    except UsageError as error:
        printable(error)
        return
    assert str(found).isascii()
    assert len(found.name) <= 255
    assert "/" not in found.file_stem
    assert ".." not in found.repository.split("/")
    assert found.digest is None or is_digest(found.digest)


def check_platform(text: str) -> None:
    with contextlib.suppress(UsageError):
        found = Platform.parse(text)
        assert found.os
        assert found.architecture


# Documents

CONFIG = {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 7}
LAYER = {
    "mediaType": f"{OCI_LAYER}+gzip", "digest": DIGEST, "size": 7, "urls": ["https://a/b"],
    "annotations": {"a": "b"},
}  # fmt: skip
MANIFEST = {
    "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER, LAYER],
    "annotations": {"a": "b"}, "artifactType": "a/b",
}  # fmt: skip
PLATFORM = {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"}
INDEX = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 7, "platform": PLATFORM},
        {"mediaType": OCI_INDEX, "digest": DIGEST, "size": 7},
    ],
}
SCHEMA_1 = {"schemaVersion": 1, "fsLayers": [{"blobSum": DIGEST}], "history": []}
LABELS = ["", *ACCEPT, "text/html", "\ud800"]
CONFIG_DOCUMENT = {
    "created": "2024-01-01T00:00:00.123456789Z", "author": "a", "architecture": "arm",
    "variant": "v7", "os": "linux", "os.version": "1", "os.features": ["a"],
    "config": {
        "User": "a", "Env": ["A=b"], "Cmd": ["a"], "Entrypoint": None, "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/a": {}}, "WorkingDir": "/",
        "ArgsEscaped": True, "StopSignal": "9", "StopTimeout": 1, "Shell": ["a"], "OnBuild": [],
        "Healthcheck": {"Test": ["a"], "Interval": 1, "Retries": 2},
    },
    "container_config": {"Hostname": "a"}, "container": "a", "docker_version": "1",
    "rootfs": {"type": "layers", "diff_ids": [DIGEST, DIGEST]},
    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "a", "empty_layer": True}],
}  # fmt: skip


def check_document(case: tuple[bytes, str, str]) -> None:
    body, label, wanted = case
    try:
        found = oci.parse_document(body, digest_of(body), label)
        if isinstance(found, oci.Manifest):
            assert is_digest(found.config.digest)
            kinds.check_is_image(found)
        else:
            assert all(is_digest(entry.digest) for entry in found.manifests)
            assert oci.select(found, Platform.parse(wanted))
    except (ContentError, NotFoundError) as error:
        printable(error)


def check_config(body: bytes) -> None:
    """Whatever is read as a config can be saved in every format."""
    try:
        config = oci.parse_config(body, 2)
    except ContentError as error:
        printable(error)
        return
    manifest = oci.parse_document(_MANIFEST_BODY, DIGEST)
    assert isinstance(manifest, oci.Manifest)
    image = Image(reference.Reference.parse("debian"), (Variant(manifest, body, config),))
    for unpacked in (False, True):
        this = dataclasses.replace(image, unpacked=unpacked)
        for shape in map(format_named, FORMATS):
            assert shape.layers([this])
            assert shape.documents([this.with_sizes({DIGEST: 7})])


_MANIFEST_BODY = oci.to_json(MANIFEST)


TARGETS = {
    "references": Target("dockersave.model.reference._parse", near(REFERENCES), check_reference),
    "platforms": Target(
        "dockersave.model.platforms.Platform.parse",
        near(["linux/arm/v7", "x86_64", "/"]),
        check_platform,
    ),
    "manifests": Target(
        "dockersave.model.manifests.parse_document",
        st.tuples(json_bytes([MANIFEST, SCHEMA_1]), st.sampled_from(LABELS), st.just("amd64")),
        check_document,
    ),
    "indexes": Target(
        "dockersave.model.manifests.parse_document",
        st.tuples(
            json_bytes([INDEX, INDEX, {**MANIFEST, **INDEX}]),
            st.sampled_from(LABELS),
            st.sampled_from(["amd64", "arm", "arm64", "linux/arm/v6", "linux/amd64/v3"]),
        ),
        check_document,
    ),
    "configs": Target(
        "dockersave.model.manifests.parse_config", json_bytes([CONFIG_DOCUMENT]), check_config
    ),
}
