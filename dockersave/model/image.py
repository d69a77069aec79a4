"""A resolved image: everything except its layers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ..errors import UsageError
from ..spelling import argument
from ..values import dataclass, replace
from .descriptors import (
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_FOREIGN_LAYER,
    OCI_LAYER,
    Descriptor,
)
from .digest import digest_of
from .manifests import Config, Index, Manifest, to_json
from .platforms import Platform
from .reference import Reference


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a manifest describes: an image for one platform, or what is attached to one.

    Args:
        manifest: the manifest.
        config_body: its config, byte for byte.
    """

    manifest: Manifest
    config_body: bytes

    def unpacked_layers(self) -> list[Descriptor]:
        """Its layers as `gunzip` stores them, bottom first; those of no image stay as they are.

        Each is named by its diff_id; its size is -1, unless it is served unpacked.
        """
        return list(self.manifest.layers)


@dataclass(frozen=True, slots=True)
class Variant(Artifact):
    """The image for one platform.

    Args:
        manifest: the manifest.
        config_body: its config, byte for byte.
        config: the config, read.
    """

    config: Config

    def unpacked_layers(self) -> list[Descriptor]:
        """See `Artifact.unpacked_layers`."""
        of_docker = self.manifest.descriptor.media_type == DOCKER_MANIFEST
        layers = zip(self.manifest.layers, self.config.diff_ids, strict=True)
        return [_unpacked(layer, diff_id, of_docker=of_docker) for layer, diff_id in layers]


@dataclass(frozen=True, slots=True)
class Companion:
    """A document beside an image, about it or around it.

    Args:
        tag: what it is called, such as `sha256-<hex>.sig`; empty for an index around the image,
            which has no name.
        descriptor: of the document.
        body: its bytes.
    """

    tag: str
    descriptor: Descriptor
    body: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """The image of a reference.

    Args:
        reference: as requested by the user.
        variants: the images to save; engines without indexes load the first one.
        attached: attestations and the like, which are saved with them.
        indexes: the indexes to keep, outermost first; none if one platform is saved.
        absent: digests of layers that are left out (foreign ones, unless requested).
        unpacked: whether the layers are stored without compression.
        asked: the digest of what the reference named, which may be an index around it.
        signers: fingerprints of the keys with which it was found to be signed.
        companions: documents that lead to signatures and the like.
        unreadable: digests of entries of the indexes that are left out: schema 1 manifests.
        image_id: of its config, if it came without a manifest: one was made, which nobody knows.
    """

    reference: Reference
    variants: tuple[Variant, ...]
    attached: tuple[Artifact, ...] = ()
    indexes: tuple[Index, ...] = ()
    absent: frozenset[str] = frozenset()
    unpacked: bool = False
    asked: str = ""
    signers: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()
    unreadable: tuple[str, ...] = ()
    image_id: str = ""

    @property
    def digest(self) -> str:
        """The digest that it is known by: of what its name refers to, or of its config."""
        return self.image_id or self.root.digest

    @property
    def primary(self) -> Variant:
        """The variant for engines without indexes."""
        return self.variants[0]

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms of all saved images, each once, the primary's first."""
        return tuple(dict.fromkeys(variant.config.platform for variant in self.variants))

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All that is saved: the images, then what is attached to them."""
        return (*self.variants, *self.attached)

    @property
    def root(self) -> Descriptor:
        """The manifest or index that the image's name refers to."""
        return self.indexes[0].descriptor if self.indexes else self.primary.manifest.descriptor

    def stored(self, artifact: Artifact) -> list[tuple[Descriptor, Descriptor]]:
        """The layers of an artifact as they are served and as they are stored, bottom first.

        Those that are left out are named as they are served.
        """
        layers = artifact.manifest.layers
        stored = artifact.unpacked_layers() if self.unpacked else layers
        return [
            (layer, layer if layer.digest in self.absent else other)
            for layer, other in zip(layers, stored, strict=True)
        ]

    def layers(self, artifact: Artifact) -> list[tuple[Descriptor, Descriptor]]:
        """As `stored`, without layers that are left out."""
        return [pair for pair in self.stored(artifact) if pair[0].digest not in self.absent]

    def with_sizes(self, sizes: Mapping[str, int]) -> Image:
        """The image with manifests for its unpacked layers, and indexes for those manifests.

        Args:
            sizes: of each unpacked layer, by its diff_id, in bytes.
        """
        if not self.unpacked:
            return self
        variants = tuple(_with_sizes(self, variant, sizes) for variant in self.variants)
        moved = {
            old.manifest.descriptor.digest: new.manifest.descriptor
            for old, new in zip(self.variants, variants, strict=True)
        }
        indexes: list[Index] = []
        # Inner indexes come after outer ones.
        for index in reversed(self.indexes):
            indexes.insert(0, _with_manifests(index, moved))
            moved[index.descriptor.digest] = indexes[0].descriptor
        return replace(self, unpacked=False, variants=variants, indexes=tuple(indexes))


