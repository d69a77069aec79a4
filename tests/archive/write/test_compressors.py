"""Compression with all cores."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import random
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.archive.write import compressors
from dockersave.archive.write.compressors import compressor, kind_of, without_suffix
from dockersave.limits import LIMITS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY = random.Random(1).randbytes(200_000) + b"text and more text\n" * 20_000 + bytes(500_000)
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "xz": lzma.decompress,
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compress in blocks that take no time."""
    small = replace(LIMITS, xz_block=100_000, gzip_block=70_000, zstd_block=90_000, read=30_000)
    monkeypatch.setattr(compressors, "LIMITS", small)


def compress(kind: str, threads: int, step: int, body: bytes = BODY) -> bytes:
    parts: list[bytes] = []
    writer = compressor(kind, parts.append, threads)
    for at in range(0, len(body), step):
        writer.write(body[at : at + step])
    writer.finish()
    writer.close()
    return b"".join(parts)


@pytest.mark.parametrize("kind", UNPACK)
def test_the_same_bytes_for_any_threads_and_any_writes(kind: str) -> None:
    ways = ((1, 7_777), (2, 1 << 20), (5, 99_999))
    packed = {compress(kind, threads, step) for threads, step in ways}
    assert len(packed) == 1
    assert UNPACK[kind](packed.pop()) == BODY


@settings(max_examples=30)
@given(st.sampled_from(list(UNPACK)), st.integers(1, 300_000), st.integers(1000, 400_000))
def test_whatever_the_size(kind: str, size: int, step: int) -> None:
    assert UNPACK[kind](compress(kind, 2, step, BODY[:size])) == BODY[:size]


@pytest.mark.parametrize("kind", UNPACK)
def test_of_nothing_nothing_is_written(kind: str) -> None:
    parts: list[bytes] = []
    writer = compressor(kind, parts.append, 1)
    writer.finish()
    writer.close()
    assert parts == []


@pytest.mark.parametrize("kind", UNPACK)
def test_without_threads(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = compress(kind, 2, 50_000)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert compress(kind, 2, 50_000) == right


def test_without_threads_no_block_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    writer = compressor("gzip", lambda data: None, 2)
    tracemalloc.start()
    try:
        for _ in range(200):
            writer.write(bytes(70_000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        writer.close()
    assert kept < 20 * 70_000


@pytest.mark.parametrize("kind", UNPACK)
def test_a_failing_output_ends_it(kind: str) -> None:
    def fail(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    writer = compressor(kind, fail, 2)
    with pytest.raises(OSError, match="No space"):
        writer.write(bytes(1_000_000))
    writer.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("ThreadPool")]


def test_the_program_of_that_name_unpacks_it() -> None:
    packed = compress("gzip", 2, 50_000)
    done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)
    assert done.stdout == BODY


def test_one_member_of_gzip_without_a_date() -> None:
    packed = compress("gzip", 2, 50_000)
    assert packed[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    one = zlib.decompressobj(wbits=31)
    assert one.decompress(packed) == BODY
    assert (one.eof, one.unused_data) == (True, b"")


def test_what_was_before_a_block_helps_to_compress_it() -> None:
    text = random.Random(2).randbytes(20_000) * 20
    assert len(compress("gzip", 2, 50_000, text)) < 1.2 * len(gzip.compress(text, 6))


def test_no_window_is_larger_than_every_engine_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's and containerd's readers were asked for 8 MiB, k3s takes 32."""
    monkeypatch.setattr(compressors, "LIMITS", LIMITS)
    body = bytes(range(256)) * (20 << 12)
    packed = compress("zstd", 2, 1 << 20, body)
    limit = {int(zstd.DecompressionParameter.window_log_max): 23}
    assert zstd.decompress(packed, options=limit) == body


def test_what_it_was_before_it_is_still() -> None:
    """The bytes that version 1.0.0 made with --xz."""
    digest = hashlib.sha256(compress("xz", 2, 50_000, bytes(250_000))).hexdigest()
    assert digest == OF_1_0_0


OF_1_0_0 = "6a6deb0696e6469ca582da8be2983a89da24de236d42033d309ca8228d3a162b"


@pytest.mark.parametrize(
    ("name", "kind", "rest"),
    [
        ("a.tar.gz", "gzip", "a"),
        ("dir/A.TGZ", "gzip", "dir/A"),
        ("a.tar.zst", "zstd", "a"),
        ("a.tzst", "zstd", "a"),
        ("a.tar.xz", "xz", "a"),
        ("a.txz", "xz", "a"),
        ("a.tar", "", "a"),
        ("a.gz", "", "a.gz"),
        ("tar.gz", "", "tar.gz"),
        ("a.tar.gz.part", "", "a.tar.gz.part"),
        (".tar.gz", "gzip", ""),
        ("a.xz", "", "a"),
        ("-", "", "-"),
    ],
)
def test_what_a_name_promises(name: str, kind: str, rest: str) -> None:
    assert (kind_of(name), without_suffix(name)) == (kind, rest)
