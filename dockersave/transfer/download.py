"""The download of a blob: bytes are written into place, hashed in order, and verified."""

from __future__ import annotations

from typing import Protocol

from ..model.digest import Buffer, Verifier
from .blobs import Blob
from .run_cache import CacheWriter


class Place(Protocol):
    """The place of one blob. Positions are relative to the blob."""

    def write(self, position: int, data: Buffer) -> None:
        """Write bytes."""

    def read(self, position: int, amount: int) -> bytes:
        """Read bytes back; at most `amount`, at least one."""

    def record(self, start: int, stop: int) -> None:
        """Record for later runs that these bytes are there."""

    def forget(self) -> None:
        """Record that nothing is there."""


class Download(Protocol):
    """Receives the bytes of one blob."""

    def write(self, position: int, data: Buffer) -> None:
        """Write bytes at any position.

        Raises:
            OutputError: they cannot be written.
        """

    def read(self, position: int, amount: int) -> bytes:
        """Return bytes that have not been hashed yet; at most `amount`, at least one."""

    def hash(self, data: Buffer) -> int:
        """Hash the next bytes in order.

        Returns:
            How many were consumed. Fewer than all if there is no memory for the rest right now:
            then `read` returns them again later.

        Raises:
            ContentError: the bytes so far are wrong.
        """

    def judge(self) -> None:
        """Verify the blob, once all of it has been hashed.

        Raises:
            ContentError: it is wrong.
        """

    def renew(self) -> None:
        """Restart if the ledger has restarted the blob. Called while nobody writes or hashes."""

    def close(self) -> None:
        """The end: no more bytes follow."""


class BlobDownload:
    """A blob that is written to its place in any order, and read back if the hash lags behind.

    Args:
        blob: the ledger's record of it.
        place: its place.
        cache: also caches it.
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
        """Write them to their place."""
        self.place.write(position, data)
        self.place.record(position, position + len(data))
        if self._cache:
            self._cache.write(position, data)

    def read(self, position: int, amount: int) -> bytes:
        """Read them back."""
        return self.place.read(position, amount)

    def hash(self, data: Buffer) -> int:
        """Hash them."""
        self._verifier.update(data)
        return len(data)

    def judge(self) -> None:
        """Check size and digest."""
        self._verifier.finish()
        if self._cache:
            self._cache.commit(self.place.read)

    def renew(self) -> None:
        """Forget the old content, if the ledger has."""
        if self.epoch != self.blob.epoch:
            self.epoch = self.blob.epoch
            self._verifier = self._new()
            self.place.forget()

    def close(self) -> None:
        """Discard an incomplete blob."""
        if self._cache:
            self._cache.close()
