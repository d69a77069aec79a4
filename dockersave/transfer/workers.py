"""Threads that work for the ledger. If the system grants none, the caller does the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ..cancellation import Cancellation
from ..errors import CancelledError, ContentError, DockersaveError, OutputError
from ..limits import LIMITS
from ..parallel import join_all
from .blobs import Blob, Hashing, Lease, Wait
from .download import Download
from .gauge import Gauge
from .ledger import Ledger
from .reading import asked_for, received
from .throttle import Throttle

_TICK = 0.05
_IDLE = 0.1
"""How long an idle worker waits before it checks whether a lease can be split."""


_NOTHING = memoryview(b"")


class WorkerPool:
    """Fetches the blobs of a ledger.

    Args:
        ledger: decides what to do.
        downloads: receive the bytes; one for each of the ledger's blobs, in the same order.
        gauge: decides how many connections are worthwhile.
        throttle: the rate limit.
        cancellation: stops everything.
        name: the threads' name.
    """

    def __init__(
        self,
        ledger: Ledger,
        downloads: Sequence[Download],
        *,
        gauge: Gauge,
        throttle: Throttle,
        cancellation: Cancellation,
        name: str = "fetch",
    ) -> None:
        self._ledger = ledger
        self._downloads = downloads
        self._gauge = gauge
        self._throttle = throttle
        self._cancellation = cancellation
        self._name = name
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._news = threading.Condition(self._lock)
        self._events = 0
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._are_refused = False
        self._caller = 0
        self._meanwhile: Callable[[], bool] = lambda: True

    @property
    def blobs(self) -> Sequence[Blob]:
        """What they fetch."""
        return self._ledger.blobs

    def is_done(self) -> bool:
        """Whether all of it is there, or nothing more will come."""
        return self._ledger.is_done

    def run(self, meanwhile: Callable[[], bool], tick: Callable[[], None]) -> None:
        """Fetch, until there is nothing left to do.

        Args:
            meanwhile: called on the calling thread to process what has arrived; returns whether it
                is finished.
            tick: called about twenty times a second.

        Raises:
            DockersaveError: a blob cannot be fetched or written, or the run was stopped.
        """
        self._meanwhile = meanwhile
        self._caller = threading.get_ident()
        self._ledger.grant(self._gauge.connections)
        self._grow()
        while True:
            self._cancellation.check()
            with self._lock:
                seen = self._events
                failure = self._failure or self._ledger.failure
            # Keep complete blobs for the next run, even if something else failed.
            if meanwhile():
                return
            if failure:
                raise failure
            if self._threads:
                with self._news:
                    if self._events == seen:
                        self._news.wait(_TICK)
            elif (task := self._next(patient=False)) is not None:
                self._do(task)
            self._look()
            tick()

    def grant_room(self, horizon: float) -> None:
        """Report room in the output up to this offset."""
        with self._lock:
            self._ledger.horizon = horizon
            self._work.notify_all()

    def claim(self, blob: Blob) -> bool:
        """Whether a blob may be unpacked with a large window now; if not, it is postponed."""
        with self._lock:
            return self._ledger.memory.claim(blob)

    def close(self) -> None:
        """Stop, and wait for the threads.

        Without a limit: a surviving thread could write into files that are closed by then.
        Threads that wait for a connection wake when the run's cancellation is set.
        """
        with self._lock:
            is_done = self._ledger.is_done
            self._ledger.stop()
            self._work.notify_all()
        if not is_done:
            self._throttle.interrupt()
        try:
            join_all(self._threads, self._cancellation.cancel)
        finally:
            self._threads.clear()
            for download in self._downloads:
                download.close()

    def _look(self) -> None:
        """Use more connections while the network is the bottleneck."""
        ledger, gauge = self._ledger, self._gauge
        before = gauge.connections
        wanted = gauge.look(time.monotonic(), time.process_time(), ledger.received)
        with self._lock:
            ledger.spread = not gauge.is_fast
            if wanted != before:
                ledger.grant(wanted)
                self._work.notify_all()
        self._grow()

    def _grow(self) -> None:
        """Start threads, no more than can have something to do."""
        with self._lock:
            wanted = 0 if self._are_refused else min(self._ledger.capacity, self._ledger.tasks)
        while len(self._threads) < wanted:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            # Noted first: Ctrl-C may come while it starts.
            self._threads.append(thread)
            try:
                thread.start()
            except RuntimeError:
                # No more threads (seccomp, limits): the running ones do the work.
                self._threads.remove(thread)
                self._are_refused = True
                with self._lock:
                    self._ledger.limit(max(1, len(self._threads)))
                return

    def _run(self) -> None:
        try:
            while (task := self._next(patient=True)) is not None:
                self._do(task)
        except BaseException as failure:
            with self._lock:
                self._failure = self._failure or failure
                self._ledger.stop()
        self._wake()

    def _next(self, *, patient: bool) -> Lease | Hashing | None:
        """The next task; None if there is none, ever or right now."""
        with self._lock:
            while True:
                now = time.monotonic()
                task = self._ledger.next(now)
                if not isinstance(task, Wait):
                    return task
                pause = max(0.0, min(task.until - now, _IDLE))
                if not patient:
                    self._cancellation.wait(min(pause, _TICK))
                    return None
                self._work.wait(pause)

    def _wake(self) -> None:
        """Wake all threads that wait for an event."""
        with self._lock:
            self._events += 1
            self._news.notify_all()
            self._work.notify_all()

    def _do(self, task: Lease | Hashing) -> None:
        if isinstance(task, Hashing):
            self._hash(task)
        else:
            self._fetch(task)

    def _fetch(self, lease: Lease) -> None:
        try:
            self._receive(lease)
        except (CancelledError, OutputError):
            raise
        except (DockersaveError, OSError) as failure:
            if isinstance(failure, OSError) and not lease.source.is_local:
                raise
            with self._lock:
                self._ledger.failed(lease, failure, time.monotonic())
                self._downloads[lease.blob.number].renew()
        else:
            with self._lock:
                self._ledger.ended(lease)
        self._wake()

    def _receive(self, lease: Lease) -> None:
        with self._lock:
            asked = asked_for(lease)
        if asked[0] >= asked[1]:
            return
        stream = lease.source.open(*asked)
        with self._throttle.reading(stream, free=lease.source.is_local) as reader:
            with self._lock:
                now = time.monotonic()
                if not self._ledger.opened(lease, asked, stream.start, stream.ranged, now):
                    return
                # Others may request more of the blob now.
                self._work.notify_all()
            for data in received(self._ledger, lease, reader, self._lock, self._wait_for_room):
                self._take(lease, data)

    def _take(self, lease: Lease, data: memoryview) -> None:
        position = lease.position
        download = self._downloads[lease.blob.number]
        download.write(position, data)
        with self._lock:
            self._ledger.wrote(lease, len(data), time.monotonic())
            # Hashing catches up with what others have written before it.
            task = self._ledger.hashing(lease.blob, 2 * len(data))
        if task:
            self._hash(task, position, data)

    def _hash(self, task: Hashing, position: int = 0, data: memoryview = _NOTHING) -> None:
        """Hash a range, from the buffer if possible, otherwise read back."""
        download = self._downloads[task.blob.number]
        failure = None
        at, end = task.start, position + len(data)
        try:
            while at < task.stop:
                if position <= at < end:
                    part: memoryview | bytes = data[at - position : task.stop - position]
                else:
                    stop = position if at < position < task.stop else task.stop
                    part = download.read(at, min(stop - at, LIMITS.read_back))
                taken = download.hash(part)
                at += taken
                if self._ledger.failure:
                    return
                if taken < len(part):
                    break
            task = task._replace(stop=at)
            if task.is_last:
                download.judge()
        except ContentError as wrong:
            failure = wrong
        with self._lock:
            self._ledger.hashed(task, failure)
            download.renew()
            self._events += 1
            self._news.notify_all()
            if task.is_last:
                self._work.notify_all()

    def _wait_for_room(self, lease: Lease) -> None:
        """In a stream, the reader of a whole blob waits until its bytes were consumed."""
        with self._lock:
            task = self._ledger.hashing(lease.blob, 8 * LIMITS.read)
        if task:
            self._hash(task)
        elif threading.get_ident() == self._caller:
            self._cancellation.check()
            self._meanwhile()
        else:
            with self._lock:
                self._work.wait(_IDLE)
