"""Read from sources in suitable amounts, and no faster than the limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..cancellation import Cancellation
from ..limits import LIMITS

_QUICK, _SLOW = 0.05, 0.5


class Stream(Protocol):
    """Bytes of a blob, in order."""

    @property
    def start(self) -> int:
        """The position of the first byte: as requested, or 0 without ranges."""

    @property
    def ranged(self) -> bool:
        """Whether it ends with the range, not with the blob."""

    @property
    def is_ahead(self) -> bool:
        """Whether more has arrived than was read: then the network is not the bottleneck."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer with the next bytes; returns how many, 0 at the end."""

    def interrupt(self) -> None:
        """Wake a thread that waits in `readinto`."""

    def close(self) -> None:
        """Close the stream."""


class Throttle:
    """The rate limit of all streams of a run.

    Args:
        rate: bytes per second for all together, or None for no limit.
        cancellation: ends the waiting.
        connections: the most; the more there are, the less each reads at once.
    """

    def __init__(self, rate: int | None, cancellation: Cancellation, connections: int) -> None:
        self._rate = rate
        self._cancellation = cancellation
        self._most = min(LIMITS.read, LIMITS.buffers // connections)
        if rate:
            self._most = min(self._most, max(LIMITS.read_least, rate // 8))
        self._lock = threading.Lock()
        self._free_at = time.monotonic()
        self._readers: set[Reader] = set()
        self._buffers: list[memoryview] = []

    @contextmanager
    def reading(self, stream: Stream, *, free: bool = False) -> Iterator[Reader]:
        """Read from a stream, and close it.

        Args:
            stream: an open stream.
            free: whether it is on this machine, so that no limit applies.
        """
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = memoryview(bytearray(self._most))
        reader = Reader(self, stream, buffer, free)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            self._buffers.append(buffer)
            stream.close()

    def interrupt(self) -> None:
        """Wake every thread that waits for bytes."""
        for reader in list(self._readers):
            reader.stream.interrupt()

    def spend(self, amount: int) -> None:
        """Wait until the limit allows the `amount` bytes that were just read."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + amount / self._rate
            pause = self._free_at - now
        self._cancellation.wait(pause)


class Reader:
    """Adapts the size of reads to the speed: small ones if it is slow."""

    __slots__ = ("_amount", "_buffer", "_free", "_throttle", "stream")

    def __init__(self, throttle: Throttle, stream: Stream, buffer: memoryview, free: bool) -> None:
        self.stream = stream
        self._buffer = buffer
        self._throttle = throttle
        self._amount = min(4 * LIMITS.read_least, len(buffer))
        self._free = free

    def read(self, most: int) -> memoryview:
        """The next bytes, at most `most`; empty at the end.

        Returns:
            Bytes that are valid until the next call.

        Raises:
            DockersaveError, OSError: the stream cannot be read.
        """
        begun = time.monotonic()
        data = self._buffer[: self.stream.readinto(self._buffer[: min(self._amount, most)])]
        took = time.monotonic() - begun
        if took < _QUICK:
            self._amount = min(self._amount * 2, len(self._buffer))
        elif took > _SLOW:
            self._amount = max(self._amount // 2, LIMITS.read_least)
        if not self._free:
            self._throttle.spend(len(data))
        return data
