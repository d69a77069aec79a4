"""Compression with all cores, and the same bytes whatever their number.

Blocks of a fixed size become xz streams of their own, one behind the other, which is what the
format calls a file (The .xz File Format 1.2.1, section 1.1) and every decompressor reads.
"""

from __future__ import annotations

import lzma
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ..limits import LIMITS

_FILTERS = [
    {"id": lzma.FILTER_LZMA2, "preset": lzma.PRESET_DEFAULT, "dict_size": LIMITS.xz_dictionary}
]


class XzWriter:
    """Compresses what it is given, in order.

    Each thread needs some 50 MiB of memory for its dictionary, and the blocks that wait 8 MiB each:
    with two threads a whole run took 192 MiB.

    Args:
        write: takes the compressed bytes.
        threads: how many; None for one a core.
    """

    def __init__(self, write: Callable[[bytes], object], threads: int | None = None) -> None:
        self._write = write
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads)
        self._pending: deque[Future[bytes]] = deque()
        self._block = bytearray()
        self._closed = False

    def write(self, data: bytes) -> None:
        """Take the next bytes; write what is compressed by now."""
        self._block += data
        while len(self._block) >= LIMITS.xz_block:
            self._submit(bytes(self._block[: LIMITS.xz_block]))
            del self._block[: LIMITS.xz_block]

    def _submit(self, block: bytes) -> None:
        while len(self._pending) > self._threads:
            self._write(self._pending.popleft().result())
        try:
            self._pending.append(self._pool.submit(self._compress, block))
        except RuntimeError:
            # The system grants no thread, or not as many; the block is compressed right here.
            done: Future[bytes] = Future()
            self._pending.append(done)
            done.set_result(self._compress(block))

    def _compress(self, block: bytes) -> bytes:
        compressor = lzma.LZMACompressor(filters=_FILTERS)
        parts = []
        for start in range(0, len(block), LIMITS.read):
            if self._closed:
                break
            parts.append(compressor.compress(block[start : start + LIMITS.read]))
        return b"".join([*parts, compressor.flush()])

    def finish(self) -> None:
        """Write what is left."""
        if self._block:
            self._submit(bytes(self._block))
        while self._pending:
            self._write(self._pending.popleft().result())

    def close(self) -> None:
        """Give up what has not been written, and end the threads."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
