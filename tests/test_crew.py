"""Threads that do the same work, and end together."""

from __future__ import annotations

import threading

import pytest

from dockersave.crew import Crew, Shed


def test_a_failure_stops_the_others() -> None:
    started = threading.Barrier(3)

    def work() -> None:
        if started.wait() == 0:
            raise KeyError("one fails")
        with crew.changed:
            while not crew.stopping:
                crew.changed.wait()

    crew = Crew(work, 3, "test")
    crew.grow(10)
    crew.join()
    assert crew.size == 3
    assert isinstance(crew.failure, KeyError)


def test_the_last_one_stays() -> None:
    answers: list[bool] = []
    go = threading.Event()

    def work() -> None:
        go.wait()
        if crew.shed():
            answers.append(True)
            raise Shed
        answers.append(False)

    crew = Crew(work, 4, "test")
    crew.grow(4)
    go.set()
    crew.join()
    assert sorted(answers) == [False, True, True, True]
    assert crew.size == 1
    crew.grow(4)
    assert crew.size == 1
    assert crew.failure is None


def test_refused_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done = []
    crew = Crew(lambda: done.append(1), 4, "test")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        crew.grow(4)
    assert crew.size == 0
    crew.run()
    assert done == [1]
    assert not crew.shed()
