"""One blob on its way to its place: what is there, what is hashed, what is missing.

Pieces of a blob arrive in any order; a hash wants them in order. So a blob keeps spans (what
has been written) and a frontier (up to where it has been hashed). Whoever writes at the
frontier hashes straight from its buffer; what lies ahead of it is read back from the page
cache when the frontier gets there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .errors import ContentError
from .limits import LIMITS
from .verify import Buffer, Verifier


class Place(Protocol):
    """Where the bytes of one blob go. Positions count from the blob's first byte."""

    def write(self, position: int, data: Buffer) -> None:
        """Put bytes there."""

    def read(self, position: int, amount: int) -> bytes:
        """Read back what was put there; at most `amount` bytes, at least one."""

    def record(self, start: int, stop: int) -> None:
        """Remember, for a later run, that these bytes are there."""

    def forget(self) -> None:
        """Remember that nothing is."""


class Stream(Protocol):
    """Bytes of a blob, in order."""

    @property
    def start(self) -> int:
        """The position that `read` begins at: as asked, or 0 where ranges are not to be had."""

    @property
    def ranged(self) -> bool:
        """Whether it ends where the range does, not where the blob does."""

    def read(self, amount: int) -> bytes:
        """The next bytes, `amount` unless it is the end; none when the end was reached."""

    def readinto(self, buffer: memoryview) -> int:
        """The same into a buffer; returns how many bytes there are."""

    def interrupt(self) -> None:
        """Wake a thread that waits in `read`."""

    def close(self) -> None:
        """Give up, or finish."""


class Source(Protocol):
    """Something that has a blob."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's disk."""

    @property
    def size(self) -> int:
        """How many bytes it has."""

    def open(self, start: int, stop: int) -> Stream:
        """Begin to read bytes `start` to `stop` (exclusive)."""


@dataclass(eq=False, slots=True)
class Piece:
    """A range of a blob that one thread fetches. What is written of it is a span."""

    arrival: Arrival
    source: Source | None
    start: int
    stop: int
    position: int = field(init=False)
    in_flight: bool = True

    def __post_init__(self) -> None:
        self.position = self.start


