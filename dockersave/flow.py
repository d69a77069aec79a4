"""How fast bytes come: no faster than asked for, no slower than a connection is worth."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .arrival import Stream
from .cancellation import Cancellation
from .errors import NetworkError
from .limits import LIMITS
from .options import DEFAULT_JOBS

_QUICK, _SLOW = 0.05, 0.5


class Flow:
    """Watches all connections of a run.

    Args:
        rate: bytes per second for all together, or None for as fast as possible.
        timeout: seconds in which a connection must bring `LIMITS.read_least` bytes. A socket's
            own timeout sees only silence, not a trickle.
        cancellation: ends the waiting.
        connections: at most; the more, the less each reads at once.
    """

    def __init__(
        self,
        rate: int | None,
        timeout: float,
        cancellation: Cancellation,
        connections: int = DEFAULT_JOBS,
    ) -> None:
        self._connections = connections
        self._rate = rate
        self._timeout = timeout
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._free_at = time.monotonic()
        self._readers: set[Reader] = set()
        self._buffers: list[memoryview] = []

    @contextmanager
    def reading(self, stream: Stream, *, free: bool = False) -> Iterator[Reader]:
        """Read from a stream, and close it.

        Args:
            stream: an open stream.
            free: whether it is on this machine, and no rate holds for it.
        """
        most = min(LIMITS.read, LIMITS.buffers // self._connections)
        if self._rate:
            most = min(most, max(LIMITS.read_least, self._rate // 8))
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = memoryview(bytearray(most))
        reader = Reader(self, stream, buffer, most, free)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            self._buffers.append(buffer)
            stream.close()

    def watch(self) -> None:
        """End the reads that bring next to nothing. To be called every now and then."""
        overdue = time.monotonic() - self._timeout
        for reader in list(self._readers):
            if reader.begun < overdue:
                reader.stalled = True
                reader.stream.interrupt()

    def interrupt(self) -> None:
        """Wake every thread that waits for bytes."""
        for reader in list(self._readers):
            reader.stream.interrupt()

    def spend(self, amount: int) -> None:
        """Wait until `amount` bytes, which have just been read, were allowed."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + amount / self._rate
            pause = self._free_at - now
        self._cancellation.wait(pause)

    def slow(self) -> NetworkError:
        """What to say of a connection that was given up."""
        return NetworkError(
            f"next to no data for {self._timeout:g} seconds",
            "if the line is that slow, raise --timeout",
            transient=True,
        )


class Reader:
    """Reads as much at once as arrives in a moment: little from a slow line."""

    __slots__ = ("_amount", "_buffer", "_flow", "_free", "_most", "begun", "stalled", "stream")

    def __init__(
        self, flow: Flow, stream: Stream, buffer: memoryview, most: int, free: bool
    ) -> None:
        self.stream = stream
        self._buffer = buffer
        self.begun = math.inf
        self.stalled = False
        self._flow = flow
        self._most = most
        self._amount = min(4 * LIMITS.read_least, most)
        self._free = free

    def read(self, most: int) -> memoryview:
        """The next bytes, `most` of them at most; none at the end.

        Returns:
            Bytes that are there until the next call.

        Raises:
            NetworkError: the connection broke or is too slow.
        """
        self.begun = begun = time.monotonic()
        try:
            data = self._buffer[: self.stream.readinto(self._buffer[: min(self._amount, most)])]
        except NetworkError as failure:
            if self.stalled:
                raise self._flow.slow() from failure
            raise
        if self.stalled:
            # What came of a trickle does not count, or it would be progress without an end.
            raise self._flow.slow()
        took = time.monotonic() - begun
        self.begun = math.inf
        if took < _QUICK:
            self._amount = min(self._amount * 2, self._most)
        elif took > _SLOW:
            self._amount = max(self._amount // 2, LIMITS.read_least)
        if not self._free:
            self._flow.spend(len(data))
        return data
