"""The map of a `.part` file: recorded ranges are found; an invalid map is ignored."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.archive.partmap import Extent, PartMap
from dockersave.limits import LIMITS

G = LIMITS.granule
EXTENTS = [Extent("sha256:" + "1" * 64, 10 * G + 5, 512), Extent("sha256:" + "2" * 64, 3, 11 * G)]
SIZE = 12 * G


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "image.tar.part", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_what_was_recorded_is_found_again(fd: int) -> None:
    big, small = EXTENTS
    made = PartMap.create(fd, SIZE, EXTENTS)
    made.record(big, 0, G - 1)
    assert made.present(big) == []
    made.record(big, G - 1, 2 * G + 3)
    made.record(big, 5 * G, 6 * G)
    made.record(big, 10 * G, big.size)
    made.record(small, 0, 3)
    found = PartMap.load(fd)
    assert found is not None
    assert (found.offset, found.extents) == (SIZE, tuple(EXTENTS))
    assert found.present(big) == [(0, 2 * G), (5 * G, 6 * G), (10 * G, big.size)]
    assert found.present(small) == [(0, 3)]
    found.forget(big)
    assert found.present(big) == []
    found.fill()
    assert found.present(big) == [(0, big.size)]


def test_the_map_is_small_however_large_the_image_is(fd: int) -> None:
    extents = [Extent(f"sha256:{n:064x}", 1 << 40, n << 40) for n in range(8)]
    PartMap.create(fd, 8 << 40, extents)
    assert os.fstat(fd).st_size - (8 << 40) <= 1024 * 1024


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 300))
def test_a_damaged_map_is_none_or_says_what_can_be_read(garbage: bytes, at: int, cut: int) -> None:
    fd = os.memfd_create("part")
    try:
        PartMap.create(fd, SIZE, EXTENTS)
        end = os.fstat(fd).st_size
        os.pwrite(fd, garbage, max(0, end - at))
        os.ftruncate(fd, max(0, os.fstat(fd).st_size - cut))
        found = PartMap.load(fd)
        for extent in found.extents if found else ():
            for start, stop in found.present(extent) if found else ():
                assert 0 <= start < stop <= extent.size
    finally:
        os.close(fd)


def test_a_full_disk_is_noticed(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: len(data) - 1)
    with pytest.raises(OSError, match="No space left"):
        PartMap.create(fd, SIZE, EXTENTS)


def test_a_map_with_more_cells_than_are_written_is_none(fd: int) -> None:
    """Asking for what is present would take as much memory."""
    many = Extent("sha256:" + "1" * 64, LIMITS.map_cells + 1, 0)
    found = PartMap(fd, many.size, 1, [many])
    os.ftruncate(fd, found.whole)
    os.pwrite(fd, found._tail(), found._end)
    assert PartMap.load(fd) is None


def test_a_table_with_more_values_than_any_has_is_none(tmp_path: Path) -> None:
    table = b"[1,[" + b"[]," * 500_000 + b"[]]]"
    fd = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    os.write(fd, table + struct.pack("<QQ8s", 0, len(table), b"dsmap\x00\x01\n"))
    tracemalloc.start()
    try:
        assert PartMap.load(fd) is None
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
        os.close(fd)
