"""What a manifest describes: an image, or another kind of artifact. Pure.

Sources: moby, distribution/registry.go (`ImageTypes`); OCI image specification 1.1, manifest.md,
"Guidelines for Artifact Usage", and image-index.md, "manifests".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from ..errors import ContentError, shown
from .descriptors import CONFIG_TYPES, INDEX_TYPES, MANIFEST_TYPES, Descriptor
from .manifests import (
    Config,
    Index,
    Manifest,
    UnknownKindError,
    descriptors_of,
    parse_config,
    parse_document,
)

_DEFAULTED = frozenset({"", "application/octet-stream", "application/json", "text/html"})
"""Media type of the configs of images from 2015 and 2016, such as `python:3.5.1-alpine`."""
_ATTESTATION = "application/vnd.in-toto"
_NAMES = (
    ("application/vnd.buildkit.cacheconfig", "a build cache of BuildKit"),
    ("application/vnd.cncf.helm.", "a Helm chart"),
    ("application/vnd.docker.plugin.", "a plugin for Docker"),
    ("application/vnd.dev.cosign.", "a signature"),
    ("application/vnd.amazon.soci.", "a SOCI index"),
    ("application/vnd.cnab.", "a CNAB bundle"),
    (_ATTESTATION, "an attestation"),
)
_LIMIT = 4
"""How many kinds a message lists."""


def may_be_manifest(media_type: str) -> bool:
    """Whether an index's entry of that type may be a manifest or an index, rather than a blob."""
    known = INDEX_TYPES | MANIFEST_TYPES | _DEFAULTED
    return media_type in known or "manifest" in media_type


def may_be_image(manifest: Manifest) -> bool:
    """Whether a manifest may describe an image, judging without its config."""
    kind = manifest.config.media_type
    # Layers are never JSON, but signatures and attestations are.
    data = [layer for layer in manifest.layers if layer.media_type.endswith("json")]
    return kind in CONFIG_TYPES | _DEFAULTED and not (data and len(data) == len(manifest.layers))


def image_config(manifest: Manifest, body: bytes) -> Config | None:
    """Parse a manifest's config.

    Args:
        manifest: its manifest.
        body: its bytes.

    Returns:
        None if it is not an image's.

    Raises:
        ContentError: it is an image's, but malformed, or does not match the manifest.
    """
    if not may_be_image(manifest):
        return None
    if manifest.config.media_type in _DEFAULTED and b'"rootfs"' not in body:
        return None
    return parse_config(body, len(manifest.layers))


def kind_of(manifest: Manifest) -> str:
    """The media type that tells what a manifest is, if it is not an image."""
    if manifest.artifact_type:
        return manifest.artifact_type
    kind = manifest.config.media_type
    if kind in CONFIG_TYPES and manifest.layers and not may_be_image(manifest):
        return manifest.layers[0].media_type
    return kind


def entry_kind(entry: Descriptor) -> str:
    """The media type that tells what an index's entry is, as far as the index states it."""
    if entry.is_attestation:
        return _ATTESTATION
    return "" if entry.artifact_type in CONFIG_TYPES else entry.artifact_type


def check_is_image(manifest: Manifest) -> None:
    """Check that a manifest may describe a container image, before its config is fetched.

    Raises:
        ContentError: it is a Helm chart, a WASM module or another artifact.
    """
    if not may_be_image(manifest):
        raise no_image("this is not a", [kind_of(manifest)])


def no_image(subject: str, kinds: Iterable[str]) -> ContentError:
    """The error for something that is not an image.

    Args:
        subject: `this is not a` or `the index holds no`.
        kinds: the media types of what there is instead.
    """
    names = dict.fromkeys(map(_name, kinds))
    cache = _NAMES[0][1]
    if any(name.startswith(cache) for name in names):
        return ContentError(
            f"{subject} container image but {cache}",
            "it was written by --cache-to; save the image that was pushed with it",
        )
    more = ["more"] if len(names) > _LIMIT else []
    return ContentError(
        f"{subject} container image but {' and '.join([*list(names)[:_LIMIT], *more])}",
        "dockersave saves what engines run; fetch artifacts with oras or helm",
    )


def _name(kind: str) -> str:
    if kind.startswith(("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs")):
        return "layers"
    name = next((name for start, name in _NAMES if kind.startswith(start)), "")
    return f"{name} ({shown(kind)})" if name else f"an artifact of the type {shown(kind)}"


def parse_any(body: bytes, digest: str, media_type: str) -> Manifest | Index:
    """Parse any entry of an index, to keep it with everything that it refers to.

    Args:
        body, digest, media_type: as for `parse_document`.

    Returns:
        A manifest of an unknown type is returned as its own config.

    Raises:
        ContentError: it is malformed.
    """
    try:
        return parse_document(body, digest, media_type)
    except UnknownKindError as unknown:
        own = Descriptor(unknown.media_type, digest, len(body))
        return Manifest(own, body, own, descriptors_of(json.loads(body)))


def parse_entry(
    entry: Descriptor, read: Callable[[], bytes], *, inside: bool
) -> Manifest | Index | None:
    """Parse an entry of an index in an archive.

    Args:
        entry: what the index says of it.
        read: returns its bytes, or raises a `ContentError`.
        inside: whether that is an image's index, which may list anything, not the archive's own.

    Returns:
        None for a blob.

    Raises:
        ContentError: it is malformed, although the index says that it is a manifest or an index.
    """
    if not inside:
        return parse_document(read(), entry.digest, entry.media_type)
    if not may_be_manifest(entry.media_type):
        return None
    try:
        return parse_any(read(), entry.digest, entry.media_type)
    except ContentError:
        if entry.media_type in INDEX_TYPES | MANIFEST_TYPES:
            raise
        return None


def blobs_beside(index: Index, blobs: list[Descriptor]) -> Manifest:
    """The entries of an index that are blobs, as layers of a manifest, which is the index
    itself."""
    return Manifest(index.descriptor, index.body, index.descriptor, tuple(blobs))
