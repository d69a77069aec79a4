"""Stop a run from outside: from a signal handler, another thread or an async task."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .errors import CancelledError


class Cancellation:
    """A flag that wakes every waiting thread.

    Blocking calls that cannot watch a flag (a socket read) register a callback with `interrupting`,
    which ends them. All methods are thread-safe.
    """

    def __init__(self) -> None:
        self._is_set = False
        # Reentrant: a signal handler may call `cancel` while its own thread is inside. The lock of
        # a `threading.Event` is not.
        self._lock = threading.RLock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._children: weakref.WeakSet[Cancellation] = weakref.WeakSet()
        self._next = 0

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` has been called."""
        return self._is_set

    def cancel(self) -> None:
        """Stop the run: nothing new is started, and blocking calls are interrupted."""
        self._is_set = True
        with self._lock:
            callbacks = [*self._callbacks.values(), *(child.cancel for child in self._children)]
        for callback in callbacks:
            callback()

    def child(self) -> Cancellation:
        """A child flag: set whenever this one is, and can be set on its own."""
        child = Cancellation()
        with self._lock:
            self._children.add(child)
        if self.cancelled:
            child.cancel()
        return child

    def check(self) -> None:
        """Raise `CancelledError` if the run was stopped."""
        if self._is_set:
            raise CancelledError("stopped")

    def wait(self, seconds: float) -> None:
        """Sleep, and raise `CancelledError` as soon as the run is stopped.

        Args:
            seconds: how long.
        """
        from queue import Empty, SimpleQueue

        # Unlike most, its `put` may interrupt its own `get`.
        woken: SimpleQueue[None] = SimpleQueue()
        with self.interrupting(lambda: woken.put(None)), suppress(Empty):
            woken.get(timeout=max(0.0, seconds))
        self.check()

    @contextmanager
    def interrupting(self, callback: Callable[[], None]) -> Iterator[None]:
        """While inside, `cancel` calls `callback`, which must be quick and must not raise.

        Raises:
            CancelledError: on entry, if the run is already stopped.
        """
        with self._lock:
            self._next += 1
            key = self._next
            self._callbacks[key] = callback
        try:
            self.check()
            yield
        finally:
            with self._lock:
                del self._callbacks[key]
