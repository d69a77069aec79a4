"""Decompress every format that images and archives use, with bounded memory."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .errors import ContentError

_PIECE = 256 * 1024
_STEP = 4 * 1024
"""How much a concatenated stream is started with: bytes that it does not use are copied for the
next one, and a file may consist of tiny streams."""
_EMPTY_MOST = 10_000
_EMPTY_EACH = 64 * 1024
"""How many streams may decompress to nothing, plus one for this many bytes: skippable frames and
empty members are a part of real archives, but never most of them."""
_XZ_MEMORY = 80 * 1024 * 1024
"""Memory that decompressing `xz -9` needs."""


Make = Callable[[], Any]
"""Creates the decompressor of one stream."""


def _gzip() -> Make:
    return partial(zlib.decompressobj, wbits=31)


def _zstd() -> Make:
    return zstd().ZstdDecompressor  # type: ignore[no-any-return]


def _xz() -> Make:
    import lzma

    return partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _bzip2() -> Make:
    import bz2

    return bz2.BZ2Decompressor


def zstd() -> Any:
    """The Zstandard module; part of the standard library since Python 3.14."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from backports import zstd  # type: ignore[no-redef, import-not-found, unused-ignore]
    return zstd


_SKIPPABLE = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))
"""Zstandard's skippable frames: any frame may be one, even the first (RFC 8878, section 3.1.2)."""
_KINDS: dict[str, tuple[tuple[bytes, ...], Callable[[], Make]]] = {
    "gzip": ((b"\x1f\x8b",), _gzip),
    "zstd": ((b"\x28\xb5\x2f\xfd", *_SKIPPABLE), _zstd),
    "xz": ((b"\xfd7zXZ\x00",), _xz),
    "bzip2": ((b"BZh",), _bzip2),
}
"""The magic numbers of compressed streams, as Docker recognises them."""
_HEAD = max(len(magic) for magics, _ in _KINDS.values() for magic in magics)
_FRAME_HEAD = 18
"""The longest header of a Zstandard frame (RFC 8878, section 3.1.1.1)."""


def window_of(head: bytes) -> int | None:
    """The window size of a Zstandard frame in bytes (RFC 8878, section 3.1.1.1).

    Args:
        head: its first bytes.

    Returns:
        0 if it needs none, None if more bytes are needed to tell.
    """
    if head[:4] != _KINDS["zstd"][0][0]:
        return 0 if len(head) >= 4 else None
    if len(head) < 6:
        return None
    descriptor = head[4]
    if not descriptor & 0x20:
        exponent, mantissa = divmod(head[5], 8)
        return (8 + mantissa) << (7 + exponent)
    # A single segment: the window is the content, whose size is in the header.
    start = 5 + (0, 1, 2, 4)[descriptor & 3]
    length = (1, 2, 4, 8)[descriptor >> 6]
    if len(head) < start + length:
        return None
    return int.from_bytes(head[start : start + length], "little") + (256 if length == 2 else 0)


