"""The ledger's books: which bytes of which blobs are missing, leased and present. Pure.

They are changed only here; decisions are made elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from typing import Literal

from ..errors import CancelledError, ContentError
from .blobs import Blob, Lease, Source
from .memory import Memory
from .spans import Span, merged, total


class Accounts:
    """The blobs of a run.

    Args:
        blobs: in the wanted order.
        tell: called with a topic and a text for each costly decision.
    """

    def __init__(self, blobs: Sequence[Blob], tell: Callable[[str, str], None]) -> None:
        self.blobs = blobs
        self.failure: Exception | None = None
        self._tell = tell
        self.memory = Memory()
        for number, blob in enumerate(blobs):
            blob.number = number
        # Derived from the blobs, to avoid searching all of them each time.
        self._active: list[Lease] = []
        """All leases."""
        self._leaving: list[Lease] = []
        """Leases that were taken away: their connections are open until the workers report."""
        self._undone = list(blobs)
        """Blobs that are not verified yet."""
        self._wanting = [blob for blob in blobs if blob.missing]
        """Blobs with bytes that nobody fetches."""
        self._begun = [blob for blob in blobs if blob.present or not blob.extent]
        """Blobs that may have something to hash."""
        self._idle: list[float] = []
        """When connections that nobody uses just now have brought their last bytes; the one that
        was used last is taken first."""
        self.unassigned = sum(total(blob.missing) for blob in blobs)
        """How many bytes are not leased yet."""

    @property
    def is_done(self) -> bool:
        """Whether every blob is in its place and verified."""
        return not self._undone

    @property
    def connections(self) -> int:
        """How many connections are in use."""
        return sum(not lease.source.is_local for lease in (*self._active, *self._leaving))

    def stop(self) -> None:
        """Nothing more is to be done."""
        self._fail(CancelledError("stopped"))

    def _assign(self, lease: Lease) -> None:
        first, *others = lease.blob.missing
        rest = [(lease.stop, first[1])] if lease.stop < first[1] else []
        self._set_missing(lease.blob, [*rest, *others])
        self._add(lease)

    def _add(self, lease: Lease) -> None:
        for other in self._active:
            if not (other.source.is_local or lease.source.is_local):
                other.has_company = lease.has_company = True
        if self._idle and not lease.source.is_local:
            self._idle.pop()
        lease.blob.leases.append(lease)
        self._active.append(lease)

    def _idles(self, lease: Lease) -> None:
        """A lease's connection waits for the next one."""
        if not lease.source.is_local:
            self._idle.append(lease.last)

    def _lease_next_gap(self, lease: Lease, at: int) -> None:
        """Lease the next missing range ahead of the stream."""
        missing = lease.blob.missing
        for number, (start, stop) in enumerate(missing):
            if stop > at:
                begin = max(start, at)
                passed = [(start, begin)] if begin > start else []
                rest = [*missing[:number], *passed, *missing[number + 1 :]]
                self._set_missing(lease.blob, rest)
                lease.start = lease.position = begin
                lease.stop = stop
                return

    def _drop(self, blob: Blob, source: Source, failure: Exception) -> None:
        """A local source proved unreliable; if it was the last one, that is why the run fails."""
        if source in blob.sources:
            blob.sources.remove(source)
            self._tell("source", f"{blob.digest}: {source.server} cannot be used")
            if blob.sequential:
                # The next source has the layer in another form, compressed or not.
                self._restart(blob, None)
        if not blob.sources and blob.missing:
            self._fail(failure)

    def _restart(self, blob: Blob, failure: ContentError | None) -> None:
        for lease in blob.leases:
            self._active.remove(lease)
        self._leaving += blob.leases
        blob.leases.clear()
        blob.epoch += 1
        self.memory.release(blob)
        self.unassigned -= total(blob.missing)
        blob.begin([])
        self.unassigned += total(blob.missing)
        keep_in(self._wanting, blob, bool(blob.missing))
        keep_in(self._begun, blob, not blob.extent)
        if failure:
            self._tell("again", f"{blob.digest} starts again: {failure.marked}")

    def _fail(self, failure: Exception) -> None:
        self.failure = self.failure or failure

    def _leaves(self, lease: Lease) -> Literal[False]:
        """A worker hears that it has lost its lease: its connection is open until it is closed."""
        self._leaving.append(lease)
        return False

    def _was_taken_away(self, lease: Lease) -> bool:
        """Whether a worker, which is at an end with a lease, has none any more."""
        if lease in lease.blob.leases:
            return False
        if lease in self._leaving:
            self._leaving.remove(lease)
        return True

    def _release(self, lease: Lease) -> None:
        self._give_back(lease)
        lease.blob.leases.remove(lease)
        self._active.remove(lease)

    def _give_back(self, lease: Lease) -> None:
        if lease.position < lease.stop:
            left = (lease.position, lease.stop)
            self._set_missing(lease.blob, merged([*lease.blob.missing, left]))
            lease.stop = lease.position

    def _postpone(self, blob: Blob, until: float, server: Hashable | None) -> None:
        """A blob waits; if its server does not answer, so do all that it serves, equally long."""
        blob.not_before = max(blob.not_before, until)
        if server is not None:
            waiting = [
                one for one in self._wanting if one.sources and one.sources[0].server == server
            ]
            latest = max(one.not_before for one in [blob, *waiting])
            for one in waiting:
                one.not_before = latest

    def _set_missing(self, blob: Blob, missing: list[Span]) -> None:
        self.unassigned += total(missing) - total(blob.missing)
        blob.missing = missing
        keep_in(self._wanting, blob, bool(missing))


def keep_in(blobs: list[Blob], blob: Blob, wanted: bool) -> None:
    """Add a blob to a sorted list, or remove it."""
    at = bisect_left(blobs, blob)
    is_there = at < len(blobs) and blobs[at] is blob
    if wanted and not is_there:
        blobs.insert(at, blob)
    elif is_there and not wanted:
        del blobs[at]
