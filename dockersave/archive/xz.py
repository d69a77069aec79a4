"""Compression with xz."""

from __future__ import annotations

from collections.abc import Callable

from .compressors import Compressor, compressor


def XzWriter(write: Callable[[bytes], object], threads: int | None = None) -> Compressor:
    """What compresses an archive with xz; see `compressor`."""
    return compressor("xz", write, threads)
