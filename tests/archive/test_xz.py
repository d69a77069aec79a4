"""Compression with all cores."""

from __future__ import annotations

import lzma
import random
import threading
from dataclasses import replace

import pytest

from dockersave.archive import xz
from dockersave.limits import LIMITS

BODY = random.Random(1).randbytes(200_000) + bytes(900_000)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compress in blocks that take no time."""
    monkeypatch.setattr(xz, "LIMITS", replace(LIMITS, xz_block=100_000, read=30_000))


def compress(threads: int, step: int) -> bytes:
    parts: list[bytes] = []
    writer = xz.XzWriter(parts.append, threads)
    for at in range(0, len(BODY), step):
        writer.write(BODY[at : at + step])
    writer.finish()
    writer.close()
    return b"".join(parts)


def test_the_same_bytes_for_any_threads_and_any_writes() -> None:
    packed = {compress(threads, step) for threads, step in ((1, 7_777), (2, 1 << 20), (5, 99_999))}
    assert len(packed) == 1
    assert lzma.decompress(packed.pop()) == BODY


def test_of_nothing_nothing_is_written() -> None:
    parts: list[bytes] = []
    writer = xz.XzWriter(parts.append, 1)
    writer.finish()
    writer.close()
    assert parts == []


def test_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    right = compress(2, 50_000)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert compress(2, 50_000) == right


def test_a_failing_output_ends_it() -> None:
    def fail(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    writer = xz.XzWriter(fail, 2)
    with pytest.raises(OSError, match="No space"):
        writer.write(bytes(1_000_000))
    writer.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("ThreadPool")]
