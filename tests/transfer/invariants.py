"""What always holds of a ledger, whatever has happened; the numbers are those of its docstring."""

from __future__ import annotations

import copy
import math

from dockersave.transfer.blobs import Blob, Lease, Wait
from dockersave.transfer.ledger import Ledger
from dockersave.transfer.spans import merged, total


def check(ledger: Ledger, now: float) -> None:
    """Assert all of them.

    Parameters:
        ledger: not changed by it.
        now: the moment, as the ledger was told of it.
    """
    check_account(ledger)
    if not ledger.failure:
        _check_progress(ledger, now)


def check_account(ledger: Ledger) -> None:
    """Assert all but the second, which takes a copy of the ledger to see."""
    for blob in ledger.blobs:
        _check_bytes(blob)
        _check_hash(blob)
    leases = [*ledger._leaving, *(lease for blob in ledger.blobs for lease in blob.leases)]
    remote = sum(not lease.source.is_local for lease in leases)
    assert remote == ledger.connections <= ledger.most, "3: more connections than there may be"
    assert ledger.unassigned == sum(total(blob.missing) for blob in ledger.blobs)
    assert ledger.is_done == all(blob.done for blob in ledger.blobs)
    _check_memory(ledger)


def _check_bytes(blob: Blob) -> None:
    """1: present, leased and missing are the whole, and no byte is in two states."""
    leased = [(each.position, each.stop) for each in blob.leases if each.position < each.stop]
    taken = [*blob.missing, *leased]
    assert total(taken) == total(merged(taken)), f"1: a byte is in two states: {taken}"
    assert all(0 <= start < stop <= blob.extent for start, stop in taken)
    if not blob.done:
        assert blob.present == blob.extent - total(taken), "1: not all bytes are accounted for"
    assert blob.missing == merged(blob.missing)


def _check_hash(blob: Blob) -> None:
    """4: hashing never passes what is present; done is when all of it has been hashed."""
    assert blob.hashed <= blob.edge, "4: bytes were hashed that are not present"
    if blob.done:
        assert blob.hashed == blob.extent, "4: done before the last byte was hashed"
        assert not blob.missing
        assert all(lease.position == lease.stop for lease in blob.leases)


def _check_memory(ledger: Ledger) -> None:
    """5: who has the memory is being unpacked; who waits for it has bytes that are not."""
    owner = ledger.memory._owner
    if owner:
        assert not owner.done, "5: the memory is kept by a blob that is done"
        assert owner.hashed or owner.is_hashing, "5: the memory is kept by a blob begun again"
    for blob in ledger.blobs:
        assert not blob.waits or blob.hashed < blob.edge, "5: memory is waited for in vain"


def _check_progress(ledger: Ledger, now: float) -> None:
    """2: somebody is at work on each blob, or may be, or a stated moment or room is waited for."""
    undone = [blob for blob in ledger.blobs if not blob.done]
    idle = [blob for blob in undone if not blob.leases and not blob.is_hashing]
    if not idle or ledger.connections >= ledger.capacity:
        return
    task = copy.deepcopy(ledger).next(now)
    assert task is not None, "2: there is nothing to do, yet not all is done"
    if isinstance(task, Wait) and len(idle) == len(undone):
        waited_for = [blob for blob in idle if blob.not_before > now]
        without_room = idle[0].base + idle[0].hashed >= ledger.horizon
        assert task.until < math.inf or without_room, "2: everybody waits for nobody"
        assert waited_for or without_room


def is_stuck(ledger: Ledger, task: object) -> bool:
    """Whether a worker with this task waits for something that will never happen."""
    return isinstance(task, Wait) and math.isinf(task.until) and not _held(ledger)


def _held(ledger: Ledger) -> list[Lease]:
    return [*ledger._leaving, *(lease for blob in ledger.blobs for lease in blob.leases)]
