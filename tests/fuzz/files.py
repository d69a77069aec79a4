"""Archives, and what a stopped run leaves."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import tarfile
import tempfile
from typing import Any

from hypothesis import strategies as st

from dockersave.archive import partmap
from dockersave.archive.read import reader
from dockersave.archive.read import verify as checking
from dockersave.compression import Decompressor
from dockersave.errors import ContentError
from dockersave.model.descriptors import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from dockersave.model.digest import digest_of
from tests.fuzz.inputs import json_bytes, mangled
from tests.fuzz.target import DIGEST, Target, printable
from tests.images import file, layer, read


def _tar(form: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for name, kind in (("a/b", tarfile.REGTYPE), ("é" * 30 + "/" + "b" * 90, tarfile.REGTYPE),
                           ("c", tarfile.SYMTYPE), ("../d", tarfile.LNKTYPE),
                           ("e", tarfile.DIRTYPE), ("f", tarfile.CHRTYPE)):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a/b"
            info.size = 600 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return made.getvalue()


TARS = [_tar(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def _restamped(data: bytes) -> bytes:
    """A tar with correct header checksums, so that its headers are accepted."""
    blocks = [bytearray(data[at : at + 512]) for at in range(0, len(data) - 511, 512)]
    for block in blocks:
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks) + data[len(blocks) * 512 :]


def check_tar(data: bytes) -> None:
    pieces = (data[at : at + 700] for at in range(0, len(data), 700))
    total = 0
    try:
        # Whatever a header promises, the file does not contain more.
        for found, content in itertools.islice(reader.read_tar(pieces), 10_000):
            assert not found.path.startswith("/")
            assert found.fault or ".." not in found.path.split("/")
            total += sum(map(len, content))
    except ContentError as error:
        printable(error)
    assert total <= len(data)


def check_partmap(data: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        found = partmap.PartMap.load(file.fileno())
        if found is None:
            return
        for extent in found.extents:
            found.present(extent)
            found.record(extent, 0, extent.size)
        assert os.fstat(file.fileno()).st_size == len(data)


def _partmap() -> bytes:
    with tempfile.TemporaryFile() as file:
        partmap.PartMap.create(file.fileno(), 1024, [partmap.Extent(DIGEST, 200, 512)])
        file.seek(0)
        return file.read()


def _around(table: bytes) -> bytes:
    """A table where a `.part` file has its own, after an archive of zeros and its one cell."""
    footer = partmap._FOOTER.pack(1024, len(table), partmap._MAGIC)
    return bytes(1024 + 1) + table + footer


TABLES = [[65_536, [[DIGEST, 200, 512]]], [65_536.0, [[DIGEST, 200, 512]]]]

# Whole archives, whose documents name one another by the digests that they have

LAYER = gzip.compress(TARS[0], mtime=0)
CONFIG: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": [digest_of(TARS[0])]},
}


def _blob(body: bytes) -> str:
    return f"blobs/sha256/{digest_of(body)[7:]}"


@st.composite
def archives(draw: st.DrawFn) -> dict[str, bytes]:
    """The members of an archive in docker format, with something wrong in some of them."""
    body = draw(mangled(st.sampled_from([LAYER, LAYER, TARS[0]])))
    config = draw(json_bytes([CONFIG]))
    descriptors: dict[str, Any] = {
        "config": {
            "mediaType": OCI_CONFIG,
            "digest": digest_of(config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": f"{OCI_LAYER}+gzip",
                "digest": digest_of(body),
                "size": len(body),
            }
        ],
    }
    stated = {"schemaVersion": 2, "mediaType": OCI_MANIFEST} | descriptors
    manifest = draw(json_bytes([stated]))
    entry = {
        "mediaType": OCI_MANIFEST,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": "docker.io/library/a:b"},
    }
    documents: dict[str, Any] = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {"schemaVersion": 2, "manifests": [entry]},
        "manifest.json": [{"Config": _blob(config), "RepoTags": ["a:b"], "Layers": [_blob(body)]}],
        "repositories": {"a": {"b": digest_of(body)[7:]}},
        "0" * 64 + "/json": {"id": "0" * 64, "parent": "1" * 64},
    }
    wrong = draw(st.sampled_from([*documents, ""]))
    members = {
        name: draw(json_bytes([document])) if name == wrong else json.dumps(document).encode()
        for name, document in documents.items()
    }
    return members | {_blob(one): one for one in (body, config, manifest)}


def check_archive(members: dict[str, bytes]) -> None:
    with tempfile.NamedTemporaryFile() as made:
        with tarfile.open(fileobj=made, mode="w") as archive:
            for name, body in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(body)
                archive.addfile(info, io.BytesIO(body))
        made.flush()
        report = checking.check_archive(made.name)
    for fault in report.faults:
        assert str(fault).isprintable(), repr(str(fault))
        assert len(str(fault)) < 3000
    for text in (*report.notes, *(name for image in report.images for name in image.names)):
        assert text.isprintable(), repr(text)
    if report.faults:
        printable(report.failure())


def _zstd(data: bytes) -> bytes:
    return read(layer([file("a", data)], compression="zstd").data)


PACKED = [
    pack(b"some content " * 50)
    for pack in (gzip.compress, lzma.compress, bz2.compress, _zstd, bytes)
]


def check_compressed(data: bytes) -> None:
    unpacked = Decompressor("it")
    try:
        for start in range(0, len(data), 100):
            for piece in unpacked.feed(data[start : start + 100]):
                assert len(piece) <= 1 << 20
        for piece in unpacked.finish():
            assert len(piece) <= 1 << 20
    except ContentError as error:
        printable(error)


TARGETS = {
    "saved archives": Target(
        "dockersave.archive.read.verify.check_archive", archives(), check_archive
    ),
    "compressed content": Target(
        "dockersave.compression.Decompressor.feed",
        mangled(st.sampled_from(PACKED)).filter(bool),
        check_compressed,
    ),
    "archives": Target(
        "dockersave.archive.read.reader.read_tar",
        mangled(st.sampled_from(TARS)) | mangled(st.sampled_from(TARS)).map(_restamped),
        check_tar,
    ),
    "part files": Target(
        "dockersave.archive.partmap.PartMap.load",
        mangled(st.just(_partmap())) | json_bytes(TABLES).map(_around),
        check_partmap,
    ),
}
