"""The threads of workers: that they end, few of them, and none."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError, ContentError
from dockersave.transfer.download import BlobDownload
from tests.transfer.fake_sources import (
    BODY,
    Line,
    Memory,
    Once,
    at_work,
    blob_of,
    fetched,
    refuse_threads,
    shrink,
)

LONG = 60
"""Seconds after which something that has not happened never will."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two megabytes are a large blob here."""
    shrink(monkeypatch)


# Stopping


@pytest.mark.parametrize("jobs", [0, 1, 4])
def test_a_run_that_is_stopped(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for an answer is woken by the flag."""
    if not jobs:
        refuse_threads(monkeypatch)
    flag, begun = Cancellation(), threading.Event()

    def wait(start: int, stop: int) -> None:
        begun.set()
        if not jobs:
            flag.cancel()
        flag.wait(LONG)

    def stop() -> None:
        if begun.is_set():
            flag.cancel()

    before = time.monotonic()
    with pytest.raises(CancelledError):
        fetched(Line(before=wait), jobs=jobs or 4, cancellation=flag, tick=stop)
    assert time.monotonic() - before < LONG


def test_stopping_wakes_who_waits_for_bytes() -> None:
    """The flag is not set: closing is enough, as where the caller itself has failed."""
    line = Line(hangs=True)
    begun = threading.Event()
    line.during = lambda position: begun.set()
    blob = blob_of(line)

    def fail() -> None:
        if begun.is_set():
            raise KeyError("the caller")

    before = time.monotonic()
    with (
        pytest.raises(KeyError),
        at_work([blob], [BlobDownload(blob, Memory())]) as (ledger, pool),
    ):
        pool.run(lambda: ledger.is_done, fail)
    assert time.monotonic() - before < LONG
    assert line.open_now == 0


def test_downloads_are_closed_whatever_happens() -> None:
    class Watched(BlobDownload):
        closed = False

        def close(self) -> None:
            self.closed = True

    for line in (Line(), Line(before=Once(ContentError("wrong")))):
        blob = blob_of(line)
        download = Watched(blob, Memory())
        try:
            with at_work([blob], [download]) as (ledger, pool):
                pool.run(lambda: ledger.is_done, lambda: None)
        except ContentError:
            assert not blob.done
        assert download.closed


def test_ctrl_c_while_a_thread_starts_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody knows could write into a file that is closed by then."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        started.append(thread)
        raise KeyboardInterrupt

    line = Line(before=lambda start, stop: time.sleep(0.2))
    blob = blob_of(line)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with (
        at_work([blob], [BlobDownload(blob, Memory())]) as (ledger, pool),
        pytest.raises(KeyboardInterrupt),
    ):
        pool.run(lambda: ledger.is_done, lambda: None)
    assert len(started) == 1
    assert not started[0].is_alive()


# Few threads, and none


@pytest.mark.parametrize("granted", [0, 1, 2])
def test_threads_that_the_system_refuses(granted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = refuse_threads(monkeypatch, granted)
    line, place = Line(), Memory()
    blob = blob_of(line)
    with at_work([blob], [BlobDownload(blob, place)], jobs=8) as (ledger, pool):
        pool.run(lambda: ledger.is_done, lambda: None)
    assert place.body == BODY
    assert len(names) == granted
    assert ledger.most == max(1, granted), "pieces are cut for those that there are"
    assert line.open_most <= max(1, granted)


def test_the_caller_does_what_it_can_meanwhile_with_no_threads_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_threads(monkeypatch)
    blob = blob_of(Line())
    hashed: list[int] = []
    ticks = count()
    with at_work([blob], [BlobDownload(blob, Memory())]) as (ledger, pool):

        def look() -> bool:
            hashed.append(blob.hashed)
            return ledger.is_done

        def tick() -> None:
            next(ticks)

        pool.run(look, tick)
    assert len(set(hashed)) > 3, "it is called between pieces"
    assert next(ticks) > 3


def test_nobody_but_the_caller_does_what_is_to_be_done_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even if a worker waits for room before the caller knows that it has started."""
    blob = blob_of(Line(ranged=False))
    room, real = 100_000, threading.Thread.start
    callers: set[str] = set()

    def start(self: threading.Thread) -> None:
        real(self)
        end = time.monotonic() + LONG
        while blob.present < room and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.05)

    monkeypatch.setattr(threading.Thread, "start", start)
    with at_work([blob], [BlobDownload(blob, Memory())], jobs=1) as (ledger, pool):
        pool.grant_room(room)

        def look() -> bool:
            callers.add(threading.current_thread().name)
            pool.grant_room(len(BODY))
            return ledger.is_done

        pool.run(look, lambda: None)
    assert callers == {threading.current_thread().name}
