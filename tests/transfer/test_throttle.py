"""Reading from sources: how much at once, and how fast."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError, NetworkError
from dockersave.limits import LIMITS
from dockersave.transfer import throttle
from dockersave.transfer.throttle import Throttle


@dataclass(eq=False)
class Source:
    """A stream with the requested bytes; with `hangs`, only after it is interrupted."""

    clock: Clock | None = None
    hangs: bool = False
    start: int = 0
    ranged: bool = True
    asked: list[int] = field(default_factory=list)
    closed: bool = False
    is_ahead: bool = False
    interrupted: threading.Event = field(default_factory=threading.Event)

    def readinto(self, buffer: memoryview) -> int:
        self.asked.append(len(buffer))
        if self.clock:
            self.clock.now += self.clock.read_takes
        if self.hangs and self.interrupted.wait(60):
            raise NetworkError("interrupted", transient=True)
        return len(buffer)

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed = True


@dataclass
class Clock:
    """Time passes only while reading or waiting."""

    now: float = 1000.0
    read_takes: float = 0.0

    def monotonic(self) -> float:
        return self.now


class Waiting(Cancellation):
    """Waits on that clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, seconds: float) -> None:
        self.clock.now += max(0.0, seconds)
        self.check()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttle, "time", clock)
    return clock


def test_a_stream_is_closed_whatever_happens() -> None:
    source = Source()
    with pytest.raises(KeyError), Throttle(None, Cancellation(), 1).reading(source):
        raise KeyError
    assert source.closed


def test_reads_grow_on_a_fast_line_and_shrink_on_a_slow_one(clock: Clock) -> None:
    source = Source(clock)
    with Throttle(None, Waiting(clock), 1).reading(source) as reader:
        for _ in range(10):
            reader.read(1 << 30)
        assert source.asked[0] < source.asked[1] < source.asked[-1] == LIMITS.read
        clock.read_takes = 0.2
        for _ in range(3):
            reader.read(1 << 30)
        assert source.asked[-1] == LIMITS.read, "neither quick nor slow"
        clock.read_takes = 0.6
        for _ in range(20):
            reader.read(1 << 30)
        assert source.asked[-1] == LIMITS.read_least
        reader.read(10)
        assert source.asked[-1] == 10


@pytest.mark.parametrize("connections", [1, 8, 64])
def test_all_connections_together_need_no_more_memory(connections: int) -> None:
    source = Source()
    with Throttle(None, Cancellation(), connections).reading(source) as reader:
        for _ in range(10):
            reader.read(1 << 30)
    assert max(source.asked) == min(LIMITS.read, LIMITS.buffers // connections)


def test_buffers_are_used_again() -> None:
    shared = Throttle(None, Cancellation(), 1)
    with shared.reading(Source()) as reader:
        first = reader.read(10).obj
    with shared.reading(Source()) as reader, shared.reading(Source()) as other:
        assert reader.read(10).obj is first
        assert other.read(10).obj is not first


def test_whoever_waits_is_interrupted() -> None:
    shared = Throttle(None, Cancellation(), 2)
    sources = [Source(hangs=True), Source(hangs=True)]
    ended: list[Source] = []

    def work(source: Source) -> None:
        with shared.reading(source) as reader, pytest.raises(NetworkError):
            reader.read(100)
        ended.append(source)

    threads = [threading.Thread(target=work, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    while not all(source.asked for source in sources):
        time.sleep(0.001)
    shared.interrupt()
    for thread in threads:
        thread.join()
    assert len(ended) == 2
    shared.interrupt()
    assert all(source.closed for source in sources)


@pytest.mark.parametrize("connections", [1, 4])
def test_all_connections_together_keep_to_the_rate(connections: int, clock: Clock) -> None:
    rate, amount, begun = 2_000_000, 10_000_000, clock.now
    shared, left = Throttle(rate, Waiting(clock), connections), amount
    readers = [shared.reading(Source(clock)) for _ in range(connections)]
    opened = [reader.__enter__() for reader in readers]
    while left > 0:
        for reader in opened:
            left -= len(reader.read(left)) if left else 0
    for manager in readers:
        manager.__exit__(None, None, None)
    assert clock.now - begun == pytest.approx(amount / rate, rel=0.01)


def test_a_pause_is_not_made_up_for(clock: Clock) -> None:
    """A line that was down for a while is not used at more than its rate afterwards."""
    shared = Throttle(1_000_000, Waiting(clock), 1)
    with shared.reading(Source(clock)) as reader:
        clock.now += 3600
        begun = clock.now
        for _ in range(100):
            reader.read(1 << 30)
        sent = sum(reader.stream.asked)  # type: ignore[attr-defined]
        assert clock.now - begun == pytest.approx(sent / 1_000_000, rel=0.01)


@pytest.mark.parametrize("rate", [1000, 100_000])
def test_at_a_low_rate_little_is_read_at_once(rate: int, clock: Clock) -> None:
    source = Source(clock)
    with Throttle(rate, Waiting(clock), 1).reading(source) as reader:
        for _ in range(10):
            reader.read(1 << 30)
    assert max(source.asked) == max(LIMITS.read_least, rate // 8)


def test_what_is_on_the_disk_is_free(clock: Clock) -> None:
    begun = clock.now
    with Throttle(1000, Waiting(clock), 1).reading(Source(clock), free=True) as reader:
        reader.read(100_000)
    assert clock.now == begun


def test_waiting_for_the_rate_ends_with_the_run() -> None:
    flag, source = Cancellation(), Source()
    failures: list[Exception] = []

    def work() -> None:
        with Throttle(1, flag, 1).reading(source) as reader:
            try:
                reader.read(4096)
            except CancelledError as failure:
                failures.append(failure)

    thread = threading.Thread(target=work)
    thread.start()
    while not source.asked:
        time.sleep(0.001)
    flag.cancel()
    thread.join()
    assert len(failures) == 1
