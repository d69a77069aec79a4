"""Bytes that a blob is made of: in memory, in a file, or computed while they are read.

A benchmark wants a layer of gigabytes, and a test machine has neither the memory nor the time
for it: `Pattern` is such a layer without a byte of it existing until it is asked for.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

BLOCK = 1 << 20
"""How many bytes are read or computed at once."""


@lru_cache(maxsize=16)
def _noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Incompressible bytes that follow from a seed, between a head and a tail.

    Every block of 1 MiB begins with its own number, so that a range which lands in the wrong
    place changes the digest.

    Parameters:
        seed: what the noise is made from.
        size: bytes of noise, without head and tail.
        head: bytes in front of the noise, a tar header for example.
        tail: bytes behind it.
    """

    seed: int
    size: int
    head: bytes = b""
    tail: bytes = b""

    def __len__(self) -> int:
        return len(self.head) + self.size + len(self.tail)

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop` (exclusive), at most a block at once."""
        position = start
        while position < stop:
            chunk = self._at(position, stop)
            position += len(chunk)
            yield chunk

    def _at(self, position: int, stop: int) -> bytes:
        if position < len(self.head):
            return self.head[position:stop]
        begin, end = len(self.head), len(self.head) + self.size
        if position >= end:
            return self.tail[position - end : stop - end]
        number, offset = divmod(position - begin, BLOCK)
        length = min(stop, end) - position
        # It is made of words of 4 bytes: a smaller one is how a larger one begins.
        noise = _noise(self.seed, min(self.size + -self.size % 4, BLOCK))
        block = number.to_bytes(8, "big") + noise[8:] if offset < 8 else noise
        if offset == 0 and length >= BLOCK:
            return block
        return block[offset : offset + length]


Data: TypeAlias = bytes | Path | Pattern


def length(data: Data) -> int:
    """Return the size of `data` in bytes."""
    return data.stat().st_size if isinstance(data, Path) else len(data)


def chunks(data: Data, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of `data` from `start` up to `stop` (exclusive; None: to the end)."""
    stop = length(data) if stop is None else stop
    if isinstance(data, bytes):
        yield data[start:stop]
    elif isinstance(data, Pattern):
        yield from data.chunks(start, stop)
    else:
        with data.open("rb", buffering=0) as file:
            while start < stop:
                chunk = os.pread(file.fileno(), min(BLOCK, stop - start), start)
                if not chunk:
                    raise EOFError(f"{data} ends at {start}, before {stop}")
                start += len(chunk)
                yield chunk


def read(data: Data) -> bytes:
    """Return all of `data`; only for what fits into memory."""
    return b"".join(chunks(data))


def digest_of(data: Data, algorithm: str = "sha256") -> str:
    """Return the digest of `data` as the OCI image specification writes it (descriptor.md)."""
    hasher = hashlib.new(algorithm)
    for chunk in chunks(data):
        hasher.update(chunk)
    return f"{algorithm}:{hasher.hexdigest()}"
