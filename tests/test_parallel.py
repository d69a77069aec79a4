"""The same work for several things."""

from __future__ import annotations

import threading
import weakref

import pytest

from dockersave.parallel import in_parallel, join_all


def nothing() -> None:
    """What is stopped by nobody."""


@pytest.mark.parametrize("threads", [1, 3, 50])
def test_results_in_the_order_of_the_items(threads: int) -> None:
    def work(item: int) -> int:
        if item % 3 == 0:
            raise ValueError(item)
        return item * 2

    results, failures = in_parallel(range(10), work, threads, ValueError, nothing)
    assert results == [2, 4, 8, 10, 14, 16]
    assert [(item, failure.args) for item, failure in failures] == [
        (item, (item,)) for item in (0, 3, 6, 9)
    ]


def test_what_is_not_foreseen_is_raised() -> None:
    def work(item: int) -> None:
        raise KeyError(item)

    before = threading.active_count()
    with pytest.raises(KeyError):
        in_parallel(range(4), work, 2, ValueError, nothing)
    assert threading.active_count() == before


def test_a_failure_keeps_nothing_else_in_memory() -> None:
    class Body:
        """What takes much."""

    bodies: list[weakref.ref[Body]] = []

    def read() -> None:
        body = Body()
        bodies.append(weakref.ref(body))
        raise ValueError

    def work(item: int) -> None:
        try:
            read()
        except ValueError as failure:
            raise OSError(item) from failure

    _, failures = in_parallel([1, 2], work, 1, OSError, nothing)
    assert [body() for body in bodies] == [None, None]
    assert [item for item, failure in failures if failure.__traceback__] == [1, 2]


def test_the_caller_only_waits_a_moment_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a signal that comes just before a wait begins is not noticed until the wait is over."""
    workers: set[int] = set()
    waits: list[float | None] = []
    join = threading.Thread.join

    def joined(thread: threading.Thread, timeout: float | None = None) -> None:
        waits.append(timeout)
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", joined)
    for items in ([1], [1, 2, 3]):
        gate = threading.Event()
        threading.Timer(0.3, gate.set).start()

        def work(item: int, gate: threading.Event = gate) -> None:
            workers.add(threading.get_ident())
            gate.wait()

        in_parallel(items, work, 2, ValueError, nothing)
    assert threading.get_ident() not in workers
    assert len(waits) > 4
    assert all(each is not None and each <= 0.2 for each in waits)


def test_threads_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert in_parallel([1, 2, 3], lambda item: item, 8, ValueError, nothing) == ([1, 2, 3], [])


def test_nothing_to_do() -> None:
    assert in_parallel([], lambda item: item, 8, ValueError, nothing) == ([], [])


def test_ctrl_c_ends_what_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes to the caller, which waits."""
    stopped = threading.Event()
    begun = threading.Barrier(4)
    join = threading.Thread.join
    done: list[int] = []

    def work(item: int) -> None:
        begun.wait(30)
        assert stopped.wait(30)
        done.append(item)

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        if not stopped.is_set():
            begun.wait(30)
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        in_parallel(range(9), work, 3, ValueError, stopped.set)
    assert threading.active_count() == before
    assert len(done) == 3, "nothing new is begun"


def test_ctrl_c_while_waiting_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, here = threading.Event(), threading.get_ident()
    join = threading.Thread.join
    joined: list[threading.Thread] = []

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        joined.append(thread)
        if len(joined) == 1:
            raise KeyboardInterrupt
        join(thread, timeout)

    def work(item: int) -> None:
        if threading.get_ident() != here:
            assert stopped.wait(30)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        in_parallel(range(2), work, 2, ValueError, stopped.set)
    assert threading.active_count() == before


def test_ctrl_c_again_and_again_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that lived on could write into a file that is closed by then."""
    stopped = threading.Event()
    join = threading.Thread.join
    wishes = 3

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        nonlocal wishes
        wishes -= 1
        if wishes >= 0:
            raise KeyboardInterrupt
        join(thread, timeout)

    threads = [threading.Thread(target=stopped.wait, args=(30,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            join_all(threads, stopped.set)
    assert not any(thread.is_alive() for thread in threads)
