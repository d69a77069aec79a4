"""Layers with an index of what is in them: eStargz, and zstd:chunked of old and new."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence

from dockersave.compression import zstd
from tests.images import Image, Layer, digest_of, image
from tests.images.layers import OCI_LAYER
from tests.rootfs.layers import Item, file, member

Indexed = tuple[Layer, Mapping[str, str]]
"""A layer, and the annotations of its descriptor."""
KINDS = {
    tarfile.REGTYPE: "reg",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
TOC_DIGEST = "containerd.io/snapshot/stargz/toc.digest"
CHUNKED = "io.github.containers.zstd-chunked.manifest-"


def toc(items: Iterable[Item]) -> bytes:
    """Return an index, as both kinds have it."""
    entries = []
    for item in items:
        entry: dict[str, object] = {"type": KINDS[item.type], "name": item.name, "mode": item.mode}
        entry |= {"linkName": item.target} if item.target else {}
        entries.append(entry | ({"size": len(item.data)} if item.data else {}))
        if len(item.data) > 2:
            entries.append({"type": "chunk", "name": item.name, "chunkOffset": 1})
    return json.dumps({"version": 1, "entries": entries}).encode()


def stargz(items: Sequence[Item], index: bytes | None = None) -> Indexed:
    """Build an eStargz layer (stargz-snapshotter, docs/estargz.md).

    Parameters:
        items: what is in it.
        index: what it says about that; the truth by default.
    """
    index = toc(items) if index is None else index
    content = b"".join(map(member, items))
    last = member(file("stargz.index.json", index)) + bytes(1024)
    packed = gzip.compress(content, mtime=0)
    footer = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0%016xSTARGZ" % len(packed)
    packed += gzip.compress(last, mtime=0) + footer + b"\x01\0\0\xff\xff" + bytes(8)
    return _layer("gzip", packed, content + last), {TOC_DIGEST: digest_of(index)}


def chunked(items: Sequence[Item], index: bytes | None = None, prefix: str = CHUNKED) -> Indexed:
    """Build a layer of zstd:chunked (containers/storage, pkg/chunked)."""
    content = b"".join(map(member, items)) + bytes(1024)
    packed = zstd().compress(content)
    index = zstd().compress(toc(items) if index is None else index)
    place = f"{len(packed) + 8}:{len(index)}:{len(index)}:1"
    packed += b"\x50\x2a\x4d\x18" + len(index).to_bytes(4, "little") + index
    notes = {f"{prefix}checksum": digest_of(index), f"{prefix}position": place}
    return _layer("zstd", packed, content), notes


def old_chunked(items: Sequence[Item], index: bytes | None = None) -> Indexed:
    """The same, as podman 4 annotates it."""
    return chunked(items, index, "io.containers.zstd-chunked.manifest-")


WITH: dict[str, Callable[[Sequence[Item], bytes | None], Indexed]] = {
    "eStargz": stargz,
    "zstd:chunked": chunked,
    "zstd:chunked of podman 4": old_chunked,
}


def _layer(compression: str, packed: bytes, plain: bytes) -> Layer:
    return Layer(
        media_type=f"{OCI_LAYER}+{compression}",
        digest=digest_of(packed),
        size=len(packed),
        data=packed,
        diff_id=digest_of(plain),
        unpacked=len(plain),
        compression="gzip" if compression == "gzip" else "zstd",
        entries=(),
    )


def image_of(layers: Sequence[Indexed]) -> Image:
    """Build an image of such layers."""
    described = [
        {**layer.descriptor(), **({"annotations": dict(notes)} if notes else {})}
        for layer, notes in layers
    ]
    return image([layer for layer, _ in layers], flavor="oci", top={"layers": described})
