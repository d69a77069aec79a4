"""Decompression of whatever compression images and archives come in, with bounded memory."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from .errors import ContentError

_PIECE = 1024 * 1024
_XZ_MEMORY = 80 * 1024 * 1024
"""What `xz -9` needs for decompression."""


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from backports import zstd  # type: ignore[no-redef, import-not-found, unused-ignore]
    return zstd.ZstdDecompressor()


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _bzip2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


_KINDS: dict[str, tuple[bytes, Callable[[], Any]]] = {
    "gzip": (b"\x1f\x8b", _gzip),
    "zstd": (b"\x28\xb5\x2f\xfd", _zstd),
    "xz": (b"\xfd7zXZ\x00", _xz),
    "bzip2": (b"BZh", _bzip2),
}
"""What a compressed stream begins with; what Docker tells them by, too."""
_HEAD = max(len(magic) for magic, _ in _KINDS.values())


class Decompressor:
    """Decompresses what comes, told by its first bytes; anything else is as it is.

    Streams behind one another are one, and zeros behind the last are nothing: tar and gzip files
    are padded with them.

    Args:
        what: what it is, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.kind = ""
        self._head = b""
        self._make: Callable[[], Any] | None = None
        self._stream: Any = None
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes.

        Returns:
            What they become, 1 MiB at a time at most, decompressed as it is asked for. All of
            it has to be taken before more is fed.

        Raises:
            ContentError: they cannot be decompressed.
        """
        if not self._begun:
            self._head += data
            if len(self._head) < _HEAD:
                return
            data = self._begin()
        yield from self._pieces(data)

    def finish(self) -> Iterator[bytes]:
        """There is no more.

        Returns:
            What was held back of something very short.

        Raises:
            ContentError: there should be more.
        """
        if not self._begun and self._head:
            yield from self._pieces(self._begin())
        if self._stream is not None and not self._stream.eof:
            raise ContentError(f"the compressed content of {self._what} is cut off")

    def _begin(self) -> bytes:
        self._begun = True
        for kind, (magic, make) in _KINDS.items():
            if self._head.startswith(magic):
                self.kind, self._make = kind, make
        head, self._head = self._head, b""
        return head

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        if self._make is None:
            yield data
            return
        try:
            yield from self._decompress(data)
        except Exception as failure:
            if not isinstance(failure, (zlib.error, EOFError, OSError, *_errors())):
                raise
            raise ContentError(f"{self._what} cannot be decompressed: {failure}") from failure

    def _decompress(self, data: bytes) -> Iterator[bytes]:
        assert self._make is not None
        while data:
            if self._stream is None or self._stream.eof:
                data = data.lstrip(b"\x00") if self._stream else data
                if not data:
                    return
                self._stream = self._make()
            stream = self._stream
            yield stream.decompress(data, _PIECE)
            if hasattr(stream, "unconsumed_tail"):
                while stream.unconsumed_tail and not stream.eof:
                    yield stream.decompress(stream.unconsumed_tail, _PIECE)
            else:
                while not stream.eof and not stream.needs_input:
                    yield stream.decompress(b"", _PIECE)
            data = stream.unused_data if stream.eof else b""


def _errors() -> Iterator[type[Exception]]:
    for name, kind in _ERRORS.items():
        if name in sys.modules:
            yield getattr(sys.modules[name], kind)


_ERRORS = {"compression.zstd": "ZstdError", "backports.zstd": "ZstdError", "lzma": "LZMAError"}
"""Of modules that are imported when they are needed."""
