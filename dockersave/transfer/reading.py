"""One lease, read from its source: the only loop in which bytes of blobs are received."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from ..errors import ContentError, NetworkError
from .blobs import Lease
from .ledger import Ledger
from .throttle import Reader


def received(
    ledger: Ledger,
    lease: Lease,
    reader: Reader,
    lock: AbstractContextManager[object],
    wait_for_room: Callable[[Lease], None],
) -> Iterator[memoryview]:
    """The bytes of a lease in order; call `Ledger.wrote` for each part before the next.

    Args:
        ledger, lease: decide how far to read.
        reader: of an open stream.
        lock: held around each call of the ledger.
        wait_for_room: returns when there may be room, or something else to do first.

    Raises:
        NetworkError: the stream ends early or cannot be read.
        ContentError: it continues after the end of the blob.
    """
    at = reader.stream.start
    while True:
        with lock:
            step = ledger.step(lease, at)
        if step.is_full:
            wait_for_room(lease)
            continue
        if not step.take:
            break
        data = reader.read(step.skip or step.take)
        if not data:
            raise NetworkError("the connection ended early", transient=True)
        at += len(data)
        if step.skip:
            continue
        lease.is_ahead = reader.stream.is_ahead
        with lock:
            own = ledger.keep(lease, len(data))
        if own:
            yield data[:own]
    if lease.gained and at == lease.blob.extent and reader.read(1):
        raise ContentError(f"layer {lease.blob.digest} is longer than the stated {at} bytes")


def asked_for(lease: Lease) -> tuple[int, int]:
    """The range to request from a lease's source."""
    return (0, lease.blob.extent) if lease.whole else (lease.position, lease.stop)
