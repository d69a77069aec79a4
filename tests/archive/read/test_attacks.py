"""Archives made to take time and memory: bounded wherever they are read."""

from __future__ import annotations

import gzip
import tarfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dockersave.archive.read import inventory
from dockersave.archive.read.inventory import Inventory
from dockersave.archive.read.partial import blobs_of
from dockersave.archive.read.reader import Found
from dockersave.archive.read.verify import check_archive
from dockersave.limits import LIMITS
from tests.archive.handmade_tars import Raw


def long(kind: bytes, data: bytes) -> bytes:
    """A member that extends the next one's header."""
    return Raw("././@LongLink", data + b"\0", kind).to_bytes()


def pax(records: bytes) -> bytes:
    return Raw("x", records, tarfile.XHDTYPE).to_bytes()


ATTACKS: dict[str, Callable[[int], bytes]] = {
    "long names": lambda n: (
        long(tarfile.GNUTYPE_LONGNAME, b"%07d" % n + b"a" * 100_000) + Raw("m").to_bytes()
    ),
    "long targets": lambda n: (
        long(tarfile.GNUTYPE_LONGLINK, b"%07d" % n + b"a" * 100_000)
        + Raw("m", type=tarfile.SYMTYPE).to_bytes()
    ),
    "names in pax": lambda n: (
        pax(b"100012 path=%07d" % n + b"a" * 99_991 + b"\n") + Raw("m").to_bytes()
    ),
    "names without members": lambda n: long(tarfile.GNUTYPE_LONGNAME, b"a" * 100_000),
    "names of 4000 characters": lambda n: (
        long(tarfile.GNUTYPE_LONGNAME, b"%07d" % n + b"/\xf0\x9f\x98\x80" * 800)
        + Raw("m").to_bytes()
    ),
    "targets of 4000 characters": lambda n: (
        long(tarfile.GNUTYPE_LONGLINK, b"%07d" % n + b"/a" * 1900)
        + Raw(f"{n}", type=tarfile.SYMTYPE).to_bytes()
    ),
    "members that lead out": lambda n: Raw(f"../{n}").to_bytes() * 10,
    "global headers": lambda n: Raw("g", b"x" * 500, tarfile.XGLTYPE).to_bytes() * 10,
    "devices": lambda n: Raw("d" * 99, type=tarfile.CHRTYPE).to_bytes() * 10,
}
SMALL = replace(
    LIMITS,
    archive_headers=2_000,
    archive_members=500,
    archive_names=LIMITS.archive_names >> 6,
    tar_extensions=LIMITS.tar_extensions >> 6,
)


def written(folder: Path, data: bytes) -> Path:
    """An archive of these bytes."""
    path = folder / "archive.tar"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_large_only_when_it_is_unpacked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("reader", "inventory"):
        monkeypatch.setattr(f"dockersave.archive.read.{module}.LIMITS", SMALL)
    path = tmp_path / "archive.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        for number in range(300):
            file.write(ATTACKS[name](number))
        file.write(bytes(1024))
    read = 0
    real = inventory.Inventory._add

    def counting(self: Inventory, found: Found, *others: Any) -> None:
        nonlocal read
        read += len(found.path) + len(found.target) + len(found.fault)
        real(self, found, *others)

    monkeypatch.setattr(inventory.Inventory, "_add", counting)
    tracemalloc.start()
    try:
        report = check_archive(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert read < 2 * SMALL.archive_names
    assert not report.is_right
    assert all(len(str(fault)) < 1500 for fault in report.faults)


def huge(size: bytes) -> bytes:
    """A header that states a size, as it is written."""
    head = bytearray(Raw("blobs/sha256/" + "a" * 64).to_bytes())
    head[124:136] = size
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


@pytest.mark.parametrize(
    "data",
    [
        huge(b"\xff" + (256**11 - 512).to_bytes(11, "big")),
        huge(b"\xff" * 12),
        huge(b"\x80" + b"\x7f" * 11),
        huge(b"-0000000512\0"),
        huge(b"\xb2\xb3        \0\0"),
        pax(b"9" * 100_000 + b" size=1\n") + Raw("a").to_bytes(),
        pax(b"100020 size=" + b"1" * 100_007 + b"\n") + Raw("a").to_bytes(),
        pax(b"11 size=-5\n") + Raw("a").to_bytes(),
        pax(b"0 size=1\n") + Raw("a").to_bytes(),
    ],
)
def test_sizes_that_cannot_be_end_it_at_once(data: bytes, tmp_path: Path) -> None:
    """The same bytes are read by `--verify`, and searched for blobs by `--reuse`."""
    whole = Raw("blobs/sha256/" + "b" * 64, b"x" * 100).to_bytes()
    assert not check_archive(written(tmp_path, whole + data + bytes(1024))).is_right
    with (tmp_path / "archive.tar").open("rb") as file:
        found = list(blobs_of(file))
    assert found == [(f"sha256:{'b' * 64}", 512, 100)]


def test_blobs_are_searched_for_in_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "archive.tar"
    members = [Raw(f"blobs/sha256/{number:064}", b"x").to_bytes() for number in range(50)]
    path.write_bytes(b"".join(members) + ATTACKS["long names"](1) * 700 + members[0])
    with path.open("rb") as file:
        assert len(list(blobs_of(file))) == 50
        small = replace(LIMITS, archive_members=20)
        monkeypatch.setattr("dockersave.archive.read.partial.LIMITS", small)
        assert len(list(blobs_of(file))) == 20