def foreign_layers(image: Image) -> frozenset[str]:
    """The digests of layers that may not be in the registry."""
    return frozenset(
        layer.digest
        for artifact in image.artifacts
        for layer in artifact.manifest.layers
        if layer.is_foreign
    )


def notes(image: Image) -> list[str]:
    """Notes for the user about a saved image.

    Args:
        image: the image.
    """
    lines = []
    if image.absent:
        are = "layer is" if len(image.absent) == 1 else "layers are"
        lines.append(
            f"{image.reference}: {len(image.absent)} foreign {are} left out; the archive "
            f"loads only where they are available; {argument('foreign')} fetches them"
        )
    lines += [
        f"{image.reference}: {digest} is left out: it is a schema 1 manifest, which was "
        "deprecated in 2017 and cannot be verified"
        for digest in image.unreadable
    ]
    return lines


def check_names(images: Sequence[Image]) -> None:
    """Check that no name refers to two images.

    Raises:
        UsageError: one does.
    """
    known: dict[tuple[str, str], Image] = {}
    for image in images:
        tag = image.reference.tag
        other = known.setdefault((image.reference.name, tag), image) if tag else image
        if other.root.digest != image.root.digest:
            raise UsageError(
                f"{image.reference.familiar_name}:{tag} would name two images in the archive, "
                f"{other.root.digest} and {image.root.digest}",
                "save them into two archives, or drop the tag of one",
            )


def _unpacked(layer: Descriptor, diff_id: str, *, of_docker: bool) -> Descriptor:
    """A layer as stored unpacked, with the correct media type.

    Some engines rely on the media type. A wrong one (a plain tar labelled as compressed, or a type
    that is not a layer's) goes unnoticed with engines that look at the first bytes.
    """
    kind = layer.media_type.lower()
    for suffix in _PACKED:
        kind = kind.removesuffix(suffix)
    if kind not in _PLAIN:
        kind = DOCKER_LAYER if of_docker else OCI_LAYER
    if layer.digest == diff_id:
        return layer if layer.media_type == kind else replace(layer, media_type=kind)
    return Descriptor(kind, diff_id, -1)


_PACKED = ("+zstd", "+gzip", ".gzip", ".zstd")
_PLAIN = frozenset({OCI_LAYER, DOCKER_LAYER, OCI_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER})
"""Uncompressed layers (OCI image specification, layer.md; Docker's schema 2)."""


def _with_sizes(image: Image, variant: Variant, sizes: Mapping[str, int]) -> Variant:
    stored = image.stored(variant)
    if all(now == served for served, now in stored):
        return variant
    layers = tuple(
        layer if layer == served else replace(layer, size=sizes.get(layer.digest, layer.size))
        for served, layer in stored
    )
    document = json.loads(variant.manifest.body)
    document["layers"] = [layer.to_json() for layer in layers]
    body = to_json(document)
    descriptor = replace(variant.manifest.descriptor, digest=digest_of(body), size=len(body))
    manifest = replace(variant.manifest, descriptor=descriptor, body=body, layers=layers)
    return replace(variant, manifest=manifest)


def _with_manifests(index: Index, moved: Mapping[str, Descriptor]) -> Index:
    """An index with replaced manifests."""
    document = json.loads(index.body)
    entries = []
    for entry, descriptor in zip(document["manifests"] or (), index.manifests, strict=True):
        if now := moved.get(entry["digest"]):
            entry |= {"digest": now.digest, "size": now.size}
        # Attestations refer to their image by digest.
        notes = entry.get("annotations") or {}
        changed = {key: moved[value].digest for key, value in notes.items() if value in moved}
        notes |= changed
        entries.append(
            replace(
                descriptor,
                digest=entry["digest"],
                size=entry["size"],
                annotations=descriptor.annotations | changed,
            )
        )
    if document == json.loads(index.body):
        return index
    body = to_json(document)
    descriptor = replace(index.descriptor, digest=digest_of(body), size=len(body))
    return Index(descriptor, body, tuple(entries))
