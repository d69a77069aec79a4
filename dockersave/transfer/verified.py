"""A blob that the caller reads on their own thread, verified while it is read."""

from __future__ import annotations

import io
import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ..cancellation import Cancellation
from ..errors import CancelledError, ContentError, DockersaveError
from ..model.descriptors import Descriptor
from ..model.digest import Verifier
from ..retry_policy import RetryPolicy
from .blobs import Blob, Hashing, Lease, Source, Wait
from .ledger import Ledger
from .reading import asked_for, received
from .throttle import Throttle

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class VerifiedBlob(io.RawIOBase):
    """A blob that is read in order.

    Args:
        source: its source.
        descriptor: its expected size and digest.
        policy, throttle, cancellation: the run's.
    """

    def __init__(
        self,
        source: Source,
        descriptor: Descriptor,
        policy: RetryPolicy,
        throttle: Throttle,
        cancellation: Cancellation,
    ) -> None:
        # Bytes that were returned cannot be taken back.
        self._blob = Blob(
            descriptor.digest, descriptor.size, [source], sequential=True, restartable=False
        )
        self._ledger = Ledger([self._blob], policy, most=1)
        self._verifier = Verifier(
            descriptor.digest, descriptor.size, f"the blob {descriptor.digest}"
        )
        self._throttle = throttle
        self._cancellation = cancellation
        self._parts = self._read()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes.

        Raises:
            ContentError: the blob does not match its descriptor; raised at its end at the latest.
            DockersaveError: it cannot be fetched.
            ValueError: it is closed.
        """
        if self.closed:
            # Its last bytes are in a buffer that is reused by now.
            raise ValueError("I/O operation on closed file")
        if not self._rest:
            self._rest = next(self._parts, self._rest)
            if not self._rest and not self._ledger.is_done:
                # After an error, another read must not look like the end.
                self._cancellation.check()
                raise self._ledger.failure or ValueError("it could not be read completely")
        view = memoryview(buffer).cast("B")[: len(self._rest)]
        view[:] = self._rest[: len(view)]
        self._rest = self._rest[len(view) :]
        return len(view)

    def _read(self) -> Generator[memoryview, None, None]:
        ledger = self._ledger
        while (task := ledger.next(time.monotonic())) is not None:
            if isinstance(task, Wait):
                self._cancellation.wait(max(0.0, task.until - time.monotonic()))
            elif isinstance(task, Hashing):
                self._hash(task, memoryview(b""))
            else:
                yield from self._fetch(task)
        if ledger.failure:
            raise ledger.failure

    def _fetch(self, lease: Lease) -> Iterator[memoryview]:
        ledger, asked = self._ledger, asked_for(lease)
        try:
            stream = lease.source.open(*asked)
            with self._throttle.reading(stream) as reader:
                now = time.monotonic()
                if not ledger.opened(lease, asked, stream.start, stream.ranged, now):
                    return
                for data in received(ledger, lease, reader, nullcontext(), lambda lease: None):
                    ledger.wrote(lease, len(data), time.monotonic())
                    if task := ledger.hashing(lease.blob, len(data)):
                        # The last bytes are returned only if all of it is right.
                        self._hash(task, data)
                    yield data
        except CancelledError:
            raise
        except DockersaveError as failure:
            if ledger.failure:
                raise
            ledger.failed(lease, failure, time.monotonic())
        else:
            ledger.ended(lease)

    def _hash(self, task: Hashing, data: memoryview) -> None:
        self._verifier.update(data)
        failure = None
        if task.is_last:
            try:
                self._verifier.finish()
            except ContentError as wrong:
                failure = wrong
        self._ledger.hashed(task, failure)
        if failure:
            raise failure

    def close(self) -> None:
        """Close the connection."""
        self._parts.close()
        super().close()