class Decompressor:
    """Decompresses a stream according to its magic number; anything else passes unchanged.

    Concatenated streams count as one, and zeros after the last are ignored: tar and gzip files are
    padded with them. The time needed grows with the content, not with the number of streams.

    Args:
        what: its name for messages.
        may_have: called with each window size in bytes that Zstandard needs; if it returns False,
            decompression stops there for now.
        is_packed: whether it may be compressed; otherwise it passes unchanged, whatever it is.
    """

    def __init__(
        self,
        what: str,
        may_have: Callable[[int], bool] = lambda window: True,
        *,
        is_packed: bool = True,
    ) -> None:
        self._is_packed = is_packed
        self._what = what
        self._may_have = may_have
        self.kind = ""
        self.held = 0
        """How many of the last bytes fed were not consumed: feed them again."""
        self._head = b""
        self._make: Make | None = None
        self._stream: Any = None
        self._begun = False
        self._unpacked = self._before = self._empty = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes.

        Returns:
            The decompressed bytes, at most 256 KiB at a time, lazily. Consume all of them before
            feeding more.

        Raises:
            ContentError: they cannot be decompressed.
        """
        fed, self.held = len(data), 0
        data, self._head = self._head + data, b""
        if not self._begun and len(data) < _HEAD:
            self._head = data
            return
        yield from self._pieces(data)
        # Bytes from before are kept here.
        kept = max(0, self.held - fed)
        if self.held:
            self._head = data[len(data) - self.held :][:kept]
            self.held -= kept

    def finish(self) -> Iterator[bytes]:
        """End of input.

        Returns:
            Bytes that were held back because the input was very short.

        Raises:
            ContentError: the stream is truncated.
        """
        if self._head:
            # Too short to need a window.
            head, self._head = self._head, b""
            yield from self._pieces(head, is_last=True)
        if self._stream is not None and not self._stream.eof:
            raise ContentError(f"{self._what} is truncated: its compressed content has no end")

    def _begin(self, head: bytes) -> None:
        self._begun = True
        for kind, (magics, load) in _KINDS.items() if self._is_packed else ():
            if head.startswith(magics):
                self.kind, self._make = kind, load()

    def _pieces(self, data: bytes, *, is_last: bool = False) -> Iterator[bytes]:
        if not self._begun:
            self._begin(data)
        if self._make is None:
            yield data
            return
        try:
            yield from self._decompress(self._make, data, is_last)
        except Exception as failure:
            if not isinstance(failure, (zlib.error, EOFError, OSError, *_errors())):
                raise
            raise ContentError(f"{self._what} cannot be decompressed: {failure}") from failure

    def _decompress(self, make: Make, data: bytes, is_last: bool) -> Iterator[bytes]:
        rest, step = memoryview(data), len(data)
        while rest:
            if self._stream is not None and self._stream.eof:
                # Not everything at once: the rest would be copied for each stream.
                step = _STEP
                if not rest[0]:
                    zeros = len(rest[:step]) - len(bytes(rest[:step]).lstrip(b"\x00"))
                    rest = rest[zeros:]
                    continue
            if self._stream is None or self._stream.eof:
                if self.kind == "zstd" and not is_last:
                    window = window_of(bytes(rest[:_FRAME_HEAD]))
                    if window is None:
                        self._head = bytes(rest)
                        return
                    if not self._may_have(window):
                        self.held = len(rest)
                        return
                self._next_stream(make)
            chunk, rest = rest[:step], rest[step:]
            yield from self._unpack(chunk)
            if self._stream.eof:
                unused = len(self._stream.unused_data)
                rest = memoryview(data)[len(data) - len(rest) - unused :]
            step *= 2

    def _next_stream(self, make: Make) -> None:
        if self._stream is not None and self._unpacked == self._before:
            self._empty += 1
            if self._empty > _EMPTY_MOST + self._unpacked // _EMPTY_EACH:
                raise ContentError(
                    f"{self._what} has {self._empty} streams that decompress to nothing"
                )
        self._before = self._unpacked
        self._stream = make()

    def _unpack(self, chunk: memoryview) -> Iterator[bytes]:
        stream = self._stream
        piece = stream.decompress(chunk, _PIECE)
        while True:
            self._unpacked += len(piece)
            yield piece
            if stream.eof:
                return
            if hasattr(stream, "unconsumed_tail"):
                if not stream.unconsumed_tail:
                    return
                piece = stream.decompress(stream.unconsumed_tail, _PIECE)
            elif stream.needs_input:
                return
            else:
                piece = stream.decompress(b"", _PIECE)


def _errors() -> Iterator[type[Exception]]:
    for name, kind in _ERRORS.items():
        if name in sys.modules:
            yield getattr(sys.modules[name], kind)


_ERRORS = {"compression.zstd": "ZstdError", "backports.zstd": "ZstdError", "lzma": "LZMAError"}
"""For modules that are imported on demand."""
