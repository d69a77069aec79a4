"""The ledger: who fetches which bytes, what is left, and what is retried. Pure.

It owns all blobs of a run. Workers ask it what to do (`next`), and tell it what happened
(`opened`, `wrote`, `hashed`, `ended`, `failed`). It has no threads, no clock and no I/O, so that
small cases can be tested exhaustively, and runs simulated. Threads hold a lock around each call.

A byte of a blob is in one of three states:

    missing ──lease──▶ leased ──wrote──▶ present ──hashed──▶ hashed, then judged
       ▲                  │                 │
       └── ended, failed ─┘                 └── judged wrong: all of the blob is missing again

Invariants (`tests/transfer/invariants.py` checks them after every step):

1.  Present, leased and missing bytes of a blob are the whole blob, and no byte is in two states.
2.  While a blob is neither done nor failed, at least one of these is true: a worker has a lease
    on it or hashes it; `next` has work for it right now; it waits until a stated moment; every
    allowed connection is busy elsewhere; there is no room for it yet; or another blob has the
    memory that it needs (`memory.py`), and one of these is true for that one.
3.  Every restart is counted: `Blob.strikes` (wrong bytes), `Blob.attempts` (requests in a row
    without a byte of this blob), sources (each is dropped once) and `capacity` (connections given
    up). Bytes that are kept are progress: they reset the attempts, and nothing waits for them. So
    every run ends, and none that makes progress is given up. (Less than `LIMITS.read_least` is
    not progress: with ten bytes per connection, a run would never end.)
4.  Hashing runs from the first byte to the last, by one worker at a time, and never passes what
    is present. A blob is done when its last byte has been hashed and the digest is right.
5.  The blob with the memory is partly hashed; one that waits has bytes that are not (`memory.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

from ..errors import ContentError, NetworkError
from ..limits import LIMITS
from ..retry_policy import RetryPolicy
from .accounts import Accounts, keep_in
from .blobs import Blob, Hashing, Lease, Source, Step, Wait
from .cutting import WARM, most_behind, piece_of
from .spans import Span

_STRIKES = 1
"""How often a blob with wrong bytes is fetched again."""
_END = Step(0, 0)


class Ledger(Accounts):
    """The blobs of a run.

    Args:
        blobs: in the wanted order; their state, and that of a lease, is explained in `blobs.py`.
        policy: judges failures.
        most: the most connections ever.
        piece_most: the largest range of one request, in bytes.
        tell: called with a topic and a text for each costly decision.
    """

    def __init__(
        self,
        blobs: Sequence[Blob],
        policy: RetryPolicy,
        *,
        most: int,
        piece_most: int = LIMITS.piece_most,
        tell: Callable[[str, str], None] = lambda topic, text: None,
    ) -> None:
        super().__init__(blobs, tell)
        self.most = self.capacity = self._granted = most
        """How many connections may be used: ever; now; and now, had no server refused any."""
        self.spread = True
        """Whether pieces are cut for `most` connections, or for the current number."""
        self.horizon = math.inf
        """Up to which offset of the output there is room."""
        self.received = 0
        """Bytes received over the network."""
        self.latency = 0.0
        """Recent time from a lease to its first byte, in seconds."""
        self._policy = policy
        self._piece_most = piece_most
        self._whole_only: set[Hashable] = set()
        self._served = 0

    # What a worker does next.

    def next(self, now: float) -> Lease | Hashing | Wait | None:
        """The next task for an idle worker.

        Args:
            now: seconds from a fixed moment.

        Returns:
            None if nothing will ever be left to do.
        """
        if self.failure or not self._undone:
            return None
        for blob in self._begun:
            if task := self.hashing(blob, 8 * LIMITS.read):
                return task
        lease, until = self._take(now)
        return lease or self._split(now) or Wait(until)

    def _take(self, now: float) -> tuple[Lease | None, float]:
        until = math.inf
        is_full = self.connections >= self.capacity
        for blob in self._wanting:
            if not blob.sources:
                self._fail(ContentError(f"layer {blob.digest} is incomplete"))
                break
            source = blob.sources[0]
            if is_full and not source.is_local:
                continue
            if now < blob.not_before:
                until = min(until, blob.not_before)
                continue
            whole = not source.is_local and (blob.whole or source.server in self._whole_only)
            if blob.waits or (blob.leases and (whole or blob.sequential or not blob.has_answered)):
                continue
            start, stop = self._piece(blob, source, whole)
            if start == stop:
                break  # No room for it, and so none for anything after it.
            lease = Lease(blob, source, start, stop, whole, blob.round, now)
            self._assign(lease)
            return lease, until
        return None, until

    def _piece(self, blob: Blob, source: Source, whole: bool) -> Span:
        start, stop = blob.missing[0]
        room = self.horizon - blob.base
        if blob.sequential:
            return start, stop if room > 0 else start
        if whole:
            # It is read to its end, whatever the room: only the first may have to wait.
            return start, stop if blob.extent <= room or blob is self._undone[0] else start
        if not source.is_local:
            connections = self.most if self.spread else self.capacity
            _, stop = piece_of((start, stop), self.unassigned // connections, self._piece_most)
        return start, max(start, int(min(stop, room)))

    def _split(self, now: float) -> Lease | None:
        """Take over the second half of the lease that would end last, if it is worth it."""
        if self.connections >= self.capacity:
            return None
        splittable = [
            lease
            for lease in self._active
            if not (lease.whole or lease.blob.sequential or lease.blob.whole)
            and not (lease.source.is_local or lease.source.server in self._whole_only)
            and lease.blob.has_answered
            and not lease.is_ahead
        ]
        is_warm = bool(self._idle) and now - self._idle[-1] < WARM
        if not (found := most_behind(splittable, self.latency, now, is_warm=is_warm)):
            return None
        lease, share = found
        blob, at = lease.blob, lease.stop - share
        half = Lease(blob, lease.source, at, lease.stop, False, lease.round, now)
        lease.stop, lease.is_cut = at, True
        self._add(half)
        self._tell("split", f"{blob.digest}: {half.start}-{half.stop} to another connection")
        return half

    # What happens to a lease.

    def opened(self, lease: Lease, asked: Span, start: int, ranged: bool, now: float) -> bool:
        """A source has started to answer.

        Args:
            lease: the lease.
            asked: the requested range.
            start: the position of the first byte that it sends.
            ranged: whether it ends with the range, not with the blob.
            now: seconds from a fixed moment.

        Returns:
            Whether to read it. If not, the lease is over.
        """
        blob = lease.blob
        if lease not in blob.leases:
            return False
        if start > lease.position:
            # Such a server misunderstands ranges; only whole blobs are reliable.
            blob.whole = True
            self.failed(lease, ContentError("sent other bytes than requested", transient=True), now)
            return self._leaves(lease)
        blob.has_answered = True
        if ranged or lease.whole or blob.sequential or asked == (0, blob.size):
            return True
        if lease.source.server not in self._whole_only:
            self._whole_only.add(lease.source.server)
            self._tell("ranges", f"{lease.source.server} sends whole blobs only")
        if any(other.whole for other in blob.leases):
            self._release(lease)
            return self._leaves(lease)
        # It brings the whole blob: take everything missing from it, not just this range.
        self._give_back(lease)
        lease.whole = True
        return True

    def step(self, lease: Lease, at: int) -> Step:
        """What to do with the next bytes of a lease's stream.

        Args:
            lease: the lease.
            at: their position in the blob.
        """
        blob = lease.blob
        if lease not in blob.leases or blob.waits or self.failure:
            return _END
        if lease.whole and lease.position in (lease.start, lease.stop):
            # While it was skipped, a range before it may have become missing.
            self._give_back(lease)
            self._lease_next_gap(lease, at)
        if lease.position >= lease.stop:
            return _END
        take = lease.stop - lease.position
        if blob.sequential:
            return Step(lease.position - at, take)
        room = self.horizon - blob.base - lease.position
        if room <= 0:
            if self._is_in_the_way(lease):
                return _END
            return Step(lease.position - at, 0, is_full=True)
        return Step(lease.position - at, int(min(take, room)))

    def _is_in_the_way(self, lease: Lease) -> bool:
        """Whether there will be no room until this lease's connection fetches something else."""
        first = self._undone[0]
        is_stuck = bool(first.missing) and first.edge == first.missing[0][0]
        return is_stuck and (lease.blob is first or self.connections >= self.capacity)

    def keep(self, lease: Lease, amount: int) -> int:
        """How many of the next `amount` bytes of a lease, already read, should be written.

        Fewer than all if another worker has taken over the end of the lease. Bytes to be written
        are no longer taken over.
        """
        if lease not in lease.blob.leases:
            return 0
        lease.claimed = min(lease.stop, lease.position + amount)
        return lease.claimed - lease.position

    def wrote(self, lease: Lease, amount: int, now: float) -> None:
        """The next `amount` bytes of a lease, as returned by `keep`, are in place."""
        blob = lease.blob
        if lease not in blob.leases:
            return
        if not lease.gained:
            lease.first = now
            keep_in(self._begun, blob, True)
            if not lease.source.is_local:
                self.latency += ((now - lease.since) - self.latency) / 4
        lease.gain(amount, now)
        blob.present += amount
        if lease.source.is_local:
            blob.reused += amount
            blob.doubtful = True
        else:
            self.received += amount
            for other in self._active:
                other.is_overtaken = other.is_overtaken or other is not lease
            if lease.has_progressed:
                blob.attempts = 0

    def ended(self, lease: Lease) -> None:
        """A lease's worker stops reading, without an error."""
        if self._was_taken_away(lease):
            return
        if lease.gained and lease.position == lease.stop and not lease.is_cut:
            self._idles(lease)
        self._release(lease)
        self._serve()

    def _serve(self) -> None:
        self._served += 1
        if self._served >= 2 * self.capacity and self.capacity < self._granted:
            # A server may grant now what it refused before.
            self._served = 0
            self.capacity += 1

    def failed(self, lease: Lease, failure: Exception, now: float) -> None:
        """A lease's source cannot be opened or read.

        Args:
            lease: the lease.
            failure: the source's exception.
            now: seconds from a fixed moment.
        """
        blob = lease.blob
        if self._was_taken_away(lease):
            return
        has_progressed = lease.has_progressed
        self._release(lease)
        if self.failure:
            return
        if lease.source.is_local:
            if not blob.done:  # The source may send more after the end of the correct blob.
                self._drop(blob, lease.source, failure)
            return
        if not isinstance(failure, NetworkError | ContentError):
            self._fail(failure)
            return
        verdict = self._policy.judge(
            failure,
            blob.attempts,
            gained=has_progressed,
            counted=lease.round < blob.round,
            alone=not self.connections,
            crowd=lease.has_company,
            overtaken=lease.is_overtaken,
            now=now,
        )
        if verdict.failure:
            self._fail(verdict.failure)
            return
        if has_progressed:
            self._serve()
        else:
            blob.has_answered = False
        if verdict.counts:
            blob.attempts += 1
            blob.round += 1
        if verdict.sheds:
            self._shed()
        self._postpone(blob, verdict.until, lease.source.server if verdict.rests else None)
        self._tell("failed", f"{blob.digest} at {lease.position}: {failure.marked}")

    @property
    def tasks(self) -> int:
        """About how many workers can have something to do."""
        begun = len(self._wanting) + len(self._begun) + len(self._active)
        return self.unassigned // LIMITS.piece_least + begun

    def limit(self, connections: int) -> None:
        """Limit the number of connections for good."""
        self.most = min(self.most, connections)
        self.capacity = min(self.capacity, self.most)
        self._granted = min(self._granted, self.most)

    def grant(self, connections: int) -> None:
        """Use this many connections from now on, unless the server has refused fewer."""
        connections = min(connections, self.most)
        if self.capacity == self._granted:
            self.capacity = connections
        self._granted = connections

    def _shed(self) -> None:
        """Continue with the remaining connections, at least one."""
        self.capacity = max(1, self.connections)
        self._served = 0
        self._tell("shed", f"{self.capacity} connections are left")

    # Hashing.

    def hashing(self, blob: Blob, most: int) -> Hashing | None:
        """The next range of a blob to hash, at most `most` bytes, unless it is being hashed."""
        if blob.done or blob.is_hashing or (blob.waits and not self.memory.may_resume(blob)):
            return None
        edge = blob.edge
        if edge == blob.hashed and blob.extent:
            return None
        blob.is_hashing = True
        return Hashing(blob, blob.hashed, min(edge, blob.hashed + most))

    def hashed(self, task: Hashing, failure: ContentError | None = None) -> None:
        """A range has been hashed.

        Args:
            task: the range.
            failure: the error, or None if the blob is right so far.
        """
        blob = task.blob
        blob.is_hashing = False
        blob.hashed = task.stop
        blob.waits = blob.waits and task.stop < blob.edge
        if failure:
            self._judged_wrong(blob, failure)
        elif task.is_last:
            blob.done = True
            self.memory.release(blob)
            keep_in(self._undone, blob, False)
            keep_in(self._begun, blob, False)

    def _judged_wrong(self, blob: Blob, failure: ContentError) -> None:
        """Restart: first without bytes found on the disk, then once more as a whole."""
        if not blob.restartable:
            self._fail(failure)
        elif blob.sources and blob.sources[0].is_local:
            self._drop(blob, blob.sources[0], failure)
            self._restart(blob, failure)
        else:
            if not blob.doubtful:
                blob.strikes += 1
                blob.whole = True
            if blob.strikes > _STRIKES:
                self._fail(failure)
            else:
                self._restart(blob, failure)
        if not blob.sources:
            self._fail(failure)
