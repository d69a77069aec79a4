"""The OCI image layout."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...model.image import Image
from ...model.manifests import to_json
from ..members import Blob, Member
from .documents import content, layout_index
from .format import Format

OCI_LAYOUT = {"imageLayoutVersion": "1.0.0"}
"""OCI image specification, image-layout.md, "oci-layout file"."""


class OciFormat(Format):
    """A pure OCI image layout (OCI image specification, image-layout.md)."""

    files = re.compile(r"oci-layout|index\.json|blobs/sha(256|512)/[0-9a-f]+")
    folders = re.compile(r"blobs|blobs/sha(256|512)")
    mark = re.compile(r"index\.json")

    def layers(self, images: Sequence[Image]) -> list[Member]:
        """One member for each blob, however often it is referenced."""
        members: dict[str, Member] = {}
        for number, image in enumerate(images):
            for variant in image.variants:
                for served, stored in image.layers(variant):
                    path = stored.blob_path
                    members.setdefault(path, Member(path, Blob(served, stored, number)))
        return list(members.values())

    def documents(self, images: Sequence[Image]) -> list[Member]:
        """Configs, manifests and indexes, then the layout's own two files."""
        # Even if nothing had to be unpacked, layers may need correct media types.
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


FORMAT = OciFormat()
