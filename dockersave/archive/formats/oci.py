"""Image → members, one class for each format.

A format names the members that hold layers, which are fetched, and then the documents around
them. Layers come first in an archive: with `--gunzip` the documents are not known before the
layers are, and an archive that was cut off has no table of contents and is loaded by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ...model.image import Image, Variant
from ...model.manifests import to_json
from ..members import Blob, Member
from .documents import content, docker_manifest, layout_index, repositories

OCI_LAYOUT = {"imageLayoutVersion": "1.0.0"}
"""OCI image specification, image-layout.md, "oci-layout file"."""


class Format(Protocol):
    """What a format has to say."""

    def layers(self, images: Sequence[Image]) -> list[Member]:
        """The members that hold layers, each path once."""

    def documents(self, images: Sequence[Image]) -> list[Member]:
        """All other members. Called when every layer's size is known."""


class OciFormat:
    """A pure OCI image layout (OCI image specification, image-layout.md)."""

    def layers(self, images: Sequence[Image]) -> list[Member]:
        """One member for each blob, whoever mentions it and however often."""
        members: dict[str, Member] = {}
        for number, image in enumerate(images):
            for variant in image.variants:
                for served, stored in image.layers(variant):
                    path = stored.blob_path
                    members.setdefault(path, Member(path, Blob(served, stored, number)))
        return list(members.values())

    def documents(self, images: Sequence[Image]) -> list[Member]:
        """Configs, manifests and indexes, then the layout's own two files."""
        # Where nothing had to be unpacked, there may still be layers to be labelled rightly.
        images = [image.with_sizes({}) for image in images]
        bodies: dict[str, bytes] = {}
        for image in images:
            for variant in image.variants:
                bodies[variant.manifest.config.blob_path] = variant.config_body
            for variant in image.variants:
                bodies[variant.manifest.descriptor.blob_path] = variant.manifest.body
            for index in reversed(image.indexes):
                bodies[index.descriptor.blob_path] = index.body
        layer_paths = {member.path for member in self.layers(images)}
        return [
            *(content(path, body) for path, body in bodies.items() if path not in layer_paths),
            layout_index(images),
            content("oci-layout", to_json(OCI_LAYOUT)),
        ]


class DockerFormat(OciFormat):
    """A Docker archive and an OCI layout in one, as Docker 25 and later write it."""

    def documents(self, images: Sequence[Image]) -> list[Member]:
        """The OCI layout's, then `manifest.json` and `repositories`."""
        images = [image.with_sizes({}) for image in images]
        return [
            *super().documents(images),
            *docker_manifest(images, _paths),
            *repositories(images, _last_layer),
        ]


def _paths(variant: Variant) -> tuple[str, list[str]]:
    manifest = variant.manifest
    return manifest.config.blob_path, [layer.blob_path for layer in manifest.layers]


def _last_layer(variant: Variant) -> str:
    layers = variant.manifest.layers
    return layers[-1].hex if layers else ""


def _legacy() -> Format:
    from .legacy import LegacyFormat

    return LegacyFormat()


FORMATS: dict[str, Callable[[], Format]] = {
    "docker": DockerFormat,
    "oci": OciFormat,
    "legacy": _legacy,
}
