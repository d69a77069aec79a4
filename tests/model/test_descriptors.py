"""Descriptors: what they say, and how they are written."""

from __future__ import annotations

from typing import Any

import pytest

from dockersave.model.descriptors import OCI_LAYER, parse_descriptor
from dockersave.model.platforms import Platform

LAYER: dict[str, Any] = {
    "mediaType": f"{OCI_LAYER}+gzip",
    "digest": "sha256:" + "0f" * 32,
    "size": 7,
}


def test_descriptors() -> None:
    stated = LAYER | {
        "urls": ["https://a.test/b"],
        "annotations": {"a": "b"},
        "platform": {"os": "linux", "architecture": "arm", "os.version": "1.2"},
    }
    descriptor = parse_descriptor(stated, "it")
    assert descriptor.blob_path == f"blobs/sha256/{'0f' * 32}"
    assert descriptor.hex == "0f" * 32
    assert descriptor.os_version == "1.2"
    assert descriptor.platform == Platform("linux", "arm", "v7")
    assert descriptor.to_json() == {k: v for k, v in stated.items() if k != "platform"}
    plain = parse_descriptor(LAYER | {"urls": None, "annotations": None, "platform": None}, "it")
    assert plain.to_json() == LAYER


@pytest.mark.parametrize(
    ("changes", "is_attestation", "is_foreign"),
    [
        ({}, False, False),
        ({"platform": {"os": "unknown", "architecture": "unknown"}}, True, False),
        ({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}, True, False),
        ({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}, False, True),
        ({"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar"}, False, True),
        ({"urls": ["https://a.test"]}, False, False),
    ],
)
def test_odd_descriptors(changes: dict[str, Any], is_attestation: bool, is_foreign: bool) -> None:
    descriptor = parse_descriptor(LAYER | changes, "it")
    assert descriptor.is_attestation is is_attestation
    assert descriptor.is_foreign is is_foreign
