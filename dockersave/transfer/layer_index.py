"""Indexes that layers bring along: what is in a layer, without the layer.

Sources: stargz-snapshotter, docs/estargz.md ("TOC", "Footer"): a gzip member with a tar of one
file, and a footer with its offset. containers/storage, pkg/chunked: a Zstandard frame at the place
that an annotation names; annotations of older versions begin with `io.containers.`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from ..archive.read.headers import parse_header
from ..archive.tar import BLOCK
from ..compression import Decompressor
from ..errors import ContentError
from ..limits import LIMITS
from ..model.descriptors import Descriptor
from ..model.digest import check, is_digest
from .blobs import Source

_STARGZ = "containerd.io/snapshot/stargz/toc.digest"
_CHUNKED = ("io.github.containers.zstd-chunked.manifest-", "io.containers.zstd-chunked.manifest-")
_FOOTER = 51
_OWN_FILE = "stargz.index.json"
"""The file that has the index."""


def has_index(layer: Descriptor) -> bool:
    """Whether a layer's descriptor names the digest of an index."""
    return any(key in layer.annotations for key in (_STARGZ, *(f"{p}checksum" for p in _CHUNKED)))


def index_of(layer: Descriptor, source: Source) -> tuple[bytes, Sequence[str]]:
    """The index of a layer that has one: a JSON document, which has the digest that is stated.

    Args:
        layer: as its manifest describes it.
        source: of the layer; only ranges of it are read.

    Returns:
        The index, and the names of files that are not in it.

    Raises:
        DockersaveError: it cannot be fetched, is too large, or is not what the manifest states.
    """
    if digest := layer.annotations.get(_STARGZ):
        body = _of_stargz(layer, source)
        _check(body, digest)
        return body, (_OWN_FILE,)
    prefix = next(each for each in _CHUNKED if f"{each}checksum" in layer.annotations)
    # Its offset, its size, and that when unpacked; the last number is its kind.
    place = layer.annotations.get(f"{prefix}position", "").split(":")
    if len(place) != 4 or not all(map(_is_number, place)) or place[3] != "1":
        raise ContentError("the index is at no known place")
    packed = _range(layer, source, int(place[0]), int(place[1]))
    _check(packed, layer.annotations[f"{prefix}checksum"])
    return _unpacked(packed), ()


def _of_stargz(layer: Descriptor, source: Source) -> bytes:
    end = layer.size - _FOOTER
    footer = _range(layer, source, end, _FOOTER)
    # A gzip header with an extra field, whose content begins at byte 16 (RFC 1952, section 2.3).
    offset, magic = footer[16:32], footer[32:38]
    if magic != b"STARGZ" or not all(byte in b"0123456789abcdef" for byte in offset):
        raise ContentError("the layer has no footer of eStargz")
    start = int(offset, 16)
    tar = _unpacked(_range(layer, source, start, end - start))
    header = parse_header(tar[:BLOCK], 0)
    if header.name != _OWN_FILE or len(tar) < BLOCK + header.size:
        raise ContentError("the index of an eStargz layer is something else")
    return tar[BLOCK : BLOCK + header.size]


def _range(layer: Descriptor, source: Source, start: int, size: int) -> bytes:
    if not 0 < size <= LIMITS.layer_index or not 0 <= start <= layer.size - size:
        raise ContentError("the index is too large, or outside of the layer")
    data = bytearray()
    with closing(source.open(start, start + size)) as stream:
        if stream.start != start:
            raise ContentError("the registry sends no ranges")
        buffer = bytearray(min(size, LIMITS.read))
        while len(data) < size and (count := stream.readinto(memoryview(buffer))):
            data += buffer[:count]
    return bytes(data[:size])


def _unpacked(packed: bytes) -> bytes:
    body = bytearray()
    decompressor = Decompressor("the index", lambda window: window <= LIMITS.window_each)
    for piece in decompressor.feed(packed):
        body += piece
        if len(body) > LIMITS.layer_index:
            raise ContentError("the index is too large")
    for piece in decompressor.finish():
        body += piece
    return bytes(body)


def _check(body: bytes, digest: str) -> None:
    if not is_digest(digest):
        raise ContentError("the index has no valid digest")
    check(body, digest, "the index")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
