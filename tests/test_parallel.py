"""The same work for several things."""

from __future__ import annotations

import threading

import pytest

from dockersave.parallel import in_parallel


@pytest.mark.parametrize("threads", [1, 3, 50])
def test_results_in_the_order_of_the_items(threads: int) -> None:
    def work(item: int) -> int:
        if item % 3 == 0:
            raise ValueError(item)
        return item * 2

    results = in_parallel(range(10), work, threads, ValueError)
    for item, result in enumerate(results):
        if item % 3 == 0:
            assert isinstance(result, ValueError)
        else:
            assert result == item * 2


def test_what_is_not_foreseen_is_raised() -> None:
    def work(item: int) -> None:
        raise KeyError(item)

    before = threading.active_count()
    with pytest.raises(KeyError):
        in_parallel(range(4), work, 2, ValueError)
    assert threading.active_count() == before


def test_threads_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert in_parallel([1, 2, 3], lambda item: item, 8, ValueError) == [1, 2, 3]


def test_nothing_to_do() -> None:
    assert in_parallel([], lambda item: item, 8, ValueError) == []
