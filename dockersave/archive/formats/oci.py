"""The OCI image layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from ...model.image import Image
from ...model.manifests import to_json
from ..members import Document, Layer
from .documents import layout_index
from .format import Format

OCI_LAYOUT = {"imageLayoutVersion": "1.0.0"}
"""OCI image specification, image-layout.md, "oci-layout file"."""


class OciFormat(Format):
    """A pure OCI image layout (OCI image specification, image-layout.md)."""

    files = re.compile(r"oci-layout|index\.json|blobs/sha(256|512)/[0-9a-f]+")
    folders = re.compile(r"blobs|blobs/sha(256|512)")
    mark = re.compile(r"index\.json")
    names_companions: ClassVar[bool] = True
    """Whether what is attached to images has names: then it can be pushed, but engines that load
    every name, such as containerd, take it for images."""

    def layers(self, images: Sequence[Image]) -> list[Layer]:
        """One member for each blob, however often it is referenced."""
        layers: dict[str, Layer] = {}
        for number, image in enumerate(images):
            for artifact in image.artifacts:
                for served, stored in image.layers(artifact):
                    path = stored.blob_path
                    layers.setdefault(path, Layer(path, served, stored, number))
        return list(layers.values())

    def documents(self, images: Sequence[Image]) -> list[Document]:
        """Configs, manifests and indexes, then the layout's own two files."""
        # Even if nothing had to be unpacked, layers may need correct media types.
        images = [image.with_sizes({}) for image in images]
        bodies: dict[str, bytes] = {}
        for image in images:
            for artifact in image.artifacts:
                bodies[artifact.manifest.config.blob_path] = artifact.config_body
            for artifact in image.artifacts:
                bodies[artifact.manifest.descriptor.blob_path] = artifact.manifest.body
            for index in reversed(image.indexes):
                bodies[index.descriptor.blob_path] = index.body
            for companion in image.companions:
                bodies[companion.descriptor.blob_path] = companion.body
        layer_paths = {layer.path for layer in self.layers(images)}
        return [
            *(Document(path, body) for path, body in bodies.items() if path not in layer_paths),
            layout_index(images, companions=self.names_companions),
            Document("oci-layout", to_json(OCI_LAYOUT)),
        ]


FORMAT = OciFormat()
