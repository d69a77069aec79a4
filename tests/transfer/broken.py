"""Ledgers with bugs that dockersave once had, put back on purpose: what finds none of them proves
nothing."""

from __future__ import annotations

from dockersave.errors import ContentError
from dockersave.transfer.blobs import Blob, Hashing, Lease
from dockersave.transfer.ledger import Ledger


class LosesARange(Ledger):
    """The part of a lease that a worker did not fetch is lost."""

    def _give_back(self, lease: Lease) -> None:
        lease.stop = lease.position


class SettlesEarly(Ledger):
    """A blob counts as verified once all of it is being fetched."""

    def wrote(self, lease: Lease, amount: int, now: float) -> None:
        """Settle before the last byte."""
        super().wrote(lease, amount, now)
        blob = lease.blob
        if not blob.missing and not blob.done:
            self.hashed(Hashing(blob, blob.hashed, blob.extent))


class KeepsWhatOthersTookOver(Ledger):
    """Bytes read before another worker took over half of a lease are written by both."""

    def keep(self, lease: Lease, amount: int) -> int:
        """Keep all of it."""
        return amount


class KeepsTheMemory(Ledger):
    """A blob that is begun again keeps the memory for large windows."""

    def _restart(self, blob: Blob, failure: ContentError | None) -> None:
        owner = self.memory._owner
        super()._restart(blob, failure)
        self.memory._owner = owner


class WakesNobody(Ledger):
    """A blob that waits for memory is not hashed again when it is free."""

    def hashing(self, blob: Blob, most: int) -> Hashing | None:
        """Hash only what never waited."""
        return None if blob.waits else super().hashing(blob, most)


BROKEN = (LosesARange, SettlesEarly)
FORGETFUL = (KeepsTheMemory, WakesNobody)
