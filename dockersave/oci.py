"""Descriptors, manifests, indexes and configs: parse, validate, select. Pure.

Sources: OCI image specification 1.1 (descriptor.md, manifest.md, image-index.md, config.md)
and Docker's image manifest version 2, schema 2.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .errors import ContentError, NotFoundError, shown
from .limits import LIMITS
from .platforms import Platform
from .verify import is_digest

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
ACCEPT = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)
"""What is asked for, in this order; schema 1 is left out so that registries convert nothing."""

_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_UNSTATED = 1000
"""The rank of an entry that does not say what it is for: after all that do."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What names content: media type, digest and size in bytes (OCI descriptor.md)."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    os_version: str = ""

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.digest.partition(":")[2]

    @property
    def blob_path(self) -> str:
        """Where it lies in an OCI layout: `blobs/sha256/<hex>`."""
        return f"blobs/{self.digest.replace(':', '/')}"

    @property
    def is_attestation(self) -> bool:
        """Whether it is provenance or the like, not an image (BuildKit, `unknown/unknown`)."""
        return (
            self.platform is not None
            and "unknown" in (self.platform.os, self.platform.architecture)
        ) or "vnd.docker.reference.type" in self.annotations

    @property
    def is_foreign(self) -> bool:
        """Whether a registry need not have it: a layer that may only be fetched from its URLs."""
        return ".foreign." in self.media_type or ".nondistributable." in self.media_type

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document."""
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


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its config and its layers, bottom first."""

    descriptor: Descriptor
    body: bytes
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Several images (a manifest list, in Docker's words)."""

    descriptor: Descriptor
    body: bytes
    manifests: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What dockersave needs to know of an image configuration (OCI config.md)."""

    platform: Platform
    diff_ids: tuple[str, ...]
    document: dict[str, Any]


def parse_document(body: bytes, digest: str, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index.

    Args:
        body: its bytes, whose digest has been checked.
        digest: that digest.
        media_type: what the Content-Type header, or the descriptor that led here, says it is;
            empty where nobody said.

    Raises:
        ContentError: it is malformed, contradicts itself or its media type, or is of a kind
            that is no image.
    """
    document = _object(body, "manifest")
    stated = document.get("mediaType", "")
    if not isinstance(stated, str):
        raise ContentError("the manifest's mediaType is no text")
    if document.get("schemaVersion") == 1 or stated.startswith(_SCHEMA_1):
        raise ContentError(
            "the image has a schema 1 manifest, which was deprecated in 2017 and has no digests "
            "of its layers' content",
            "push it again with any current engine",
        )
    if document.get("schemaVersion") != 2:
        raise ContentError("the manifest's schemaVersion is not 2")
    if "manifests" in document and ("layers" in document or "config" in document):
        raise ContentError("the manifest claims to be an index and an image at once")
    kind = INDEX_TYPES if "manifests" in document else MANIFEST_TYPES
    # Registries label documents with generic types; only another kind of document is a lie.
    known = INDEX_TYPES | MANIFEST_TYPES
    for claim in (stated, media_type):
        if claim in known and claim not in kind:
            raise ContentError(f"the manifest is labelled {claim}, which it is not")
    if stated in known and media_type in known and stated != media_type:
        raise ContentError(f"the manifest says {stated}, but is labelled {media_type}")
    if stated and stated not in known:
        raise ContentError(f"the manifest is of the unknown type {shown(stated)}")
    actual = stated or (media_type if media_type in known else "")
    if kind is INDEX_TYPES:
        descriptor = Descriptor(actual or OCI_INDEX, digest, len(body))
        return Index(descriptor, body, _descriptors(document, "manifests", LIMITS.references))
    layers = _descriptors(document, "layers", LIMITS.layers)
    config = parse_descriptor(document.get("config"), "the config")
    descriptor = Descriptor(actual or OCI_MANIFEST, digest, len(body))
    return Manifest(descriptor, body, config, layers)


def check_is_image(manifest: Manifest) -> None:
    """Make sure that a manifest describes a container image.

    Raises:
        ContentError: it is a Helm chart, a WASM module or another artifact.
    """
    kind = manifest.config.media_type
    if kind in CONFIG_TYPES:
        return
    artifact = json.loads(manifest.body).get("artifactType")
    name = artifact if isinstance(artifact, str) and artifact else kind
    raise ContentError(
        f"this is no container image but an artifact of the type {shown(name)}",
        "dockersave saves what engines run; fetch artifacts with oras or helm",
    )


def parse_config(body: bytes, layers: int) -> Config:
    """Read an image configuration.

    Args:
        body: its bytes.
        layers: how many the manifest names.

    Raises:
        ContentError: it is malformed, or does not fit its manifest.
    """
    document = _object(body, "config")
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if diff_ids is None and not layers:
        diff_ids = []
    if not isinstance(diff_ids, list) or not all(map(is_digest, diff_ids)):
        raise ContentError("the config has no list of diff_ids")
    if len(diff_ids) != layers:
        raise ContentError(f"the config names {len(diff_ids)} layers, the manifest {layers}")
    names = [document.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(name, str) for name in names):
        raise ContentError("the config's platform is no text")
    platform = Platform.of(names[0] or "linux", names[1], names[2])
    return Config(platform, tuple(diff_ids), document)


def parse_descriptor(value: object, what: str) -> Descriptor:
    """Read a descriptor (OCI descriptor.md, "Properties").

    Raises:
        ContentError: it is malformed.
    """
    if not isinstance(value, dict):
        raise ContentError(f"{what} is no descriptor")
    media_type, digest, size = value.get("mediaType", ""), value.get("digest"), value.get("size")
    if not isinstance(media_type, str):
        raise ContentError(f"{what} has a media type that is no text")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ContentError(f"{what} has no valid digest")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= LIMITS.blob:
        raise ContentError(f"{what} has no valid size")
    urls = value.get("urls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ContentError(f"{what} has URLs that are no text")
    annotations = value.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(
        isinstance(text, str) for text in annotations.values()
    ):
        raise ContentError(f"{what} has annotations that are no text")
    stated = value.get("platform")
    platform, os_version = None, ""
    if stated is not None:
        if not isinstance(stated, dict):
            raise ContentError(f"{what} has a platform that is no object")
        names = [stated.get(key) or "" for key in ("os", "architecture", "variant", "os.version")]
        if not all(isinstance(name, str) for name in names):
            raise ContentError(f"{what} has a platform that is no text")
        platform = Platform.of(names[0], names[1], names[2])
        os_version = names[3]
    return Descriptor(
        media_type, digest, size, tuple(urls), dict(annotations), platform, os_version
    )


def select(index: Index, wanted: Platform) -> list[Descriptor]:
    """The entries of an index that may hold the image for a platform, best first.

    An entry without a platform, or a nested index, may; it comes after those that say they do.

    Raises:
        NotFoundError: there is none; the hint lists what there is.
    """
    ranked: list[tuple[float, int, Descriptor]] = []
    for position, entry in enumerate(index.manifests):
        if entry.is_attestation:
            continue
        rank = entry.platform.distance(wanted) if entry.platform else _UNSTATED
        if rank is None and entry.media_type in INDEX_TYPES:
            rank = _UNSTATED
        if rank is not None:
            ranked.append((rank, position, entry))
    if not ranked:
        raise no_platform(index, wanted)
    return [entry for _, _, entry in sorted(ranked, key=lambda item: item[:2])]


def no_platform(index: Index, wanted: Platform) -> NotFoundError:
    """What to say when an index has nothing for a platform."""
    platforms = dict.fromkeys(
        str(entry.platform)
        for entry in index.manifests
        if entry.platform and not entry.is_attestation
    )
    there = shown(", ".join(platforms), 1000)
    return NotFoundError(
        f"there is no image for {wanted}",
        f"there is {there}: choose with --platform" if there else "",
    )


def to_json(document: Any) -> bytes:
    """A document as bytes, always the same for the same document."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    # Half a surrogate pair, which JSON can name and UTF-8 cannot, stays the escape that it was.
    return text.encode(errors="backslashreplace")


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        # Engines read UTF-8 and numbers alone: what they take for something else must not pass.
        document = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ContentError(
            f"the {what} is no JSON",
            "something on the way (a proxy, a login page) may answer in the registry's place",
        ) from None
    if not isinstance(document, dict):
        raise ContentError(f"the {what} is no JSON object")
    return document


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")


def _descriptors(document: dict[str, Any], key: str, most: int) -> tuple[Descriptor, ...]:
    entries = document.get(key)
    if not isinstance(entries, list):
        raise ContentError(f"the manifest has no list of {key}")
    if len(entries) > most:
        raise ContentError(f"the manifest has more than {most} {key}")
    return tuple(
        parse_descriptor(entry, f"{key}[{position}]") for position, entry in enumerate(entries)
    )
