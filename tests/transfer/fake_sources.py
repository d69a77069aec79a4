"""In-memory source and destination: a registry behind a line, and a place."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import DockersaveError, NetworkError
from dockersave.limits import LIMITS
from dockersave.model.digest import Buffer, digest_of
from dockersave.retry_policy import RetryPolicy
from dockersave.transfer import cutting, ledger, workers
from dockersave.transfer.blobs import Blob, Source
from dockersave.transfer.download import BlobDownload, Download
from dockersave.transfer.gauge import Gauge
from dockersave.transfer.ledger import Ledger
from dockersave.transfer.throttle import Throttle
from dockersave.transfer.workers import WorkerPool

BODY = random.Random(3).randbytes(2 << 20)
SMALL = replace(LIMITS, piece_least=8 << 10, granule=1, split_least=8 << 10, read=64 << 10)
PIECE = 256 << 10
"""The largest range that is asked for at once."""


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two megabytes are a large blob."""
    for module in (cutting, ledger, workers):
        monkeypatch.setattr(module, "LIMITS", SMALL)


@dataclass
class Memory:
    """A place that notes what it is told."""

    size: int = len(BODY)
    recorded: list[tuple[int, int]] = field(default_factory=list)
    forgotten: int = 0

    def __post_init__(self) -> None:
        self.body = bytearray(self.size)

    def write(self, position: int, data: Buffer) -> None:
        self.body[position : position + len(data)] = data

    def read(self, position: int, amount: int) -> bytes:
        return bytes(self.body[position : position + amount])

    def record(self, start: int, stop: int) -> None:
        self.recorded.append((start, stop))

    def forget(self) -> None:
        self.forgotten += 1


@dataclass(eq=False)
class Line:
    """A registry behind a line, or a file of this machine.

    Parameters:
        body: what it sends.
        before: called before each answer, with the range that is asked for.
        limit: connections that it takes at once; it refuses more.
        during: called before each read, with the position.
        ranged: whether it knows ranges; if not, it sends all of it each time.
        most: bytes that one read brings.
        hangs: whether reading waits until it is interrupted.
        is_local, server, size: as in `Source`.
    """

    body: bytes = BODY
    before: Callable[[int, int], object] = lambda start, stop: None
    during: Callable[[int], object] = lambda position: None
    limit: int = 1000
    ranged: bool = True
    most: int = 1 << 20
    hangs: bool = False
    is_local: bool = False
    server: str = "registry.example"
    size: int = -1
    ranges: list[tuple[int, int]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    open_most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, start: int, stop: int) -> Answer:
        with self.lock:
            self.ranges.append((start, stop))
        self.before(start, stop)
        first, last = (start, stop) if self.ranged else (0, len(self.body))
        answer = Answer(self, first, last, self.ranged)
        with self.lock:
            if self.open_now >= self.limit:
                raise NetworkError("too many", transient=True, crowded=True)
            self.answers.append(answer)
            self.open_most = max(self.open_most, self.open_now)
        return answer

    @property
    def open_now(self) -> int:
        """How many connections there are."""
        return sum(not answer.closed for answer in self.answers)

    @property
    def sent(self) -> int:
        """How many bytes have been read from it."""
        return sum(answer.position - answer.start for answer in self.answers)


@dataclass(eq=False)
class Answer:
    """A range of what a line sends."""

    line: Line
    start: int
    stop: int
    ranged: bool
    closed: bool = False
    is_ahead: bool = False

    def __post_init__(self) -> None:
        self.position = self.start
        self.interrupted = threading.Event()

    def readinto(self, buffer: memoryview) -> int:
        self.line.during(self.position)
        if self.interrupted.wait(60 if self.line.hangs else 0):
            raise NetworkError("interrupted", transient=True)
        amount = min(len(buffer), self.line.most, self.stop - self.position)
        data = self.line.body[self.position : self.position + amount]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed = True


class Once:
    """Raises its failures, one each time that it is called, and then none."""

    def __init__(self, *failures: Exception) -> None:
        self._left = list(failures)
        self._lock = threading.Lock()

    def __call__(self, *_: int) -> None:
        with self._lock:
            failure = self._left.pop(0) if self._left else None
        if failure:
            raise failure


def broken(words: str = "connection reset") -> NetworkError:
    """A failure that may pass."""
    return NetworkError(words, transient=True)


def attempts(
    retries: int = 2, *, notify: Callable[[str], None] = lambda line: None, wait_until: float = 0
) -> RetryPolicy:
    """A policy that waits for nothing."""
    return RetryPolicy(retries, wait_until=wait_until, jitter=lambda low, high: low, notify=notify)


def blob_of(*sources: Source, body: bytes = BODY, have: Sequence[tuple[int, int]] = ()) -> Blob:
    return Blob(digest_of(body), len(body), sources, have)


def refuse_threads(monkeypatch: pytest.MonkeyPatch, granted: int = 0) -> list[str]:
    """Have the system refuse all threads of workers but `granted`; returns the names of those."""
    real, names = threading.Thread.start, list[str]()

    def start(self: threading.Thread) -> None:
        if len(names) >= granted:
            raise RuntimeError("can't start new thread")
        names.append(self.name)
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    return names


@contextmanager
def at_work(
    blobs: Sequence[Blob],
    downloads: Sequence[Download],
    *,
    jobs: int = 4,
    policy: RetryPolicy | None = None,
    cancellation: Cancellation | None = None,
    rate: int | None = None,
    piece_most: int = PIECE,
) -> Iterator[tuple[Ledger, WorkerPool]]:
    """Workers as a run has them; no thread may be left of them, whatever comes of it."""
    before = set(threading.enumerate())
    flag = cancellation or Cancellation()
    judge = policy or attempts()
    ledger = Ledger(blobs, judge, most=jobs, piece_most=piece_most)
    gauge = Gauge(jobs, jobs, 1, latency=1)
    gauge.connections = jobs
    pool = WorkerPool(
        ledger,
        downloads,
        gauge=gauge,
        throttle=Throttle(rate, flag, jobs),
        cancellation=flag,
        name="under test",
    )
    try:
        yield ledger, pool
    except DockersaveError:
        # As `Job` does: whatever they wait for, it is of no use now.
        flag.cancel()
        raise
    finally:
        pool.close()
        assert set(threading.enumerate()) <= before, "threads are left"


def fetched(
    *sources: Line,
    body: bytes = BODY,
    jobs: int = 4,
    have: Sequence[tuple[int, int]] = (),
    place: Memory | None = None,
    policy: RetryPolicy | None = None,
    cancellation: Cancellation | None = None,
    rate: int | None = None,
    tick: Callable[[], None] = lambda: None,
) -> tuple[Memory, Blob]:
    """Fetch one blob into a place."""
    place = place or Memory(len(body))
    blob = blob_of(*sources, body=body, have=have)
    downloads = [BlobDownload(blob, place)]
    with at_work(
        [blob], downloads, jobs=jobs, policy=policy, cancellation=cancellation, rate=rate
    ) as (ledger, pool):
        pool.run(lambda: ledger.is_done, tick)
    return place, blob
