"""Do the same work for several items, on several threads if the system allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
E = TypeVar("E", bound=Exception)

_TICK = 0.1
"""Seconds until a signal is noticed that came just before its thread began to wait.

Python runs signal handlers between two steps of the main thread. One that comes after the last such
moment and before the system call would wait as long as the call does.
"""


def join_all(threads: Iterable[threading.Thread], cancel: Callable[[], object]) -> None:
    """Wait for threads to end, even if interrupted.

    A surviving thread could write into files that are closed by then. So Ctrl-C, however often it
    comes, makes them end soon, and is raised once they have.

    Args:
        threads: which.
        cancel: makes their work end soon.
    """
    came: BaseException | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join(_TICK)
            except (KeyboardInterrupt, SystemExit) as failure:
                # What signal handlers raise.
                came = came or failure
                cancel()
    if came is not None:
        raise came


def in_parallel(
    items: Sequence[A],
    work: Callable[[A], B],
    threads: int,
    errors: type[E],
    cancel: Callable[[], object],
) -> tuple[list[B], list[tuple[A, E]]]:
    """Do `work` for each item, on other threads, unless the system grants none.

    Args:
        items: the items.
        work: called with each item.
        threads: the most at once.
        errors: errors that concern only one item.
        cancel: makes all work end soon; called on any other exception, including Ctrl-C on the
            calling thread. No thread works any more when this returns.

    Returns:
        The results of the items that succeeded, and the errors of those that did not; both in the
        order of `items`.
    """
    results: dict[int, B] = {}
    failures: dict[int, E] = {}
    fatal: list[BaseException] = []
    order = iter(range(len(items)))

    def stop() -> None:
        # The others' work is no longer needed, and nothing new is started.
        for _ in order:
            pass
        cancel()

    def run() -> None:
        try:
            for number in order:
                try:
                    results[number] = work(items[number])
                except errors as failure:
                    _forget(failure)
                    failures[number] = failure
        except BaseException as failure:
            fatal.append(failure)
            stop()

    running: list[threading.Thread] = []
    try:
        for _ in range(min(threads, len(items))):
            running.append(threading.Thread(target=run, daemon=True))
            try:
                running[-1].start()
            except RuntimeError:
                running.pop()
                break
        if not running:
            run()
        join_all(running, stop)
    except BaseException as failure:
        # Ctrl-C comes wherever the main thread is, mostly while it waits.
        fatal.insert(0, failure)
        stop()
        with suppress(KeyboardInterrupt, SystemExit):
            join_all(running, stop)
    if fatal:
        raise fatal[0]
    return (
        [results[number] for number in sorted(results)],
        [(items[number], failures[number]) for number in sorted(failures)],
    )


def _forget(failure: BaseException | None) -> None:
    """Keep an error's traceback, but nothing that was in memory there."""
    from traceback import clear_frames

    while failure is not None:
        clear_frames(failure.__traceback__)
        failure = failure.__cause__ or failure.__context__
