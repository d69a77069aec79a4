"""Decompression, piece by piece."""

from __future__ import annotations

import lzma
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave.compression import Decompressor, window_of
from dockersave.errors import ContentError
from tests.compressors import COMPRESSORS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KINDS: dict[str, Callable[[bytes], bytes]] = {**COMPRESSORS, "": bytes}
COMPRESSED = list(COMPRESSORS)
CONTENT = random.Random(0).randbytes(50_000) + bytes(100_000)


def unpacked(pieces: Iterable[bytes]) -> tuple[bytes, str]:
    """Decompress; return the content, and how it was compressed."""
    decompressor = Decompressor("a layer")
    found = [piece for data in pieces for piece in decompressor.feed(data)]
    found += decompressor.finish()
    return b"".join(found), decompressor.kind


def split(data: bytes, size: int) -> Iterable[bytes]:
    """Cut into pieces."""
    return (data[start : start + size] for start in range(0, len(data), size))


@given(st.sampled_from(list(KINDS)), st.binary(max_size=5000), st.integers(1, 2000))
def test_whatever_the_pieces(kind: str, content: bytes, size: int) -> None:
    if not kind:
        content = b"\0" + content
    assert unpacked(split(KINDS[kind](content), size)) == (content, kind)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_streams_behind_one_another(kind: str) -> None:
    data = KINDS[kind](CONTENT) + KINDS[kind](b"") + KINDS[kind](b"more")
    assert unpacked(split(data, 999))[0] == CONTENT + b"more"


def skippable(number: int, data: bytes) -> bytes:
    """A frame that unpacks to nothing (RFC 8878, section 3.1.2)."""
    return (0x184D2A50 + number).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data


FRAMES = st.one_of(
    st.builds(skippable, st.integers(0, 15), st.binary(max_size=300)),
    st.binary(max_size=3000).map(zstd.compress),
)


@given(st.lists(FRAMES, min_size=1), st.integers(1, 5000))
def test_frames_of_zstd_in_any_order(frames: list[bytes], size: int) -> None:
    content = b"".join(zstd.decompress(frame) for frame in frames)
    assert unpacked(split(b"".join(frames), size)) == (content, "zstd")


@pytest.mark.parametrize("number", [0, 15])
def test_a_frame_to_skip_that_is_cut_off(number: int) -> None:
    with pytest.raises(ContentError, match="is truncated"):
        unpacked([skippable(number, b"x" * 100)[:-1]])


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_streams_of_one_byte_take_time_that_grows_with_their_number(kind: str) -> None:
    """Each used to copy everything after it."""
    one, copied = KINDS[kind](b"x"), 0
    decompressor = Decompressor("a layer")
    assert b"".join(decompressor.feed(one)) == b"x"
    make = decompressor._make
    assert make is not None

    class Counting:
        """A decompressor that tells how much it is given."""

        def __init__(self) -> None:
            assert make is not None
            self._stream = make()

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal copied
            copied += len(data)
            return bytes(self._stream.decompress(data, most))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    decompressor._make = Counting
    count = 20_000
    for data in split(one * count, 1 << 20):
        assert set(b"".join(decompressor.feed(data))) == {ord("x")}
    assert copied <= count * 4096 + len(one) * count


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2"])
def test_more_streams_of_nothing_than_anybody_writes(kind: str) -> None:
    nothing = KINDS[kind](b"") if kind != "zstd" else skippable(3, b"")
    assert unpacked([nothing * 5_000 + KINDS[kind](b"x")]) == (b"x", kind)
    with pytest.raises(ContentError, match="decompress to nothing"):
        unpacked(split(nothing * 30_000, 1 << 18))


@pytest.mark.parametrize("kind", COMPRESSED)
def test_zeros_behind_the_end(kind: str) -> None:
    assert unpacked(split(KINDS[kind](CONTENT) + bytes(3000), 999))[0] == CONTENT


