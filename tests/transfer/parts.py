"""What a world is made of, beside its ledger: workers, and the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dockersave.transfer.blobs import Blob, Hashing, Lease, Step
from dockersave.transfer.spans import Span
from tests.transfer.outcomes import GRANULE


class Disk:
    """What became of a blob's bytes, in granules; beside it the hash of what was read back."""

    def __init__(self, blob: Blob, have: Sequence[tuple[int, bool]] = ()) -> None:
        self.epoch = blob.epoch
        self.content: dict[int, bool] = dict(have)
        self.fed = 0
        self.is_right = True
        self.has_window = False
        """Whether what unpacks it looks far back: it needs memory."""

    def renew(self, blob: Blob) -> None:
        """What `Download.renew` does."""
        if self.epoch != blob.epoch:
            self.epoch, self.fed, self.is_right = blob.epoch, 0, True
            self.content.clear()
            self.has_window = False

    def hash(self, start: int, stop: int) -> None:
        """Take what is there as the next bytes of the hash."""
        for granule in range(start // GRANULE, stop // GRANULE):
            assert granule in self.content, "bytes are hashed that nobody has written"
            self.is_right = self.is_right and self.content[granule]
        self.fed = stop


@dataclass
class Worker:
    """What one is about: nothing, a lease, or a range to hash; what comes after that."""

    lease: Lease | None = None
    asked: Span = (0, 0)
    at: int = -1
    """The stream's position; -1 before it is open."""
    step: Step | None = None
    """What it reads just now."""
    amount: int = 0
    """Bytes that were read and are not written yet."""
    bad: bool = False
    task: Hashing | None = None

    @property
    def is_at_end(self) -> bool:
        """Whether the stream has no more, though more is wanted: it was asked for less."""
        return self.step is not None and bool(self.step.take) and self.at >= self.asked[1]

    @property
    def is_whole(self) -> bool:
        """Whether it reads all of a blob, from wherever something is missing."""
        return self.lease is not None and self.lease.whole
