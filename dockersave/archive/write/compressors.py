"""Compress an archive on all cores, with the same bytes whatever their number.

Content is cut into blocks of a fixed size. Each is compressed on its own, on several threads. How
blocks form a file depends on the format:

- gzip: one member, whose blocks end on byte boundaries (RFC 1951, section 3.2.4), each with the
previous content as a dictionary. Old programs do not read a second member.
- zstd: concatenated frames (RFC 8878, section 3.1), whose windows are no larger than a block: k3s
accepts at most 2^25 bytes; Docker and containerd were not tested with more.
- xz: concatenated streams (The .xz File Format 1.2.1, section 1.1).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ...compression import zstd
from ...limits import LIMITS

if TYPE_CHECKING:
    from concurrent.futures import Future

Write = Callable[[bytes], object]

_SUFFIXES = {
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
    ".tar.xz": "xz",
    ".txz": "xz",
}
"""As in GNU tar's `--auto-compress`."""


def kind_of(path: str) -> str:
    """The compression implied by a file's name: `gzip`, `zstd`, `xz`; empty for none."""
    name = path.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), "")


def without_suffix(name: str) -> str:
    """A name without the suffixes of archives and compression."""
    lower = name.lower()
    for suffix in (*_SUFFIXES, ".xz", ".tar"):
        if lower.endswith(suffix):
            return name[: -len(suffix)]
    return name


def compressor(kind: str, write: Write, threads: int | None = None) -> Compressor:
    """Create a compressor for an archive.

    Args:
        kind: `gzip`, `zstd` or `xz`.
        write: called with compressed bytes.
        threads: how many; None for one per core.
    """
    return Compressor(_FORMS[kind](), write, threads)


class Form(Protocol):
    """How blocks form a file. `pack` is called on any thread, the other methods in order."""

    size: int
    """Size of a block in bytes."""

    def begin(self) -> bytes:
        """The start of the file."""

    def pack(self, block: bytes, before: bytes, ended: Callable[[], bool]) -> bytes:
        """Compress a block.

        Args:
            block: its content.
            before: the content of the previous block.
            ended: whether the result is no longer needed.
        """

    def took(self, block: bytes) -> None:
        """Account for a block of the input."""

    def end(self) -> bytes:
        """The end of the file."""


class _Gzip:
    """RFC 1952."""

    def __init__(self) -> None:
        self.size = LIMITS.gzip_block
        self._sum = self._count = 0

    def begin(self) -> bytes:
        # No time, no name, no operating system.
        return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

    def pack(self, block: bytes, before: bytes, ended: Callable[[], bool]) -> bytes:
        packing = zlib.compressobj(
            LIMITS.gzip_level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before[-(1 << 15) :]
        )
        return packing.compress(block) + packing.flush(zlib.Z_SYNC_FLUSH)

    def took(self, block: bytes) -> None:
        self._sum = zlib.crc32(block, self._sum)
        self._count += len(block)

    def end(self) -> bytes:
        last = zlib.compressobj(wbits=-zlib.MAX_WBITS).flush()
        return last + struct.pack("<II", self._sum, self._count & 0xFFFFFFFF)


class _Zstd:
    """RFC 8878."""

    def __init__(self) -> None:
        self.size = LIMITS.zstd_block
        parameter = zstd().CompressionParameter
        self._options = {
            parameter.compression_level: LIMITS.zstd_level,
            parameter.checksum_flag: 1,
        }

    def begin(self) -> bytes:
        return b""

    def pack(self, block: bytes, before: bytes, ended: Callable[[], bool]) -> bytes:
        packed: bytes = zstd().compress(block, options=self._options)
        return packed

    def took(self, block: bytes) -> None:
        """Each frame has a checksum of its own."""

    def end(self) -> bytes:
        return b""


class _Xz:
    """The .xz File Format 1.2.1."""

    def __init__(self) -> None:
        self.size = LIMITS.xz_block

    def begin(self) -> bytes:
        return b""

    def pack(self, block: bytes, before: bytes, ended: Callable[[], bool]) -> bytes:
        import lzma

        filters = [
            {
                "id": lzma.FILTER_LZMA2,
                "preset": lzma.PRESET_DEFAULT,
                "dict_size": LIMITS.xz_dictionary,
            }
        ]
        packing = lzma.LZMACompressor(filters=filters)
        parts = []
        for start in range(0, len(block), LIMITS.read):
            if ended():
                break
            parts.append(packing.compress(block[start : start + LIMITS.read]))
        return b"".join([*parts, packing.flush()])

    def took(self, block: bytes) -> None:
        """Each stream has a checksum of its own."""

    def end(self) -> bytes:
        return b""


_FORMS: dict[str, Callable[[], Form]] = {"gzip": _Gzip, "zstd": _Zstd, "xz": _Xz}


class Compressor:
    """Cuts, compresses and writes blocks.

    Each waiting block takes its size in memory. A thread needs some 50 MiB more with xz for its
    dictionary, some 30 with zstd. A whole run with xz on two threads took 192 MiB.
    """

    def __init__(self, form: Form, write: Write, threads: int | None) -> None:
        # Imported here: most runs compress nothing, but check names.
        from concurrent.futures import Future, ThreadPoolExecutor

        self._future: Callable[[], Future[bytes]] = Future
        self._form = form
        self._write = write
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads)
        self._pending: deque[Future[bytes]] = deque()
        self._block = bytearray()
        self._before = b""
        self._begun = self._closed = False

    def write(self, data: bytes) -> None:
        """Add the next bytes; write what is compressed by now."""
        self._block += data
        size = self._form.size
        while len(self._block) >= size:
            self._submit(bytes(self._block[:size]))
            del self._block[:size]

    def _submit(self, block: bytes) -> None:
        if not self._begun:
            self._begun = True
            self._put(self._form.begin())
        while len(self._pending) > self._threads:
            self._put(self._pending.popleft().result())
        self._form.took(block)
        work, done = [(block, self._before)], self._future()
        self._before = block
        self._pending.append(done)
        try:
            self._pool.submit(self._pack, work, done)
        except RuntimeError:
            # The system grants no more threads: compress the block right here. The pool has queued
            # the call all the same, and would keep the block.
            self._pack(work, done)

    def _pack(self, work: list[tuple[bytes, bytes]], done: Future[bytes]) -> None:
        """Compress a block, unless another thread has taken it."""
        try:
            block, before = work.pop()
        except IndexError:
            return
        try:
            packed = b"" if self._closed else self._form.pack(block, before, lambda: self._closed)
        except BaseException as failure:
            done.set_exception(failure)
        else:
            done.set_result(packed)

    def _put(self, data: bytes) -> None:
        if data:
            self._write(data)

    def finish(self) -> None:
        """Write the rest."""
        if self._block:
            self._submit(bytes(self._block))
        while self._pending:
            self._put(self._pending.popleft().result())
        if self._begun:
            self._put(self._form.end())

    def close(self) -> None:
        """Discard what has not been written, and end the threads."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
