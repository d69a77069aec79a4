"""How fast bytes come."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError, NetworkError
from dockersave.flow import Flow
from dockersave.limits import LIMITS


@dataclass(eq=False)
class Source:
    """A stream that gives what is asked for, after a pause, until it is interrupted."""

    pause: float = 0.0
    start: int = 0
    ranged: bool = True
    asked: list[int] = field(default_factory=list)
    closed: bool = False
    interrupted: threading.Event = field(default_factory=threading.Event)

    def read(self, amount: int) -> bytes:
        return bytes(self.readinto(memoryview(bytearray(amount))))

    def readinto(self, buffer: memoryview) -> int:
        self.asked.append(len(buffer))
        if self.pause and self.interrupted.wait(self.pause):
            raise NetworkError("interrupted", transient=True)
        return len(buffer)

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed = True


def test_a_stream_is_closed_whatever_happens() -> None:
    source = Source()
    with pytest.raises(KeyError), Flow(None, 1, Cancellation()).reading(source):
        raise KeyError
    assert source.closed


def test_reads_grow_on_a_fast_line_and_shrink_on_a_slow_one() -> None:
    flow = Flow(None, 10, Cancellation())
    source = Source()
    with flow.reading(source) as reader:
        for _ in range(10):
            reader.read(1 << 30)
        assert source.asked[-1] == LIMITS.read
        source.pause = 0.6
        reader.read(1 << 30)
        reader.read(1 << 30)
        assert source.asked[-1] < LIMITS.read
        assert reader.read(10) is not None
        assert source.asked[-1] == 10


def test_what_brings_nothing_is_interrupted() -> None:
    flow = Flow(None, 0.2, Cancellation())
    source = Source(pause=10)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            flow.watch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        begun = time.monotonic()
        with flow.reading(source) as reader, pytest.raises(NetworkError, match="next to no data"):
            reader.read(100)
        assert 0.15 < time.monotonic() - begun < 2
    finally:
        done.set()
        watcher.join()


@pytest.mark.parametrize("threads", [1, 4])
def test_all_connections_together_keep_to_the_rate(threads: int) -> None:
    rate, amount = 2_000_000, 1_000_000
    flow = Flow(rate, 10, Cancellation())

    def work() -> None:
        left = amount // threads
        with flow.reading(Source()) as reader:
            while left > 0:
                left -= len(reader.read(left))

    begun = time.monotonic()
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    seconds = time.monotonic() - begun
    assert seconds == pytest.approx(amount / rate, rel=0.25)


def test_what_is_on_the_disk_is_free() -> None:
    begun = time.monotonic()
    with Flow(1000, 10, Cancellation()).reading(Source(), free=True) as reader:
        reader.read(100_000)
    assert time.monotonic() - begun < 0.5


def test_waiting_for_the_rate_ends_with_the_run() -> None:
    flag = Cancellation()
    flow = Flow(1, 10, flag)
    timer = threading.Timer(0.1, flag.cancel)
    timer.start()
    with pytest.raises(CancelledError), flow.reading(Source()) as reader:
        reader.read(4096)
    timer.join()
