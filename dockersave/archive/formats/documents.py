"""The documents that formats share: `manifest.json`, `repositories`, `index.json`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ...model.image import Image, Variant
from ...model.manifests import OCI_INDEX, Descriptor, to_json
from ..members import Document

Paths = Callable[[Variant], tuple[str, list[str]]]
"""Tells where a variant's config and its layers are."""


def docker_manifest(images: Sequence[Image], paths: Paths) -> list[Document]:
    """The member `manifest.json`: one entry for each config, all its names together.

    Docker wants a layer for each diff_id and skips those that it has, so layers that are left
    out are in it, too; `LayerSources` tells of them, as `docker save` does.

    Args:
        images: what the archive holds.
        paths: where things are.
    """
    entries: dict[str, dict[str, Any]] = {}
    for image in images:
        config, layers = paths(image.primary)
        entry = entries.setdefault(config, {"Config": config, "RepoTags": [], "Layers": layers})
        if sources := _layer_sources(image.primary):
            entry["LayerSources"] = sources
        name = familiar_tag(image)
        if name and name not in entry["RepoTags"]:
            entry["RepoTags"].append(name)
    return [Document("manifest.json", to_json(list(entries.values())))]


def _layer_sources(variant: Variant) -> dict[str, Any]:
    layers = zip(variant.config.diff_ids, variant.manifest.layers, strict=True)
    return {diff_id: layer.to_json() for diff_id, layer in layers if layer.is_foreign}


def repositories(images: Sequence[Image], identify: Callable[[Variant], str]) -> list[Document]:
    """The member `repositories`: name → tag → what `identify` says of the variant.

    Images without a tag are not in it, and there is none if nothing would be.
    """
    names: dict[str, dict[str, str]] = {}
    for image in images:
        top = identify(image.primary)
        if image.reference.tag and top:
            names.setdefault(image.reference.familiar_name, {})[image.reference.tag] = top
    return [Document("repositories", to_json(names))] if names else []


def familiar_tag(image: Image) -> str:
    """The image's name as Docker shows it, with its tag; empty for one saved by digest alone."""
    reference = image.reference
    return f"{reference.familiar_name}:{reference.tag}" if reference.tag else ""


def layout_index(images: Sequence[Image]) -> Document:
    """The member `index.json` of an OCI layout: one descriptor for each name."""
    descriptors: list[dict[str, Any]] = []
    names: dict[str | None, set[str]] = {}
    for image in images:
        names.setdefault(image.reference.tag, set()).add(image.reference.name)
    for image in images:
        reference, config, root = image.reference, image.primary.config, image.root
        if reference.tag:
            annotations = {
                "io.containerd.image.name": f"{reference.name}:{reference.tag}",
                "org.opencontainers.image.ref.name": reference.tag
                if len(names[reference.tag]) == 1
                else _reference_name(image),
            }
        else:
            annotations = {"io.containerd.image.name": f"{reference.name}@{root.digest}"}
        descriptor = Descriptor(root.media_type, root.digest, root.size, (), annotations).to_json()
        if not image.indexes:
            descriptor["platform"] = config.stated
        if descriptor not in descriptors:
            descriptors.append(descriptor)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
    return Document("index.json", to_json(document))


def _reference_name(image: Image) -> str:
    """What tells an image from others with the same tag: `skopeo copy oci-archive:FILE:THIS`.

    Those that look at `ref.name` take the first of several that are the same. Its full name, as
    far as the grammar allows that (OCI image specification, annotations.md); else its digest.
    """
    name = f"{image.reference.name}:{image.reference.tag}"
    return name if _REFERENCE_NAME.fullmatch(name) else image.root.digest


_COMPONENT = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_REFERENCE_NAME = re.compile(f"{_COMPONENT}(?:/{_COMPONENT})*")
