"""Threads that do the same work until there is none left, one fails, or all are told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Shed(Exception):
    """The thread that raises this ends, and nobody takes its place."""


class Crew:
    """Some threads. Where the system refuses to start them, those that run do the work.

    Args:
        work: what each does; it returns when nothing is left, or `stopping` is set.
        most: threads at once.
        name: theirs.
    """

    def __init__(self, work: Callable[[], None], most: int, name: str) -> None:
        self.changed = threading.Condition()
        """To wait for, and to be told, that something has happened."""
        self.failure: BaseException | None = None
        self.stopping = False
        self.size = 0
        self._work = work
        self._most = most
        self._name = name
        self._threads: list[threading.Thread] = []

    def grow(self, count: int) -> None:
        """Start up to `count` more threads."""
        for _ in range(min(count, self._most - self.size)):
            thread = threading.Thread(target=self.run, name=self._name, daemon=True)
            self._count(1)
            try:
                thread.start()
            except RuntimeError:
                self._count(-1)
                self._most = self.size
                return
            self._threads.append(thread)

    def shed(self) -> bool:
        """Make do with one thread less, unless it is the last.

        Returns:
            Whether the thread that calls this is to raise `Shed`.
        """
        with self.changed:
            if self.size <= 1:
                return False
            self.size -= 1
            self._most = self.size
            self.changed.notify_all()
            return True

    def run(self) -> None:
        """Work on the thread that calls this; a failure is kept in `failure`."""
        try:
            self._work()
        except Shed:
            pass
        except BaseException as failure:
            with self.changed:
                self.failure = self.failure or failure
                self.stopping = True
        self.notify()

    def notify(self) -> None:
        """Something has happened."""
        with self.changed:
            self.changed.notify_all()

    def stop(self) -> None:
        """Tell the threads to end."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def join(self) -> None:
        """Wait until they have ended; whoever calls this has woken them.

        Without a limit: a thread that lived on could write into files that are closed by then.
        """
        while self._threads:
            self._threads.pop().join()

    def _count(self, change: int) -> None:
        with self.changed:
            self.size += change
