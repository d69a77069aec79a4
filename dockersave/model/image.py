"""An image as it was resolved: everything but its layers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ..errors import UsageError
from ..values import dataclass, replace
from .digest import digest_of
from .manifests import (
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_FOREIGN_LAYER,
    OCI_LAYER,
    Config,
    Descriptor,
    Index,
    Manifest,
    to_json,
)
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
        """Its layers as `--gunzip` stores them, bottom first; those of no image stay as they are.

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
class Image:
    """What one reference stands for.

    Args:
        reference: what the user asked for.
        variants: the images that are saved; the first is the one that engines without indexes load.
        attached: attestations and the like, which are saved with them.
        indexes: the indexes to keep, outermost first; none when one platform is saved.
        absent: digests of layers that are left out (foreign ones, unless asked for).
        unpacked: whether the layers are stored without compression.
    """

    reference: Reference
    variants: tuple[Variant, ...]
    attached: tuple[Artifact, ...] = ()
    indexes: tuple[Index, ...] = ()
    absent: frozenset[str] = frozenset()
    unpacked: bool = False

    @property
    def primary(self) -> Variant:
        """The variant that the image's name stands for."""
        return self.variants[0]

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """Of all images that are saved, each once, the primary's first."""
        return tuple(dict.fromkeys(variant.config.platform for variant in self.variants))

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All that is saved: the images, then what is attached to them."""
        return (*self.variants, *self.attached)

    @property
    def root(self) -> Descriptor:
        """What the image's name points at."""
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
        """As `stored`, without those that are left out."""
        return [pair for pair in self.stored(artifact) if pair[0].digest not in self.absent]

    def with_sizes(self, sizes: Mapping[str, int]) -> Image:
        """The image whose manifests name its unpacked layers, and its indexes those manifests.

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
        # Those inside come behind those around them.
        for index in reversed(self.indexes):
            indexes.insert(0, _with_manifests(index, moved))
            moved[index.descriptor.digest] = indexes[0].descriptor
        return replace(self, unpacked=False, variants=variants, indexes=tuple(indexes))


def foreign_layers(image: Image) -> frozenset[str]:
    """The digests of the layers that a registry need not have."""
    return frozenset(
        layer.digest
        for artifact in image.artifacts
        for layer in artifact.manifest.layers
        if layer.is_foreign
    )


def notes(image: Image) -> list[str]:
    """What the user should know of an image that is saved, and may not expect.

    Args:
        image: the image.
    """
    lines = []
    if image.absent:
        are = "layer is" if len(image.absent) == 1 else "layers are"
        lines.append(
            f"{image.reference}: {len(image.absent)} foreign {are} left out; the archive "
            "loads only where they are available; --foreign fetches them"
        )
    return lines


def check_names(images: Sequence[Image]) -> None:
    """Make sure that no name stands for two images.

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
    """A layer as it is stored unpacked, labelled as what it is then.

    Some engines go by the label. Where it is wrong (a plain tar that is said to be packed, or a
    type that is no layer's), nobody has noticed as long as others went by the first bytes.
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
"""Layers that are not packed (OCI image specification, layer.md; Docker's schema 2)."""


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
    """An index that names manifests which have become others."""
    document = json.loads(index.body)
    entries = []
    for entry, descriptor in zip(document["manifests"] or (), index.manifests, strict=True):
        if now := moved.get(entry["digest"]):
            entry |= {"digest": now.digest, "size": now.size}
        # Attestations say by its digest which image they are of.
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
