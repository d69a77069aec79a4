"""The same work for several things, on several threads where the system grants them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def join_all(threads: Iterable[threading.Thread], cancel: Callable[[], object]) -> None:
    """Wait for threads to end, whatever comes meanwhile.

    A thread that lived on could write into files that are closed by then. So Ctrl-C, however often
    it comes, makes them end soon, and is raised when they have.

    Args:
        threads: which.
        cancel: makes all that they do end soon.
    """
    came: BaseException | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except (KeyboardInterrupt, SystemExit) as failure:
                # What handlers of signals raise.
                came = came or failure
                cancel()
    if came is not None:
        raise came


def in_parallel(
    items: Sequence[A],
    work: Callable[[A], B],
    threads: int,
    errors: type[Exception],
    cancel: Callable[[], object],
) -> list[B | Exception]:
    """Do `work` for each item.

    Args:
        items: what to do it for.
        work: what to do.
        threads: how many at once, at most.
        errors: failures that concern one item alone.
        cancel: makes all that is being done end soon; called when anything else goes wrong, Ctrl-C
            on the thread that calls this among it. No thread is left when this returns.

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
                    _forget(failure)
                    results[number] = failure
        except BaseException as failure:
            fatal.append(failure)
            # What others do is of no use any more, and nothing new is begun.
            for _ in order:
                pass
            cancel()

    running: list[threading.Thread] = []
    try:
        for _ in range(min(threads, len(items)) - 1):
            thread = threading.Thread(target=run, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                break
            running.append(thread)
        run()
        join_all(running, cancel)
    except BaseException as failure:
        # Ctrl-C comes wherever the main thread is, and mostly where it waits.
        fatal.insert(0, failure)
        cancel()
        with suppress(KeyboardInterrupt, SystemExit):
            join_all(running, cancel)
    if fatal:
        raise fatal[0]
    return results


def _forget(failure: BaseException | None) -> None:
    """Keep of a failure where it came from, and nothing that was in memory there."""
    from traceback import clear_frames

    while failure is not None:
        clear_frames(failure.__traceback__)
        failure = failure.__cause__ or failure.__context__
