"""The same work for several things, on several threads where the system grants them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def in_parallel(
    items: Sequence[A], work: Callable[[A], B], threads: int, errors: type[Exception]
) -> list[B | Exception]:
    """Do `work` for each item.

    Args:
        items: what to do it for.
        work: what to do.
        threads: how many at once, at most.
        errors: failures that concern one item alone.

    Returns:
        For each item its result, or the failure.
    """
    results: list[B | Exception] = []
    results += [RuntimeError("not done")] * len(items)
    fatal: list[BaseException] = []
    order = iter(range(len(items)))

    def run() -> None:
        try:
            for number in order:
                try:
                    results[number] = work(items[number])
                except errors as failure:
                    results[number] = failure
        except BaseException as failure:
            fatal.append(failure)

    running = []
    for _ in range(min(threads, len(items)) - 1):
        thread = threading.Thread(target=run, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        running.append(thread)
    run()
    for thread in running:
        thread.join()
    if fatal:
        raise fatal[0]
    return results
