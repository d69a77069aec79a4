"""What the ledger keeps of a blob, a lease on some of it, and what it tells workers to do. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, Protocol

from ..limits import LIMITS
from ..values import dataclass, field
from .spans import Span, gaps, merged, total
from .throttle import Stream

_RECENT = 0.2
"""Seconds over which a rate is told, at least; at most twice as many."""


class Source(Protocol):
    """Something that has a blob. The ledger opens none."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's disk."""

    @property
    def size(self) -> int:
        """How many bytes it gives; -1 where nobody knows."""

    @property
    def server(self) -> Hashable:
        """Who serves it: what one source learns of ranges holds for all of the same server."""

    def open(self, start: int, stop: int) -> Stream:
        """Begin to read bytes `start` to `stop` (exclusive).

        Raises:
            DockersaveError: a server does not give them.
            OSError: a local source cannot be read.
        """


class Blob:
    """One blob on its way. `digest`, `size`, `present`, `reused` and `done` are for who looks on.

    Args:
        digest: what it must hash to.
        size: how large it must be, in bytes.
        sources: where it comes from, the preferred one first; none where only what is there
            already is to be judged.
        have: ranges that an earlier run says it wrote; they are hashed like all others.
        base: where it begins in the whole output, in bytes; what `Ledger.horizon` is compared with.
        sequential: its bytes are taken in order only, from one source, and not kept: what takes
            them is not the blob's final place. Then its place in the output is one step, `base`.
        restartable: whether wrong bytes can be fetched again, since nobody has taken them yet.
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
        """How often it was begun again. What is kept beside it, such as a hash, is of one epoch."""
        self.strikes = self.attempts = self.round = 0
        self.whole = False
        """Whether no ranges of it are asked for any more."""
        self.has_answered = False
        """Whether its source did, the last time that it was asked. Until it does, one connection
        asks: what fails is not multiplied by the number of them."""
        self.not_before = -math.inf
        self.leases: list[Lease] = []
        self.begin(merged(have))

    def begin(self, have: list[Span]) -> None:
        """Nothing of it is present but `have`."""
        self.missing = gaps(have, self.extent)
        self.present = self.reused = total(have)
        self.hashed = 0
        self.is_hashing = self.waits = False
        self.doubtful = bool(have)
        """Whether bytes in it come from this machine's disk: if they are wrong, no server is to
        blame."""
        """`waits`: whether what has come of it waits for memory, and the rest with it."""

    @property
    def extent(self) -> int:
        """How many bytes the source in use gives: of a local one, a layer may be unpacked."""
        if self.sequential and self.sources and self.sources[0].size >= 0:
            return self.sources[0].size
        return self.size

    @property
    def edge(self) -> int:
        """Up to where, from the first byte on, all is present."""
        ends = [lease.position for lease in self.leases if lease.position < lease.stop]
        if self.missing:
            ends.append(self.missing[0][0])
        return min(ends, default=self.extent)

    def __lt__(self, other: Blob) -> bool:
        return self.number < other.number


@dataclass(eq=False, slots=True)
class Lease:
    """A range of a blob that one worker fetches.

    Args:
        blob: whose bytes they are.
        source: where from.
        start, stop: which; `stop` moves to the front when the lease is split.
        whole: the source sends all of the blob, whatever was asked for: the lease wanders over
            what is missing as the stream passes it.
        round: see `Blob.round`; failures of one round count once.
        since: when it was given.
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
    """Up to where its worker has read, and is about to write: others take over what is behind."""
    has_company: bool = False
    """Whether another connection was in use at the same time."""
    is_overtaken: bool = False
    """Whether another one brought something at the same time."""
    is_ahead: bool = False
    """Whether more has come than was read. What is on its way already nobody need ask for again."""
    gained: int = 0
    first: float = math.inf
    """When its first bytes came."""
    last: float = -math.inf
    """When its last bytes came."""
    is_cut: bool = False
    """Whether its end was given to another: its reader stops earlier, and loses its connection."""
    marks: tuple[tuple[float, int], tuple[float, int]] | None = None
    """When it had gained how much, twice: at least `_RECENT` ago, and since then."""

    def __post_init__(self) -> None:
        self.position = self.start

    def gain(self, amount: int, now: float) -> None:
        """So many of its bytes have come."""
        self.position += amount
        self.gained += amount
        self.last = now
        before, latest = self.marks or ((self.first, 0), (self.first, 0))
        if now - latest[0] >= _RECENT:
            before, latest = latest, (now, self.gained)
        self.marks = before, latest

    def rate(self, now: float) -> float:
        """Bytes a second of late: connections begin slowly. 0 where that cannot be said yet."""
        then, gained = self.marks[0] if self.marks else (self.first, 0)
        return (self.gained - gained) / (now - then) if now - then > 0.02 else 0.0

    @property
    def has_progressed(self) -> bool:
        """Whether it brought more than what a connection costs."""
        return self.gained >= min(LIMITS.read_least, self.stop - self.start)


class Hashing(NamedTuple):
    """A range of a blob that one worker hashes; where `stop` is the blob's end, it judges."""

    blob: Blob
    start: int
    stop: int

    @property
    def is_last(self) -> bool:
        """Whether the blob is to be judged."""
        return self.stop == self.blob.extent


class Wait(NamedTuple):
    """Nothing to do before this moment, or before something happens."""

    until: float


class Step(NamedTuple):
    """What to do with a stream: leave out `skip` bytes, then take up to `take`.

    Nothing to take is the end, unless `is_full`: then there is no room for more just now.
    """

    skip: int
    take: int
    is_full: bool = False