@pytest.mark.parametrize("kind", COMPRESSED)
def test_what_is_cut_off(kind: str) -> None:
    data = KINDS[kind](CONTENT)
    for length in (6, len(data) // 2, len(data) - 1):
        with pytest.raises(ContentError, match="a layer is truncated"):
            unpacked([data[:length]])


@pytest.mark.parametrize("kind", COMPRESSED)
def test_garbage_behind_the_head(kind: str) -> None:
    with pytest.raises(ContentError, match="a layer cannot be decompressed"):
        unpacked([KINDS[kind](b"")[:10] + b"\xff" * 5000])


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_a_checksum_that_is_wrong(kind: str) -> None:
    data = bytearray(KINDS[kind](CONTENT))
    data[len(data) // 3] ^= 4
    with pytest.raises(ContentError):
        unpacked(split(bytes(data), 1000))


def test_a_checksum_of_zstd() -> None:
    options = {int(zstd.CompressionParameter.checksum_flag): 1}
    data = bytearray(zstd.compress(CONTENT, options=options))
    data[1000] ^= 4
    with pytest.raises(ContentError):
        unpacked([bytes(data)])


@pytest.mark.parametrize("data", [b"", b"a", b"\x1f", b"BZ", b"\x28\xb5\x2f"])
def test_what_is_too_short_for_a_compressor(data: bytes) -> None:
    assert unpacked([data]) == (data, "")


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_bomb_is_met_piece_by_piece(kind: str) -> None:
    size = 64 << 20
    data = KINDS[kind](bytes(size)) if kind != "xz" else lzma.compress(bytes(size), preset=0)
    decompressor = Decompressor("a bomb")
    total = 0
    tracemalloc.start()
    try:
        for chunk in split(data, 1 << 16):
            for piece in decompressor.feed(chunk):
                assert len(piece) <= 1 << 20
                total += len(piece)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert total == size


def test_xz_with_a_dictionary_of_a_gigabyte() -> None:
    """Its header asks for more memory than anybody should allow."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = lzma.compress(b"x", filters=filters)
    # .xz File Format 1.2.1, section 3.1: the dictionary's size is a code in the block header.
    at = data.index(b"\x21\x01") + 2
    header = bytearray(data[12:24])
    header[at - 12] = 40
    header[8:] = b""
    import zlib

    header += zlib.crc32(bytes(header)).to_bytes(4, "little")
    with pytest.raises(ContentError, match=r"(?i)memory"):
        unpacked([data[:12] + bytes(header) + data[24:]])


@pytest.mark.parametrize("window_log", [10, 17, 20, 23, 27])
def test_how_far_a_stream_looks_back(window_log: int) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: window_log}
    packer = zstd.ZstdCompressor(options=options)
    head = packer.compress(CONTENT) + packer.flush()
    assert window_of(head[:18]) == window_of(head[:6]) == 1 << window_log
    assert window_of(head[:5]) is None


@pytest.mark.parametrize("size", [100, 1000, 70_000, 20_000_000])
def test_one_segment_looks_back_on_all_of_it(size: int) -> None:
    """RFC 8878, section 3.1.1.1: then there is no window but the content."""
    descriptor = {100: 0x20, 1000: 0x60, 70_000: 0xA0, 20_000_000: 0xE1}[size]
    length = {0x20: 1, 0x60: 2, 0xA0: 4, 0xE1: 8}[descriptor]
    stated = (size - (256 if length == 2 else 0)).to_bytes(length, "little")
    dictionary = b"\x07" if descriptor & 3 else b""
    head = b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + dictionary + stated
    assert window_of(head) == window_of(head + b"more") == size
    assert window_of(head[:-1]) is None


@pytest.mark.parametrize("head", [b"\x50\x2a\x4d\x18\xff\xff\0\0", b"\0\0\0\0", b"x" * 18])
def test_what_needs_no_window(head: bytes) -> None:
    assert window_of(head) == 0


@given(st.integers(1, 60), st.lists(st.booleans(), max_size=30))
def test_what_is_not_taken_is_fed_again(size: int, answers: list[bool]) -> None:
    frames = [random.Random(seed).randbytes(40) for seed in range(4)]
    data = b"".join(zstd.compress(frame) for frame in frames)
    decompressor = Decompressor("a layer", lambda window: not answers or answers.pop())
    found, at = b"", 0
    while at < len(data):
        part = data[at : at + size]
        found += b"".join(decompressor.feed(part))
        at += len(part) - decompressor.held
    assert found + b"".join(decompressor.finish()) == b"".join(frames)
