"""The ledger's data: blobs, leases on parts of them, and tasks for workers. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, Protocol

from ..limits import LIMITS
from ..values import dataclass, field
from .spans import Span, gaps, merged, total
from .throttle import Stream

_RECENT = 0.2
"""Seconds over which a rate is measured, at least; at most twice as many."""


class Source(Protocol):
    """A source of a blob. The ledger opens none."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's disk."""

    @property
    def size(self) -> int:
        """How many bytes it delivers; -1 if unknown."""

    @property
    def server(self) -> Hashable:
        """Its server: whether it supports ranges holds for all sources of the same server."""

    def open(self, start: int, stop: int) -> Stream:
        """Start to read bytes `start` to `stop` (exclusive).

        Raises:
            DockersaveError: a server does not deliver them.
            OSError: a local source cannot be read.
        """


class Blob:
    """A blob in transfer. `digest`, `size`, `present`, `reused` and `done` are for `Progress`.

    Args:
        digest: its expected digest.
        size: its expected size in bytes.
        sources: its sources, the preferred one first; none if only existing bytes are to be
            verified.
        have: ranges that an earlier run recorded as written; they are hashed like all others.
        base: where it starts in the output, in bytes; compared with `Ledger.horizon`.
        sequential: its bytes are consumed in order, from one source, and not kept: the download is
            not the blob's final place. Its place in the output is then the single step `base`.
        restartable: whether wrong bytes can be fetched again, because they were not passed on yet.
    """

    def __init__(
        self,
        digest: str,
        size: int,
        sources: Sequence[Source],
        have: Iterable[Span] = (),
        *,
        base: int = 0,
        sequential: bool = False,
        restartable: bool = True,
    ) -> None:
        self.digest = digest
        self.size = size
        self.base = base
        self.sequential = sequential
        self.restartable = restartable
        usable = (-1, size)
        self.sources = [each for each in sources if sequential or each.size in usable]
        self.number = 0
        self.done = False
        self.epoch = 0
        """How often it was restarted. State kept elsewhere, such as a hash, belongs to one
        epoch."""
        self.strikes = self.attempts = self.round = 0
        """How often its bytes were wrong; how many requests failed in a row; how many were counted
        in all. Leases of one round run at the same time: of their failures only one counts."""
        self.whole = False
        """Whether it is requested only as a whole from now on."""
        self.has_answered = False
        """Whether its source answered the last request. Until it does, only one connection asks, so
        that failures are not multiplied."""
        self.not_before = -math.inf
        """When it may be requested again, in seconds of the ledger's clock."""
        self.leases: list[Lease] = []
        self.begin(merged(have))

    def begin(self, have: list[Span]) -> None:
        """Only `have` is present."""
        self.missing = gaps(have, self.extent)
        self.present = self.reused = total(have)
        self.hashed = 0
        self.is_hashing = self.waits = False
        """Whether a worker hashes it; whether it waits for memory before it can go on."""
        self.doubtful = bool(have)
        """Whether it contains bytes from this machine's disk: if they are wrong, no server is to
        blame."""

    @property
    def extent(self) -> int:
        """How many bytes the current source delivers: a local one may have the layer unpacked."""
        if self.sequential and self.sources and self.sources[0].size >= 0:
            return self.sources[0].size
        return self.size

    @property
    def edge(self) -> int:
        """Up to which position everything is present."""
        ends = [lease.position for lease in self.leases if lease.position < lease.stop]
        if self.missing:
            ends.append(self.missing[0][0])
        return min(ends, default=self.extent)

    def __lt__(self, other: Blob) -> bool:
        return self.number < other.number


@dataclass(eq=False, slots=True)
class Lease:
    """A range of a blob that is fetched by one worker.

    Args:
        blob: the blob.
        source: its source.
        start, stop: the range; `stop` moves forward when the lease is split.
        whole: the source sends the whole blob, whatever was requested: the lease follows the stream
            over the missing ranges.
        round: see `Blob.round`; failures of one round count once.
        since: when it was granted.
    """

    blob: Blob
    source: Source
    start: int
    stop: int
    whole: bool
    round: int
    since: float
    position: int = field(init=False)
    claimed: int = 0
    """Up to where its worker has read and is about to write: others may take over what comes
    after."""
    has_company: bool = False
    """Whether another connection was in use at the same time."""
    is_overtaken: bool = False
    """Whether another one made progress at the same time."""
    is_ahead: bool = False
    """Whether more has arrived than was read. Bytes already in transit need not be requested
    again."""
    gained: int = 0
    first: float = math.inf
    """When its first bytes arrived."""
    last: float = -math.inf
    """When its last bytes arrived."""
    is_cut: bool = False
    """Whether its end was given to another: its reader stops earlier, and loses its connection."""
    marks: tuple[tuple[float, int], tuple[float, int]] | None = None
    """When it had gained how much, twice: at least `_RECENT` ago, and since then."""

    def __post_init__(self) -> None:
        self.position = self.start

    def gain(self, amount: int, now: float) -> None:
        """That many more of its bytes have arrived."""
        self.position += amount
        self.gained += amount
        self.last = now
        before, latest = self.marks or ((self.first, 0), (self.first, 0))
        if now - latest[0] >= _RECENT:
            before, latest = latest, (now, self.gained)
        self.marks = before, latest

    def rate(self, now: float) -> float:
        """The recent rate in bytes per second: connections start slowly. 0 if it is unknown yet.

        Bytes arrive in blocks, so a few of them say little.
        """
        then, before = self.marks[0] if self.marks else (self.first, 0)
        took, gained = now - then, self.gained - before
        is_known = took >= _RECENT or (took > 0.02 and gained >= LIMITS.split_least)
        return gained / took if is_known else 0.0

    @property
    def has_progressed(self) -> bool:
        """Whether it brought more than a connection costs."""
        return self.gained >= min(LIMITS.read_least, self.stop - self.start)


class Hashing(NamedTuple):
    """A range of a blob that is hashed by one worker; if it ends with the blob, it is verified."""

    blob: Blob
    start: int
    stop: int

    @property
    def is_last(self) -> bool:
        """Whether to verify the blob."""
        return self.stop == self.blob.extent


class Wait(NamedTuple):
    """Nothing to do before this moment or the next event."""

    until: float


class Step(NamedTuple):
    """What to do with a stream: skip `skip` bytes, then read up to `take`.

    Nothing to read means the end, unless `is_full`: then there is no room for more right now.
    """

    skip: int
    take: int
    is_full: bool = False
