"""A ledger, workers and a disk as one value: what can happen next, and what then is.

The workers do what `transfer/workers.py` does between two calls of the ledger, each call a step of
its own, so that anything may happen in between. What they write is kept beside the ledger, by
granule, right or wrong: that is what its account is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dockersave.errors import ContentError
from dockersave.retry_policy import RetryPolicy
from dockersave.transfer.blobs import Blob, Hashing, Lease, Step, Wait
from dockersave.transfer.ledger import Ledger
from dockersave.transfer.memory import Memory
from tests.transfer.copying import Copying
from tests.transfer.invariants import check_account
from tests.transfer.outcomes import (
    ALL,
    ANSWERED,
    BAD,
    BUSY,
    CROWDED,
    EARLY,
    FATAL,
    GOOD,
    GRANULE,
    LONGER,
    OTHER,
    RANGE,
    REFUSED,
    RESET,
    RIGHT,
    SOME,
    VANISHED,
    WHOLE,
    WRONG,
    Move,
    failure_of,
)
from tests.transfer.parts import Disk, Worker


@dataclass(frozen=True)
class Case:
    """What to explore.

    Parameters:
        blobs: makes them, anew for each run.
        workers: how many.
        faults: outcomes that may happen beside good ones.
        have: what an earlier run left, right or wrong, by number of the blob and granule.
        window: bytes of room beyond what is written of the output; 0 for a file.
        retries: of a request that brings nothing.
        most: connections; as many as workers if 0.
        most_faults: in one run.
        partly: whether less than all may be read at once.
        pause: by how much of what it could be a request is sent later again, from 0 to 1.
        windows: before which granule of a blob its unpacking needs a large window, by number.
    """

    blobs: Callable[[], Sequence[Blob]]
    workers: int = 2
    faults: frozenset[str] = frozenset()
    have: dict[int, Sequence[tuple[int, bool]]] = field(default_factory=dict)
    window: int = 0
    retries: int = 1
    most: int = 0
    partly: bool = True
    most_faults: int = 1_000_000
    pause: float = 0.0
    windows: Mapping[int, int] = field(default_factory=dict)
    make: type[Ledger] = Ledger


class World:
    """The state of one run."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.now = 0.0
        self.faults_left = case.most_faults
        blobs = case.blobs()
        self.ledger = case.make(
            blobs,
            RetryPolicy(
                case.retries, wait_until=-math.inf, jitter=_jitters[case.pause], notify=_untold
            ),
            most=case.most or case.workers,
            piece_most=2 * GRANULE,
            tell=_untold,
        )
        self.disks = [Disk(blob, case.have.get(n, ())) for n, blob in enumerate(blobs)]
        self.workers = [Worker() for _ in range(case.workers)]
        self._make_room()

    def copy(self) -> World:
        """Another one in the same state."""
        copying = Copying(Worker, Disk, Memory)
        world = copying.of(self)
        world.ledger = copying.of(self.ledger)
        return world

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to happen."""
        busy = any(each.lease or each.task for each in self.workers)
        return self.ledger.failure is not None or (self.ledger.is_done and not busy)

    @property
    def may_fail(self) -> bool:
        """Whether there is a reason to, even if all goes well from now on: wrong bytes."""
        wrong = any(not each for disk in self.disks for each in disk.content.values())
        return wrong or any(worker.bad for worker in self.workers)

    def moves(self) -> Iterator[Move]:
        """What may happen next."""
        for number, worker in enumerate(self.workers):
            for outcome in self._outcomes(worker):
                yield Move(number, outcome)
        if any(blob.not_before > self.now for blob in self.ledger.blobs):
            yield Move(-1, "")

    def _outcomes(self, worker: Worker) -> Iterator[str]:
        lease = worker.lease
        if lease is None or worker.task or worker.amount or (worker.at >= 0 and not worker.step):
            yield ""
        elif worker.at < 0:
            faults: tuple[str, ...] = (OTHER, REFUSED, CROWDED, ANSWERED, FATAL)
            yield RANGE
            if not lease.source.is_local:
                yield WHOLE
            yield from self._possible((VANISHED,) if lease.source.is_local else faults)
            if self.ledger.connections > 1:
                yield from self._possible((BUSY,))
        elif worker.is_at_end:
            # It asked for less than it now reads.
            yield ALL
        else:
            assert worker.step
            yield ALL
            if worker.step.take > GRANULE and self.case.partly:
                yield SOME
            faults = (EARLY,) if worker.step.skip else (BAD, EARLY)
            yield from self._possible(faults if worker.step.take else (LONGER,))
            if lease.gained and worker.step.take:
                yield from self._possible((RESET,))

    def _possible(self, faults: Sequence[str]) -> Iterator[str]:
        return (fault for fault in faults if self.faults_left and fault in self.case.faults)

    def do(self, move: Move) -> bool:
        """Make a step; the invariants hold afterwards.

        Returns:
            Whether the move was one: nothing else could have happened instead.

        Raises:
            AssertionError: something that always holds does not.
        """
        did = True
        self.faults_left -= move.outcome not in GOOD
        if move.worker < 0:
            self.now = min(b.not_before for b in self.ledger.blobs if b.not_before > self.now)
        else:
            worker = self.workers[move.worker]
            if worker.task:
                if not self._claim(worker, worker.task):
                    self._hash(worker, worker.task)
                    self._step(worker)
            elif worker.lease is None:
                did = self._ask(worker)
            elif worker.at < 0:
                self._open(worker, worker.lease, move.outcome)
            elif worker.amount:
                self._write(worker, worker.lease)
            elif worker.step:
                self._read(worker, worker.lease, worker.step, move.outcome)
            else:
                did = self._step(worker) or worker.task is not None
        self._make_room()
        self.check()
        return did

    # A worker's steps.

    def _ask(self, worker: Worker) -> bool:
        task = self.ledger.next(self.now)
        if isinstance(task, Hashing):
            worker.task = task
        elif isinstance(task, Lease):
            worker.lease = task
            whole = (0, task.blob.extent)
            worker.asked = whole if task.whole else (task.position, task.stop)
            if worker.asked[0] >= worker.asked[1]:
                self._end(worker)
        return not isinstance(task, Wait | None)

    def _open(self, worker: Worker, lease: Lease, outcome: str) -> None:
        start, stop = worker.asked
        answer = {RANGE: start, WHOLE: 0, OTHER: start + GRANULE}.get(outcome)
        if answer is None:
            self._fail(worker, outcome)
            return
        ranged = outcome != WHOLE
        if not self.ledger.opened(lease, worker.asked, answer, ranged, self.now):
            self._end(worker)
            return
        worker.at = answer
        worker.asked = (start, stop if ranged else lease.blob.extent)
        self._step(worker)

    def _step(self, worker: Worker) -> bool:
        """Learn how much to read next, unless there is something to do before; there may be no
        room just now."""
        lease = worker.lease
        worker.step = None
        if lease is None or worker.at < 0 or worker.task:
            return False
        step = self.ledger.step(lease, worker.at)
        assert step.skip >= 0
        if step.is_full:
            worker.task = self.ledger.hashing(lease.blob, 8 * GRANULE)
            return False
        if step.take or (lease.gained and worker.at == lease.blob.extent):
            worker.step = step
        else:
            self._end(worker)
        return True

    def _read(self, worker: Worker, lease: Lease, step: Step, outcome: str) -> None:
        if outcome in (EARLY, LONGER, RESET) or worker.is_at_end:
            self._fail(worker, EARLY if step.take else LONGER)
        elif not step.take:
            self._end(worker)
        elif step.skip:
            worker.at += step.skip
            self._step(worker)
        else:
            amount = step.take if outcome == ALL else min(step.take, GRANULE)
            worker.at += amount
            worker.amount, worker.bad = self.ledger.keep(lease, amount), outcome == BAD
            if not worker.amount:
                self._step(worker)

    def _write(self, worker: Worker, lease: Lease) -> None:
        disk = self.disks[lease.blob.number]
        first = lease.position // GRANULE
        for granule in range(first, first + worker.amount // GRANULE):
            disk.content[granule] = WRONG if worker.bad else RIGHT
        amount, worker.amount, worker.bad = worker.amount, 0, False
        self.ledger.wrote(lease, amount, self.now)
        worker.task = self.ledger.hashing(lease.blob, 2 * amount)
        self._step(worker)

    def _claim(self, worker: Worker, task: Hashing) -> bool:
        """Ask for the memory that the next bytes need; whether that was a step."""
        disk = self.disks[task.blob.number]
        at = self.case.windows.get(task.blob.number, -1) * GRANULE
        if disk.has_window or not task.start <= at < task.stop:
            return False
        disk.has_window = self.ledger.memory.claim(task.blob)
        if not disk.has_window:
            worker.task = task._replace(stop=at)
        return True

    def _hash(self, worker: Worker, task: Hashing) -> None:
        disk = self.disks[task.blob.number]
        assert disk.fed == task.start, "hashed out of order"
        disk.hash(task.start, task.stop)
        wrong = task.is_last and not disk.is_right
        disk.has_window = disk.has_window and not task.is_last
        self.ledger.hashed(task, ContentError("wrong") if wrong else None)
        disk.renew(task.blob)
        worker.task = None

    def _end(self, worker: Worker) -> None:
        assert worker.lease is not None
        self.ledger.ended(worker.lease)
        worker.lease, worker.at, worker.step = None, -1, None

    def _fail(self, worker: Worker, outcome: str) -> None:
        assert worker.lease is not None
        failure = failure_of(outcome)
        self.ledger.failed(worker.lease, failure, self.now)
        self.disks[worker.lease.blob.number].renew(worker.lease.blob)
        worker.lease, worker.at, worker.step = None, -1, None

    def _make_room(self) -> None:
        """In a stream, bytes hashed up to the first gap are written, which makes room."""
        if self.case.window:
            written = 0
            for blob in self.ledger.blobs:
                written = blob.base + (blob.extent if blob.done else blob.hashed)
                if not blob.done:
                    break
            self.ledger.horizon = written + self.case.window

    # What always holds.

    def check(self) -> None:
        """Compare the ledger's account with the disk.

        Raises:
            AssertionError: they differ.
        """
        check_account(self.ledger)
        for blob, disk in zip(self.ledger.blobs, self.disks, strict=True):
            away = [*blob.missing, *((each.position, each.stop) for each in blob.leases)]
            gone = {g for start, stop in away for g in range(start // GRANULE, stop // GRANULE)}
            there = set(range(blob.extent // GRANULE)) - gone
            assert disk.content.keys() >= there, "bytes count as present that nobody has written"
            assert disk.epoch == blob.epoch
            assert not disk.has_window or self.ledger.memory._owner is blob, "5: a second window"
            if self.is_over and not self.ledger.failure:
                assert all(disk.content[g] for g in range(blob.extent // GRANULE)), (
                    "done, yet bytes are wrong"
                )

    def __str__(self) -> str:
        """The state, for people who want to know why it is wrong."""
        ledger = self.ledger
        lines = [f"now {self.now}, {ledger.capacity} of {ledger.most} connections"]
        lines += [f"room up to {ledger.horizon}"] if self.case.window else []
        for blob, disk in zip(ledger.blobs, self.disks, strict=True):
            states = {None: "-", RIGHT: "+", WRONG: "!"}
            shown = [states[disk.content.get(g)] for g in range(blob.extent // GRANULE)]
            lines.append(
                f"blob {blob.number}: disk {''.join(shown)}, missing {blob.missing}, "
                f"hashed {blob.hashed}, {'hashing, ' if blob.is_hashing else ''}"
                f"{'done, ' if blob.done else ''}{blob.strikes} strikes, {blob.attempts} attempts"
            )
        for number, worker in enumerate(self.workers):
            lease, task = worker.lease, worker.task
            held = lease and f"{lease.position}-{lease.stop}{' of the whole' * lease.whole}"
            gone = " (taken away)" if lease and lease not in lease.blob.leases else ""
            lines.append(
                f"worker {number}: lease {held}{gone}, asked {worker.asked}, at {worker.at}, "
                f"holds {worker.amount}, hashes {task and task[1:]}"
            )
        return "\n".join(f"  {line}" for line in lines)


def _at_once(low: float, high: float) -> float:
    return low


def _later(low: float, high: float) -> float:
    return high


_jitters = {0.0: _at_once, 1.0: _later}


def _untold(*words: str) -> None:
    """Nobody listens."""
