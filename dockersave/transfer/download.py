"""What becomes of a blob's bytes: put into their place, hashed in order, judged."""

from __future__ import annotations

from typing import Protocol

from ..model.digest import Buffer, Verifier
from .blobs import Blob
from .run_cache import CacheWriter


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


class Download(Protocol):
    """What takes the bytes of one blob."""

    def write(self, position: int, data: Buffer) -> None:
        """Take bytes, whose position may be anywhere.

        Raises:
            OutputError: they cannot be written.
        """

    def read(self, position: int, amount: int) -> bytes:
        """Give back bytes that have not been hashed yet; at most `amount`, at least one."""

    def hash(self, data: Buffer) -> int:
        """Take the next bytes in order.

        Returns:
            How many were taken. Fewer than all where there is no memory for the rest just now: then
            `read` gives them back, and they are to come again.

        Raises:
            ContentError: what came so far is wrong.
        """

    def judge(self) -> None:
        """All of it has been hashed.

        Raises:
            ContentError: it is wrong.
        """

    def renew(self) -> None:
        """Begin again if the ledger has. Called while nobody writes or hashes."""

    def close(self) -> None:
        """Nothing more comes."""


class BlobDownload:
    """A blob that goes to a place, in any order, and is read back where the hash lags behind.

    Args:
        blob: what the ledger knows of it.
        place: where it goes.
        cache: keeps it for other runs, too.
    """

    def __init__(self, blob: Blob, place: Place, cache: CacheWriter | None = None) -> None:
        self.blob = blob
        self.place = place
        self._cache = cache
        self.epoch = blob.epoch
        self._verifier = self._new()

    def _new(self) -> Verifier:
        return Verifier(self.blob.digest, self.blob.size, f"layer {self.blob.digest}")

    def write(self, position: int, data: Buffer) -> None:
        """Put them into their place."""
        self.place.write(position, data)
        self.place.record(position, position + len(data))
        if self._cache:
            self._cache.write(position, data)

    def read(self, position: int, amount: int) -> bytes:
        """Read them back from there."""
        return self.place.read(position, amount)

    def hash(self, data: Buffer) -> int:
        """Hash them."""
        self._verifier.update(data)
        return len(data)

    def judge(self) -> None:
        """Compare size and digest."""
        self._verifier.finish()
        if self._cache:
            self._cache.commit(self.place.read)

    def renew(self) -> None:
        """Forget what was there, if the ledger has."""
        if self.epoch != self.blob.epoch:
            self.epoch = self.blob.epoch
            self._verifier = self._new()
            self.place.forget()

    def close(self) -> None:
        """Keep nothing that is not complete."""
        if self._cache:
            self._cache.close()
