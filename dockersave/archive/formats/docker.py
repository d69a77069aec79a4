"""The archive of `docker save`, which is also an OCI image layout."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...model.image import Image, Variant
from ..members import Document
from .documents import docker_manifest, repositories
from .oci import OciFormat


class DockerFormat(OciFormat):
    """A Docker archive and an OCI layout in one, as Docker 25 and later write it."""

    files = re.compile(rf"{OciFormat.files.pattern}|manifest\.json|repositories")
    mark = re.compile(r"manifest\.json")
    names_companions = False

    def documents(self, images: Sequence[Image]) -> list[Document]:
        """Those of the OCI layout, then `manifest.json` and `repositories`."""
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


FORMAT = DockerFormat()
