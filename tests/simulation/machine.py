"""Threads, locks and a clock that a seed decides about.

A thread of this machine runs until it waits, and now and then until it takes a lock; which one is
next is the dice's choice. When all of them wait, the clock jumps to the first moment that one
of them waits for. So a run is repeated to the last step by its seed, and hours take milliseconds.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace, TracebackType
from unittest.mock import patch

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

_PREEMPTED = 0.25
"""How often another thread comes first where a lock is taken."""
_STEPS = 100_000
"""More than any run takes."""
_MODULES = ("workers", "throttle")
_UNTIL_WOKEN = -1.0


class StuckError(AssertionError):
    """Nothing happens any more, or it never ends."""


class Killed(BaseException):
    """The process is no more."""


class Thread:
    """One thread; what `threading.Thread` is to others."""

    def __init__(
        self, machine: Machine, target: Callable[[], object], name: str = "", daemon: bool = True
    ) -> None:
        self._machine = machine
        self._target = target
        self.name = name
        self.is_over = False
        self.waits = 0
        """How often it has waited: an alarm that was set for an earlier time is none."""
        self.is_ready = False
        self.life = greenlet(self._live, machine.hub)
        self._joins: list[Thread] = []

    def start(self) -> None:
        """Begin, when its turn comes."""
        self._machine.refuse_threads()
        self._machine.threads.append(self)
        self._machine.wake(self)

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end. Signals never come here, so nobody has to look after a while."""
        while not self.is_over:
            self._joins.append(self._machine.current)
            self._machine.wait()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return not self.is_over

    def _live(self) -> None:
        try:
            self._target()
        except Killed:
            pass  # as everything else of its process
        finally:
            self.is_over = True
            for each in self._joins:
                self._machine.wake(each)


class Lock:
    """What `threading.RLock` is to others."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._owner: Thread | None = None
        self._count = 0
        self._queue: list[Thread] = []

    def __enter__(self) -> Lock:
        me = self._machine.current
        if self._owner is not me:
            self._machine.step_aside()
            while self._owner is not None and not self._machine.is_dead:
                self._queue.append(me)
                self._machine.wait()
            self._owner = me
        self._count += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._count -= 1
        if not self._count:
            self.release()

    def release(self) -> int:
        """Let others have it; returns how often it was taken."""
        count, self._count, self._owner = self._count, 0, None
        waiting, self._queue = self._queue, []
        for each in waiting:
            self._machine.wake(each)
        return count

    def take_back(self, count: int) -> None:
        """Have it as often as before."""
        with self:
            self._count += count
        self._owner = self._machine.current


class Condition:
    """What `threading.Condition` is to others."""

    def __init__(self, machine: Machine, lock: Lock) -> None:
        self._machine = machine
        self._lock = lock
        self._waiting: list[Thread] = []

    def __enter__(self) -> Lock:
        return self._lock.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    def wait(self, timeout: float) -> None:
        """Wait until somebody notifies, or for so long at most."""
        count = self._lock.release()
        self._waiting.append(self._machine.current)
        try:
            self._machine.wait(timeout)
        finally:
            self._lock.take_back(count)

    def notify_all(self) -> None:
        """Wake all waiting threads."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._machine.wake(each)


class Machine:
    """A process: its threads and its clock.

    Parameters:
        dice: decide who is next.
        now: what its clock shows first.
        dies: when it is killed.
        threads: how many the system grants beside the first.
    """

    def __init__(
        self,
        dice: random.Random,
        *,
        now: float = 0.0,
        dies: float = float("inf"),
        threads: int = 1000,
    ) -> None:
        self.dice = dice
        self.now = now
        self.is_dead = False
        self.threads: list[Thread] = []
        self.hub = getcurrent()
        self._dies = dies
        self._most = threads
        self._steps = 0
        self._ready: list[Thread] = []
        self._alarms: list[tuple[float, int, Thread, int]] = []
        self.current: Thread

    def run(self, target: Callable[[], object]) -> None:
        """Run a process from its first thread's beginning to that one's end.

        Raises:
            StuckError: it never ends.
            Killed: it was.
        """
        result: list[BaseException] = []

        def first() -> None:
            try:
                target()
            except BaseException as error:
                result.append(error)

        main = Thread(self, first, "main")
        self._most += 1
        main.start()
        try:
            with self._installed():
                while not main.is_over:
                    self._turn()
        finally:
            self.is_dead = True
            for each in self.threads:
                if not each.is_over:
                    self.current = each
                    each.life.throw(Killed)
        if result:
            raise result[0]

    @contextmanager
    def _installed(self) -> Iterator[None]:
        def make(kind: Callable[..., object]) -> Callable[..., object]:
            return lambda *words, **named: kind(self, *words, **named)

        threading = SimpleNamespace(
            Thread=make(Thread),
            Lock=make(Lock),
            RLock=make(Lock),
            Condition=make(Condition),
            get_ident=lambda: id(self.current),
        )
        # Some hosts are slower than their lines.
        busy = self.dice.choice([0.1, 0.1, 1.5])
        time = SimpleNamespace(
            monotonic=lambda: self.now, process_time=lambda: busy * self.now, sleep=self.wait
        )
        patches = [
            patch(f"dockersave.transfer.{name}.{what}", double)
            for name in _MODULES
            for what, double in (("threading", threading), ("time", time))
        ]
        for each in patches:
            each.start()
        try:
            yield
        finally:
            for each in patches:
                each.stop()

    def _turn(self) -> None:
        self._steps += 1
        if self._steps > _STEPS:
            raise StuckError("it goes on for ever")
        while not self._ready:
            if not self._alarms:
                raise StuckError("all threads wait, and for nothing")
            due, _, thread, waits = heapq.heappop(self._alarms)
            if thread.waits == waits and not thread.is_over:
                self.now = max(self.now, due)
                self.wake(thread)
        if self.now >= self._dies:
            raise Killed
        self.current = self._ready.pop(self.dice.randrange(len(self._ready)))
        self.current.is_ready = False
        self.current.life.switch()

    def wake(self, thread: Thread) -> None:
        """Let it continue when its turn comes."""
        if not thread.is_ready and not thread.is_over:
            thread.is_ready = True
            thread.waits += 1
            self._ready.append(thread)

    def wait(self, seconds: float = _UNTIL_WOKEN) -> None:
        """Wait until woken, or for so long at most."""
        if self.is_dead:
            raise Killed
        me = self.current
        if seconds >= 0:
            heapq.heappush(self._alarms, (self.now + seconds, self._steps, me, me.waits))
            self._steps += 1
        self.hub.switch()
        if self.is_dead:
            raise Killed

    def step_aside(self) -> None:
        """Let others come first, perhaps."""
        if not self.is_dead and self._ready and self.dice.random() < _PREEMPTED:
            self.wake(self.current)
            self.wait()

    def refuse_threads(self) -> None:
        """Fail where the system grants no more.

        Raises:
            RuntimeError: it does.
        """
        if len(self.threads) >= self._most:
            raise RuntimeError("can't start new thread")
