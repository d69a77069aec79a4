"""The documents that formats share: `manifest.json`, `repositories`, `index.json`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ...model.descriptors import IMAGE_NAME, OCI_INDEX, REF_NAME, Descriptor
from ...model.image import Image, Variant
from ...model.manifests import to_json
from ...values import replace
from ..members import Document

Paths = Callable[[Variant], tuple[str, list[str]]]
"""Returns the paths of a variant's config and its layers."""


def docker_manifest(images: Sequence[Image], paths: Paths) -> list[Document]:
    """The member `manifest.json`: one entry for each config, with all its names.

    Docker expects a layer for each diff_id and skips those that it has, so missing layers are
    listed, too; `LayerSources` describes them, as in `docker save`.

    Args:
        images: those in the archive.
        paths: returns the paths of a variant.
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
    """The member `repositories`: name → tag → the variant's id from `identify`.

    Images without a tag are left out. If none is left, there is no such member.
    """
    names: dict[str, dict[str, str]] = {}
    for image in images:
        top = identify(image.primary)
        if image.reference.tag and top:
            names.setdefault(image.reference.familiar_name, {})[image.reference.tag] = top
    return [Document("repositories", to_json(names))] if names else []


def familiar_tag(image: Image) -> str:
    """The image's name as Docker shows it, with its tag; empty if saved by digest only."""
    reference = image.reference
    return f"{reference.familiar_name}:{reference.tag}" if reference.tag else ""


def layout_index(images: Sequence[Image], *, companions: bool = False) -> Document:
    """The member `index.json` of an OCI layout: one descriptor for each name.

    Args:
        images: those in the archive.
        companions: whether what is attached to the images has names, too.
    """
    descriptors: list[dict[str, Any]] = []
    names: dict[str | None, set[str]] = {}
    for image in images:
        names.setdefault(image.reference.tag, set()).add(image.reference.name)
    for image in images:
        reference, config, root = image.reference, image.primary.config, image.root
        if reference.tag:
            annotations = {
                IMAGE_NAME: f"{reference.name}:{reference.tag}",
                REF_NAME: reference.tag
                if len(names[reference.tag]) == 1
                else _reference_name(image),
            }
        else:
            annotations = {IMAGE_NAME: f"{reference.name}@{root.digest}"}
        descriptor = Descriptor(root.media_type, root.digest, root.size, (), annotations).to_json()
        if not image.indexes:
            descriptor["platform"] = config.stated
        if descriptor not in descriptors:
            descriptors.append(descriptor)
    named = (each for image in images for each in image.companions if each.tag)
    for companion in named if companions else ():
        notes = {REF_NAME: companion.tag}
        descriptor = replace(companion.descriptor, annotations=notes).to_json()
        if descriptor not in descriptors:
            descriptors.append(descriptor)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
    return Document("index.json", to_json(document))


def _reference_name(image: Image) -> str:
    """Distinguishes an image from others with the same tag: `skopeo copy oci-archive:FILE:THIS`.

    Readers of `ref.name` take the first of equal ones. This is its full name, if the grammar allows
    (OCI image specification, annotations.md), or its digest.
    """
    name = f"{image.reference.name}:{image.reference.tag}"
    return name if _REFERENCE_NAME.fullmatch(name) else image.root.digest


_COMPONENT = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_REFERENCE_NAME = re.compile(f"{_COMPONENT}(?:/{_COMPONENT})*")
