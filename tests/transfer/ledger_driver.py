"""A ledger that a test drives call by call."""

from __future__ import annotations

from collections.abc import Sequence

from dockersave.errors import ContentError, NetworkError
from dockersave.transfer.blobs import Blob, Hashing, Lease, Wait
from dockersave.transfer.ledger import Ledger
from tests.transfer.fake_sources import attempts
from tests.transfer.invariants import check
from tests.transfer.outcomes import GRANULE, NamedSource

G = GRANULE
BROKEN = NetworkError("reset", transient=True)
CROWDED = NetworkError("too many", transient=True, crowded=True, answered=True)


class LedgerDriver:
    """A ledger, and what it has traced."""

    def __init__(self, *blobs: Blob, most: int = 4, piece_most: int = 4 * G, retries: int = 2):
        self.told: list[tuple[str, str]] = []
        self.ledger = Ledger(
            blobs,
            attempts(retries),
            most=most,
            piece_most=piece_most,
            tell=lambda topic, text: self.told.append((topic, text)),
        )

    def task(self, now: float = 0.0) -> object:
        """The next task; whatever can be hashed is hashed first."""
        while isinstance(task := self.ledger.next(now), Hashing):
            self.ledger.hashed(task)
        return task

    def lease(self, now: float = 0.0) -> Lease:
        """The next lease."""
        task = self.task(now)
        assert isinstance(task, Lease), task
        return task

    def until(self, now: float = 0.0) -> float:
        """Until when there is nothing to do."""
        task = self.task(now)
        assert isinstance(task, Wait), task
        return task.until

    def open(self, now: float = 0.0) -> Lease:
        """A lease whose source answers as asked."""
        lease = self.lease(now)
        assert self.ledger.opened(lease, (lease.start, lease.stop), lease.start, True, now)
        return lease

    def write(self, lease: Lease, amount: int = 0, now: float = 0.0) -> None:
        """The next bytes of a lease, or all that are left."""
        amount = amount or lease.stop - lease.position
        kept = self.ledger.keep(lease, amount)
        self.ledger.wrote(lease, kept, now)
        check(self.ledger, now)

    def fetch(self, now: float = 0.0) -> Lease:
        """All of a lease."""
        lease = self.open(now)
        self.write(lease, now=now)
        self.ledger.ended(lease)
        return lease

    def hash(self, blob: Blob, failure: ContentError | None = None) -> Hashing:
        """All that can be of a blob."""
        task = self.ledger.hashing(blob, 1000 * G)
        assert task
        self.ledger.hashed(task, failure)
        check(self.ledger, 0.0)
        return task


def blob(
    size: int = 4,
    sources: Sequence[NamedSource] | None = None,
    have: Sequence[tuple[int, int]] = (),
    name: str = "a",
    **more: bool | int,
) -> Blob:
    """A blob of so many granules, from one server unless told otherwise."""
    sources = [NamedSource("server", size * G)] if sources is None else sources
    return Blob(name, size * G, sources, have, **more)  # type: ignore[arg-type]


def disk(size: int = 4) -> NamedSource:
    """A file of so many granules."""
    return NamedSource("disk", size * G, is_local=True)


def wrong(driver: LedgerDriver, only: Blob) -> None:
    """Judge all of a blob to be wrong."""
    driver.hash(only, ContentError("wrong"))
