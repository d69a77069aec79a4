"""Pieces and connections: how many, how large, and when there are more of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from dockersave import arrival, fetch
from dockersave.arrival import Arrival
from dockersave.cancellation import Cancellation
from dockersave.errors import ContentError, DockersaveError, NetworkError, OutputError
from dockersave.fetch import Fetcher
from dockersave.flow import Flow
from dockersave.limits import LIMITS
from dockersave.options import Network
from dockersave.registry.retry import Retry
from dockersave.verify import Buffer, digest_of

BODY = random.Random(3).randbytes(2 << 20)
SMALL = replace(LIMITS, piece_first=64 << 10, piece_most=256 << 10, piece_least=8 << 10, granule=1)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two megabytes are a large blob here."""
    for module in (fetch, arrival):
        monkeypatch.setattr(module, "LIMITS", SMALL)
    monkeypatch.setattr("dockersave.registry.retry._FIRST_PAUSE", 0.01)


@dataclass
class Memory:
    """A place in memory."""

    body: bytearray = field(default_factory=lambda: bytearray(len(BODY)))

    def write(self, position: int, data: Buffer) -> None:
        self.body[position : position + len(data)] = data

    def read(self, position: int, amount: int) -> bytes:
        return bytes(self.body[position : position + amount])

    def record(self, start: int, stop: int) -> None: ...

    def forget(self) -> None: ...


@dataclass(eq=False)
class Line:
    """A registry behind a line.

    Parameters:
        delay: seconds that each answer takes.
        before: called before each answer.
    """

    delay: float = 0
    before: Callable[[], object] = lambda: None
    ranges: list[tuple[int, int]] = field(default_factory=list)
    open_now: int = 0
    open_most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_local: bool = False
    size: int = len(BODY)

    def open(self, start: int, stop: int) -> Answer:
        self.before()
        with self.lock:
            self.ranges.append((start, stop))
            self.open_now += 1
            self.open_most = max(self.open_most, self.open_now)
        time.sleep(self.delay)
        return Answer(self, start, start, stop)

    @property
    def largest(self) -> int:
        return max(stop - start for start, stop in self.ranges)


@dataclass
class Answer:
    """A range of the blob."""

    line: Line
    start: int
    position: int
    stop: int
    ranged: bool = True

    def readinto(self, buffer: memoryview) -> int:
        data = BODY[self.position : min(self.stop, self.position + len(buffer))]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def read(self, amount: int) -> bytes:
        buffer = bytearray(amount)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def interrupt(self) -> None: ...

    def close(self) -> None:
        with self.line.lock:
            self.line.open_now -= 1


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    yield (made := Cancellation())
    made.cancel()


def fetched(line: Line, cancellation: Cancellation, jobs: int = 8, digest: str = "") -> Memory:
    """Fetch the blob."""
    place = Memory()
    blob = Arrival(digest or digest_of(BODY), len(BODY), place, [line])
    retry = Retry(Network(retries=2), cancellation, lambda text: None)
    flow = Flow(None, 5, cancellation)
    fetcher = Fetcher([blob], jobs=jobs, retry=retry, flow=flow, cancellation=cancellation)
    before = threading.active_count()
    fetcher.start()
    try:
        fetcher.wait(lambda: fetcher.is_done, lambda: None)
    finally:
        fetcher.close()
    assert threading.active_count() <= before
    return place


@pytest.mark.parametrize("jobs", [1, 2, 3, 8, 64])
def test_every_byte_gets_to_its_place(jobs: int, cancellation: Cancellation) -> None:
    line = Line()
    assert fetched(line, cancellation, jobs).body == BODY
    assert sum(stop - start for start, stop in line.ranges) == len(BODY), "each byte once"
    assert line.open_most <= jobs


def test_pieces_grow_on_a_fast_line(cancellation: Cancellation) -> None:
    line = Line()
    fetched(line, cancellation, 1)
    assert line.ranges[0] == (0, SMALL.piece_first)
    assert SMALL.piece_first < line.largest <= SMALL.piece_most + SMALL.piece_least
    assert len(line.ranges) < len(BODY) // SMALL.piece_first


def test_pieces_stay_small_on_a_slow_line(
    cancellation: Cancellation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_QUICK", 0)
    line = Line()
    fetched(line, cancellation)
    assert line.largest <= SMALL.piece_first + SMALL.piece_least


def test_connections_grow_while_the_line_keeps_them_waiting(cancellation: Cancellation) -> None:
    line = Line(delay=0.1)
    fetched(line, cancellation, 8)
    assert line.open_most == 8


def test_connections_do_not_grow_where_the_processor_is_busy(
    cancellation: Cancellation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_BUSY", 0)
    line = Line(delay=0.05)
    fetched(line, cancellation, 8)
    assert line.open_most == 2


def test_pieces_shrink_to_the_end_so_that_all_end_together(cancellation: Cancellation) -> None:
    line = Line(delay=0.02)
    fetched(line, cancellation, 4)
    last = [stop - start for start, stop in sorted(line.ranges)[-4:]]
    assert max(last) <= 2 * SMALL.piece_least + len(BODY) // 16


@pytest.mark.parametrize("failure", [ContentError("wrong"), OutputError("full"), OSError("disk")])
def test_a_failure_ends_all_threads(failure: Exception, cancellation: Cancellation) -> None:
    lock = threading.Lock()
    turns = iter(range(1000))

    def fail() -> None:
        with lock:
            if next(turns) == 3:
                raise failure

    with pytest.raises(type(failure)):
        fetched(Line(before=fail), cancellation)


def test_one_connection_less_where_a_server_refuses_it(cancellation: Cancellation) -> None:
    line = Line(delay=0.05)

    def refuse() -> None:
        if line.open_now >= 2:
            raise NetworkError("too many", transient=True, crowded=True)

    line.before = refuse
    assert fetched(line, cancellation, 8).body == BODY
    assert line.open_most == 2


def test_what_does_not_hash_is_fetched_once_more_and_then_refused(
    cancellation: Cancellation,
) -> None:
    line = Line()
    with pytest.raises(ContentError, match="instead of"):
        fetched(line, cancellation, digest=digest_of(b"something else"))
    assert sum(stop - start for start, stop in line.ranges) == 2 * len(BODY)
    assert line.ranges[-1] == (0, len(BODY)), "in one stream the second time"


def test_stopping_wakes_who_waits(cancellation: Cancellation) -> None:
    threading.Timer(0.2, cancellation.cancel).start()
    begun = time.monotonic()

    def wait() -> None:
        cancellation.wait(30)

    with pytest.raises(DockersaveError):
        fetched(Line(before=wait), cancellation)
    assert time.monotonic() - begun < 2
