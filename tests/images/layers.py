"""Layers: tar archives with known content, compressed in any of the ways that registries hold."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal, Protocol, TypeAlias, cast

from tests.images.content import BLOCK, Data, Pattern, chunks, digest_of, length, read

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression: TypeAlias = Literal["none", "gzip", "zstd"]

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
MTIME = 1_700_000_000
"""Modification time of every file in every layer, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that a registry serves under their digest.

    Parameters:
        media_type: what the descriptor says they are.
        digest: `sha256:…` over the bytes as served.
        size: bytes as served.
        data: the bytes, or where to get them.
    """

    media_type: str
    digest: str
    size: int
    data: Data

    @classmethod
    def of(cls, media_type: str, data: Data) -> Blob:
        """Make a blob of `data`, hashing it once."""
        return Blob(media_type, digest_of(data), length(data), data)

    def descriptor(self) -> dict[str, object]:
        """Return what a manifest says about this blob (image-spec, descriptor.md)."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a layer's tar.

    Parameters:
        path: name without a leading slash.
        data: content of a regular file.
        type: a type of `tarfile`, regular file by default.
        mode: permission bits.
        target: where a symbolic or hard link points to.
        owner: user and group id.
    """

    path: str
    data: Data = b""
    type: bytes = tarfile.REGTYPE
    mode: int = 0o644
    target: str = ""
    owner: tuple[int, int] = (0, 0)


def file(path: str, data: Data | str, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> Entry:
    """Describe a regular file."""
    return Entry(path, data.encode() if isinstance(data, str) else data, mode=mode, owner=owner)


def directory(path: str, mode: int = 0o755) -> Entry:
    """Describe a directory."""
    return Entry(path, type=tarfile.DIRTYPE, mode=mode)


def symlink(path: str, target: str) -> Entry:
    """Describe a symbolic link."""
    return Entry(path, type=tarfile.SYMTYPE, mode=0o777, target=target)


def hardlink(path: str, target: str, mode: int = 0o644) -> Entry:
    """Describe a hard link to an earlier member of the same layer.

    `mode` is the target's: engines set what the last of the headers says.
    """
    return Entry(path, type=tarfile.LNKTYPE, mode=mode, target=target)


def whiteout(path: str) -> Entry:
    """Describe the removal of `path` from the layers below (image-spec, layer.md, Whiteouts)."""
    parent, slash, name = path.rpartition("/")
    return Entry(f"{parent}{slash}.wh.{name}", mode=0o000)


def opaque(path: str) -> Entry:
    """Describe a directory that hides what the layers below have in it."""
    return Entry(f"{path}/.wh..wh..opq", mode=0o000)


@dataclass(frozen=True, slots=True)
class Layer(Blob):
    """A blob that unpacks to a tar.

    Parameters:
        diff_id: digest of the uncompressed tar.
        unpacked: bytes of the uncompressed tar.
        compression: how the blob is compressed.
        urls: where else the bytes are (foreign layers).
        entries: what the tar holds, for comparing what an engine makes of it.
    """

    diff_id: str = ""
    unpacked: int = 0
    compression: Compression = "gzip"
    urls: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = field(default=(), repr=False)

    def descriptor(self) -> dict[str, object]:
        """Return what a manifest says about this layer."""
        plain = super(Layer, self).descriptor()  # slots=True makes a new class: no bare super()
        return plain | ({"urls": list(self.urls)} if self.urls else {})


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Identity:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _gzip(level: int) -> _Compressor:
    return zlib.compressobj(level, zlib.DEFLATED, 31)


def _zstd(level: int) -> _Compressor:
    return cast(_Compressor, zstd.ZstdCompressor(level=level))


_COMPRESSORS: dict[Compression, tuple[str, Callable[[int], _Compressor]]] = {
    "none": ("", lambda level: _Identity()),
    "gzip": ("+gzip", _gzip),
    "zstd": ("+zstd", _zstd),
}


def _header(entry: Entry, size: int | None = None) -> bytes:
    info = tarfile.TarInfo(entry.path)
    info.type, info.mode, info.linkname, info.mtime = entry.type, entry.mode, entry.target, MTIME
    info.uid, info.gid = entry.owner
    info.size = length(entry.data) if size is None else size
    return info.tobuf(tarfile.PAX_FORMAT)


def _tar(entries: Iterable[Entry]) -> Iterator[bytes]:
    for entry in entries:
        yield _header(entry)
        yield from chunks(entry.data)
        yield bytes(-length(entry.data) % 512)
    yield bytes(1024)


@contextmanager
def _target(folder: Path | None) -> Iterator[IO[bytes]]:
    if folder is None:
        yield io.BytesIO()
        return
    with tempfile.NamedTemporaryFile(dir=folder, prefix="blob-", delete=False) as out:
        yield cast(IO[bytes], out)


def _pack(
    tar: Iterator[bytes],
    compression: Compression,
    *,
    level: int = 6,
    folder: Path | None = None,
    entries: tuple[Entry, ...] = (),
) -> Layer:
    suffix, make = _COMPRESSORS[compression]
    compressor = make(level)
    plain, packed = hashlib.sha256(), hashlib.sha256()
    unpacked = size = 0
    with _target(folder) as target:

        def emit(chunk: bytes) -> None:
            nonlocal size
            packed.update(chunk)
            size += target.write(chunk)

        for chunk in tar:
            plain.update(chunk)
            unpacked += len(chunk)
            emit(compressor.compress(chunk))
        emit(compressor.flush())
        data: Data
        if isinstance(target, io.BytesIO):
            data = target.getvalue()
        else:
            data = Path(target.name).rename(Path(target.name).with_name(packed.hexdigest()))
    return Layer(
        media_type=OCI_LAYER + suffix,
        digest=f"sha256:{packed.hexdigest()}",
        size=size,
        data=data,
        diff_id=f"sha256:{plain.hexdigest()}",
        unpacked=unpacked,
        compression=compression,
        entries=entries,
    )


def layer(
    entries: Iterable[Entry],
    compression: Compression = "gzip",
    *,
    level: int = 6,
    folder: Path | None = None,
) -> Layer:
    """Build a layer from the entries of its tar.

    Parameters:
        entries: members in their order.
        compression: of the blob.
        level: of the compression; 0 stores (gzip only).
        folder: where the blob is kept as a file named by its digest; None keeps it in memory.
    """
    members = tuple(entries)
    return _pack(_tar(members), compression, level=level, folder=folder, entries=members)


def raw_layer(data: Data, compression: Compression = "gzip") -> Layer:
    """Build a layer from the bytes of its tar, whatever they are."""
    return _pack(chunks(data), compression)


def empty_layer(compression: Compression = "gzip") -> Layer:
    """Build the layer without any entry, as Docker writes it: two blocks of zeros."""
    return layer([], compression)


def bomb_layer(size: int, compression: Compression = "gzip") -> Layer:
    """Build a layer that unpacks to a file of `size` zeros (gzip: about 1/1000 of that)."""

    def tar() -> Iterator[bytes]:
        yield _header(Entry("zeros"), size)
        block, rest = bytes(BLOCK), size + (-size % 512) + 1024
        while rest > 0:
            yield block[:rest]
            rest -= BLOCK

    return _pack(tar(), compression, level=9)


@lru_cache(maxsize=64)
def random_layer(
    size: int,
    seed: int = 0,
    compression: Compression = "none",
    folder: Path | None = None,
    path: str | None = None,
) -> Layer:
    """Build a layer holding one incompressible file, which costs no more than hashing it.

    Parameters:
        size: bytes of the file; the layer is 1.5 to 2 KiB bigger.
        seed: layers of different seeds have different content.
        compression: `none` without a folder computes the bytes whenever they are read, and
            keeps nothing; `gzip` stores the blocks, which is what gzip comes to on noise.
        folder: where the blob is kept as a file, which is the fastest to serve.
        path: name of the file.
    """
    name = path or f"random-{seed}.bin"
    entry = file(name, Pattern(seed, size))
    if compression != "none" or folder is not None:
        return layer([entry], compression, level=0 if compression == "gzip" else 1, folder=folder)
    tail = bytes(-size % 512 + 1024)
    data = Pattern(seed, size, head=_header(entry), tail=tail)
    blob = Blob.of(OCI_LAYER, data)
    return Layer(
        blob.media_type, blob.digest, blob.size, data, blob.digest, blob.size, "none", (), (entry,)
    )


def windowed_layer(size: int, seed: int, window_log: int = 27) -> Layer:
    """Build a zstd layer of one file, whose frame states a window of 2 ** `window_log` bytes."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: 1,
        zstd.CompressionParameter.window_log: window_log,
    }
    tar = random_layer(size, seed)
    packer = zstd.ZstdCompressor(options=options)
    body = b"".join(packer.compress(chunk) for chunk in chunks(tar.data)) + packer.flush()
    blob = Blob.of(OCI_LAYER + "+zstd", body)
    return Layer(
        blob.media_type, blob.digest, blob.size, body, tar.digest, tar.size, "zstd", (), tar.entries
    )


def unpack(layer: Layer) -> bytes:
    """Return the tar of a layer that fits into memory."""
    packed = read(layer.data)
    if layer.compression == "gzip":
        return gzip.decompress(packed)
    return zstd.decompress(packed) if layer.compression == "zstd" else packed


def foreign(of: Layer, *urls: str) -> Layer:
    """Return the layer as one that is not in the registry but at `urls`."""
    nondistributable = of.media_type.replace("image.layer.v1", "image.layer.nondistributable.v1")
    return replace(of, media_type=nondistributable, urls=urls)
