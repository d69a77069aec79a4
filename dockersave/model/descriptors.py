"""Descriptors, and the media types of what they refer to. Pure.

Sources: OCI image specification 1.1 (descriptor.md, media-types.md), and Docker's image manifest
version 2, schema 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import ContentError
from ..limits import LIMITS
from ..values import dataclass, field
from .digest import is_digest
from .platforms import Platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})
"""Media types of image configs; `kinds` knows others that occur."""
ACCEPT = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)
"""Accepted types, in this order; schema 1 is left out so that registries convert nothing."""

IMAGE_NAME = "io.containerd.image.name"
"""The annotation with an image's full name; containerd and docker load it under that."""
REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation with an image's tag, or another name (OCI annotations.md)."""

_COMPANION = re.compile(r"sha(256|512)-[0-9a-f]{64,128}(\.[a-z]+)?")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: media type, digest and size in bytes (OCI descriptor.md)."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    os_version: str = ""
    artifact_type: str = ""

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.digest.partition(":")[2]

    @property
    def blob_path(self) -> str:
        """Its path in an OCI layout: `blobs/sha256/<hex>`."""
        return f"blobs/{self.digest.replace(':', '/')}"

    @property
    def name(self) -> str:
        """What an archive's `index.json` calls it: a full name, only a tag, or empty."""
        return self.annotations.get(IMAGE_NAME) or self.annotations.get(REF_NAME) or ""

    @property
    def is_companion(self) -> bool:
        """Whether an entry of `index.json` is no image, but is attached to one: its tag is a digest
        (OCI distribution specification 1.1, "Referrers Tag Schema"; cosign)."""
        is_full = IMAGE_NAME in self.annotations
        return not is_full and _COMPANION.fullmatch(self.name) is not None

    @property
    def is_attestation(self) -> bool:
        """Whether it is an attestation, not an image (BuildKit, `unknown/unknown`)."""
        return (
            self.platform is not None
            and "unknown" in (self.platform.os, self.platform.architecture)
        ) or "vnd.docker.reference.type" in self.annotations

    @property
    def is_foreign(self) -> bool:
        """Whether it may not be in the registry: a layer to be fetched only from its URLs."""
        return ".foreign." in self.media_type or ".nondistributable." in self.media_type

    def to_json(self) -> dict[str, Any]:
        """As in a document."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.urls:
            document["urls"] = list(self.urls)
        if self.annotations:
            document["annotations"] = self.annotations
        return document


def parse_descriptor(value: object, what: str) -> Descriptor:
    """Parse a descriptor (OCI descriptor.md, "Properties").

    Raises:
        ContentError: it is malformed.
    """
    if not isinstance(value, dict):
        raise ContentError(f"{what} is not a descriptor")
    media_type = text_in(value, "mediaType", what)
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ContentError(f"{what} has no valid digest")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= LIMITS.blob:
        raise ContentError(f"{what} has no valid size")
    urls = value.get("urls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str | None) for url in urls):
        raise ContentError(f"{what} has URLs that are not strings")
    annotations = value.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(
        isinstance(text, str | None) for text in annotations.values()
    ):
        raise ContentError(f"{what} has annotations that are not strings")
    platform, os_version = _platform(value.get("platform"), what)
    return Descriptor(
        media_type,
        digest,
        size,
        tuple(filter(None, urls)),
        {key: text or "" for key, text in annotations.items()},
        platform,
        os_version,
        artifact_type(value),
    )


def _platform(stated: object, what: str) -> tuple[Platform | None, str]:
    """A descriptor's platform and OS version; None if not stated.

    Go programs write an empty one if there is none (moby, distribution/pull_v2.go,
    `toOCIPlatform`).
    """
    if stated is None:
        return None, ""
    if not isinstance(stated, dict):
        raise ContentError(f"{what} has a platform that is not an object")
    keys = ("os", "architecture", "variant", "os.version")
    names = [in_any_case(stated, key) or "" for key in keys]
    if not all(isinstance(name, str) for name in names):
        raise ContentError(f"{what} has a platform that is not a string")
    return Platform.of(*names[:3]) if names[1] else None, names[3]


def text_in(document: Mapping[str, Any], key: str, what: str) -> str:
    """A text by its key; empty if there is none.

    Raises:
        ContentError: it is something else.
    """
    text = document.get(key)
    if not isinstance(text, str | None):
        raise ContentError(f"{what} has a {key} that is not a string")
    return text or ""


def artifact_type(document: Mapping[str, Any]) -> str:
    """An artifact's own type, only for messages."""
    text = document.get("artifactType")
    return text if isinstance(text, str) else ""


def in_any_case(document: Mapping[str, Any], key: str) -> Any:
    """A value by its key; Go ignores case."""
    if key in document:
        return document[key]
    return next((value for name, value in document.items() if name.lower() == key), None)