class Arrival:
    """The state of one blob. Its methods may be called from any thread.

    Args:
        digest, size: what the blob must be.
        place: where it goes.
        sources: where it comes from, the preferred one first; none where only what is there
            already is to be judged.
        have: ranges that an earlier run says it wrote; they are hashed like all others.
        base: the place's offset in the whole output, which bounds how far a stream runs ahead.
        restartable: whether wrong bytes can be fetched again, since nobody has taken them yet.
    """

    def __init__(
        self,
        digest: str,
        size: int,
        place: Place,
        sources: Sequence[Source],
        have: Sequence[tuple[int, int]] = (),
        base: int = 0,
        restartable: bool = True,
    ) -> None:
        self.restartable = restartable
        self.digest = digest
        self.size = size
        self.base = base
        self.place = place
        self.done = False
        self.stopped = False
        """Set to end what takes long: hashing what is there already."""
        self.reused = 0
        self._splittable = True
        self._sources = list(sources)
        self._lock = threading.Lock()
        self._hash_lock = threading.Lock()
        self._strikes = 0
        self._restart(have)

    def _restart(self, have: Sequence[tuple[int, int]]) -> None:
        self._verifier = Verifier(self.digest, self.size, f"layer {self.digest}")
        self._untrusted = bool(have)
        self._spans: list[Piece] = []
        for start, stop in have:
            self._spans.append(span := Piece(self, None, start, stop, in_flight=False))
            span.position = stop
        self.reused = sum(stop - start for start, stop in have)
        self._missing = _gaps(have, self.size)

    @property
    def present(self) -> int:
        """How many bytes have been written."""
        with self._lock:
            # Spans that the hash has passed are forgotten.
            seen = self._verifier.seen
            ahead = sum(max(0, span.position - max(span.start, seen)) for span in self._spans)
            return min(self.size, seen + ahead)

    @property
    def hashed(self) -> int:
        """How many bytes, from the first one, have been hashed."""
        return self._verifier.seen

    @property
    def unassigned(self) -> int:
        """How many bytes nobody fetches yet."""
        with self._lock:
            return sum(stop - start for start, stop in self._missing)

    def take(self, most: int) -> Piece | None:
        """The next piece to fetch, of `most` bytes or a little more.

        Returns:
            None if all is assigned, or if it has to come in one stream and somebody reads that.
        """
        with self._lock:
            if not self._missing:
                return None
            if not self._splittable:
                if any(span.in_flight for span in self._spans):
                    return None
                self._drop_behind(self._missing[0][0])
            start, stop = self._missing[0]
            source = self._sources[0]
            whole = not self._splittable or source.is_local
            if whole or stop - start < most + LIMITS.piece_least:
                del self._missing[0]
            else:
                stop = start + most
                self._missing[0] = (stop, self._missing[0][1])
            piece = Piece(self, source, start, stop)
            self._spans.append(piece)
            return piece

    def peek(self) -> int:
        """Where the next piece would begin; `size` if there is none."""
        with self._lock:
            return self._missing[0][0] if self._missing else self.size

    def give_back(self, piece: Piece) -> None:
        """Let somebody else fetch what is left of a piece."""
        with self._lock:
            piece.in_flight = False
            if piece.position < piece.stop:
                self._missing = sorted([*self._missing, (piece.position, piece.stop)])
                piece.stop = piece.position

    def serialise(self, piece: Piece) -> bool:
        """The server sends the whole blob whatever the range: ask for no more ranges.

        Returns:
            Whether it is this piece that the blob is to be received with; else somebody else does.
        """
        with self._lock:
            self._splittable = False
            others = [span for span in self._spans if span.in_flight and span is not piece]
            return all(piece.start < other.start for other in others)

    def extend(self, piece: Piece) -> bool:
        """Let a piece of a blob in one stream grow to its end, unless others fetch the blob, too.

        Returns:
            Whether there is more to read for it.
        """
        with self._lock:
            if not any(span.in_flight and span is not piece for span in self._spans):
                self._drop_behind(piece.stop)
                self._missing.clear()
                piece.stop = self.size
            return piece.position < piece.stop

    def _drop_behind(self, position: int) -> None:
        """Forget what is there behind `position`: one stream brings it again."""
        self._spans = [span for span in self._spans if span.start < position]
        self._missing = [(position, self.size)] if position < self.size else []

    def abandon(self, piece: Piece) -> bool:
        """A local source cannot be read: go on with the next one.

        Returns:
            Whether there is a next one.
        """
        with self._lock:
            if piece.source in self._sources:
                self._sources.remove(piece.source)
        self.give_back(piece)
        return bool(self._sources)

    def accept(self, piece: Piece, data: Buffer) -> None:
        """Write the next bytes of a piece, and hash what can be.

        Raises:
            OutputError: they cannot be written.
        """
        position = piece.position
        self.place.write(position, data)
        piece.position = position + len(data)
        self.place.record(position, piece.position)
        if piece.source is not None and piece.source.is_local:
            self.reused += len(data)
        if self._hash_lock.acquire(blocking=False):
            try:
                if position <= self._verifier.seen < piece.position:
                    self._verifier.update(memoryview(data)[self._verifier.seen - position :])
                else:
                    self._advance(piece)
            finally:
                self._hash_lock.release()

    def settle(self, piece: Piece | None) -> bool:
        """Hash on when a piece is complete (or to begin with), and judge when all is hashed.

        Returns:
            Whether the blob is done.

        Raises:
            ContentError: it is not what it should be, however often and from wherever it came.
        """
        with self._hash_lock:
            if piece is not None:
                piece.in_flight = False
            if self.done:
                return True
            self._advance(None)
            if self._verifier.seen < self.size:
                return False
            try:
                self._verifier.finish()
            except ContentError:
                self._reset()
                return False
            self.done = True
            return True

    def _advance(self, mine: Piece | None) -> None:
        """Hash from the frontier on, up to where somebody else is still writing."""
        while not self.stopped and (stop := self._contiguous(mine)) > (seen := self._verifier.seen):
            self._verifier.update(self.place.read(seen, min(stop - seen, LIMITS.read)))

    def _contiguous(self, mine: Piece | None) -> int:
        frontier = self._verifier.seen
        with self._lock:
            self._spans = [
                span for span in self._spans if span.in_flight or span.position > frontier
            ]
            for span in self._spans:
                if span.start <= frontier < span.position and (span is mine or not span.in_flight):
                    return span.position
        return frontier

    def _reset(self) -> None:
        """Begin again: first without what was found on disk, then once more, in one stream."""
        with self._lock:
            if self._sources and self._sources[0].is_local:
                del self._sources[0]
            elif not self._untrusted:
                self._strikes += 1
                self._splittable = False
            if not self._sources or self._strikes > 1 or not self.restartable:
                self._verifier.finish()
            self._restart(())
        self.place.forget()


def _gaps(have: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    gaps: list[tuple[int, int]] = []
    position = 0
    for start, stop in sorted(have):
        if start > position:
            gaps.append((position, start))
        position = max(position, stop)
    if position < size:
        gaps.append((position, size))
    return gaps
