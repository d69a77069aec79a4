"""What tells one state of a world from another."""

from __future__ import annotations

from collections.abc import Hashable

from dockersave.transfer.blobs import Blob, Lease
from tests.transfer.parts import Disk, Worker
from tests.transfer.world import World


def key_of(world: World) -> Hashable:
    """The same for states that behave the same."""
    ledger, now = world.ledger, world.now
    is_timed = world.case.pause > 0
    leases = {
        lease: (lease in ledger._leaving, *_lease_key(lease, now, is_timed=is_timed))
        for lease in (*ledger._active, *ledger._leaving)
    }
    active = sorted(leases, key=leases.__getitem__)
    numbers = {id(lease): number for number, lease in enumerate(active)}
    is_short = ledger.capacity < ledger._granted
    return (
        tuple(
            _blob_key(blob, disk, now) for blob, disk in zip(ledger.blobs, world.disks, strict=True)
        ),
        tuple(leases[lease] for lease in active),
        tuple(sorted(_worker_key(worker, numbers) for worker in world.workers)),
        (ledger.capacity, ledger._granted, ledger._served if is_short else 0, ledger.most),
        frozenset(ledger._whole_only),
        world.faults_left if world.case.most_faults < 10 else 0,
        (type(ledger.failure), ledger.horizon, ledger.latency),
        tuple(blob.number for blob in ledger._begun),
        tuple(now - last for last in ledger._idle) if ledger.latency else (),
        ledger.memory._owner and ledger.memory._owner.number,
    )


def _lease_key(lease: Lease, now: float, *, is_timed: bool) -> tuple[object, ...]:
    began = lease.first if lease.gained else lease.since
    return (
        *(
            lease.blob.number,
            lease.position,
            lease.stop,
            max(lease.claimed, lease.position),
            lease.whole,
        ),
        *(lease.source.server, lease.round < lease.blob.round, lease.gained > 0),
        *(lease.has_company, lease.is_overtaken, lease.is_ahead, lease.is_cut),
        *((now - began, lease.gained, _trail(lease, now)) if is_timed else ()),
    )


def _trail(lease: Lease, now: float) -> tuple[object, ...]:
    marks = lease.marks or ()
    return (now - lease.last, *((now - at, gained) for at, gained in marks))


def _blob_key(blob: Blob, disk: Disk, now: float) -> Hashable:
    return (
        *(tuple(blob.missing), blob.present, blob.hashed, blob.is_hashing, blob.doubtful),
        *(blob.done, blob.waits, blob.strikes, blob.attempts, blob.whole, blob.has_answered),
        *(max(0.0, blob.not_before - now), tuple(each.server for each in blob.sources)),
        *(frozenset(disk.content.items()), disk.fed, disk.is_right, disk.has_window),
    )


def _worker_key(worker: Worker, active: dict[int, int]) -> tuple[int, ...]:
    task = worker.task
    lease = worker.lease
    return (
        -2 if lease is None else active.get(id(lease), -1),
        *(*worker.asked, worker.at, worker.amount, worker.bad, *(worker.step or ())),
        *((task.blob.number, task.start, task.stop) if task else (-1, -1, -1)),
    )
