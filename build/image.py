"""An image of the static binary alone, for every architecture, in one archive.

It is the image of the Dockerfile in `dockersave --help boot`, written by the code that writes
everything else here, so any engine loads it.

Source: OCI image specification 1.1, config.md, manifest.md, image-index.md.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from dockersave.archive.formats import format_named
from dockersave.archive.tar import lay_out
from dockersave.archive.write.file import ArchiveFile
from dockersave.model.descriptors import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from dockersave.model.digest import digest_of
from dockersave.model.image import Image, Variant
from dockersave.model.manifests import Index, Manifest, parse_config, parse_document, to_json
from dockersave.model.platforms import Platform
from dockersave.model.reference import Reference

WORKDIR = "images"


def write(
    output: Path, binaries: Mapping[str, Path], version: str, created: str, labels: dict[str, str]
) -> None:
    """Write `dockersave:VERSION`, an index, and beside it for Docker `dockersave:VERSION-ARCH`.

    Docker's classic store knows no indexes and takes the first architecture for the whole, so there
    each has a name of its own if there are several. Other engines take this machine's.

    Args:
        output: the archive.
        binaries: architecture, in Debian's names -> the static binary.
        version: of the images.
        created: their date and time, as in RFC 3339.
        labels: of the images.
    """
    layers = {arch: layer(binary.read_bytes()) for arch, binary in binaries.items()}
    variants = {arch: _variant(arch, body, created, labels) for arch, body in layers.items()}
    whole = Image(_name(version), tuple(variants.values()), indexes=(_index(variants),))
    images = [whole]
    if len(variants) > 1:
        images += [Image(_name(f"{version}-{arch}"), (each,)) for arch, each in variants.items()]
    # Not in the index: `ctr images import` fails on an image of another architecture alone.
    oci, docker = format_named("oci").documents([whole]), format_named("docker").documents(images)
    documents = {document.path: document for document in (*docker, *oci)}
    members = format_named("oci").layers([whole])
    blobs = {digest_of(body): body for body in layers.values()}
    archive = ArchiveFile(str(output))
    with closing(archive):
        for entry, place, _ in archive.lay(lay_out(members, documents.values())):
            place.write(0, blobs[entry.member.digest])
        archive.commit()


def layer(binary: bytes) -> bytes:
    """Return the only layer: the binary, and the directory where it writes."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        program = tarfile.TarInfo("dockersave")
        program.mode, program.size = 0o755, len(binary)
        archive.addfile(program, io.BytesIO(binary))
        folder = tarfile.TarInfo(WORKDIR)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
    return content.getvalue()


def _name(tag: str) -> Reference:
    # A local version (PEP 440) has a sign that no tag has.
    return Reference.parse(f"dockersave:{tag.replace('+', '-')}")


def _platform(arch: str) -> dict[str, str]:
    platform = Platform.parse(arch)
    named = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return {key: value for key, value in named.items() if value}


def _variant(arch: str, layer: bytes, created: str, labels: dict[str, str]) -> Variant:
    config = to_json(
        {
            **_platform(arch),
            "created": created,
            "config": {
                "Entrypoint": ["/dockersave"],
                "WorkingDir": f"/{WORKDIR}",
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
            "history": [{"created": created, "created_by": "make release"}],
        }
    )
    manifest = _document(
        OCI_MANIFEST,
        {"config": _descriptor(OCI_CONFIG, config), "layers": [_descriptor(OCI_LAYER, layer)]},
    )
    if not isinstance(manifest, Manifest):
        raise TypeError("a manifest was not read as one")
    return Variant(manifest, config, parse_config(config, layers=1))


def _index(variants: Mapping[str, Variant]) -> Index:
    entries = [
        {**_descriptor(OCI_MANIFEST, each.manifest.body), "platform": _platform(arch)}
        for arch, each in variants.items()
    ]
    index = _document(OCI_INDEX, {"manifests": entries})
    if not isinstance(index, Index):
        raise TypeError("an index was not read as one")
    return index


def _document(media_type: str, content: dict[str, Any]) -> Manifest | Index:
    body = to_json({"schemaVersion": 2, "mediaType": media_type, **content})
    return parse_document(body, digest_of(body), media_type)


def _descriptor(media_type: str, body: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(body), "size": len(body)}
