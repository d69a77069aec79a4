"""The one retry policy of a run: which failures, how often, how long."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..cancellation import Cancellation
from ..errors import ContentError, NetworkError
from ..limits import LIMITS
from ..options import Network
from ..trace import SILENT, Trace

T = TypeVar("T")

_FIRST_PAUSE = 0.5
_WAITING_PAUSE = 2.0
"""The longest pause while a network is waited for: it should be noticed soon once it is up."""


class Retry:
    """Tries again what may succeed the next time. Many threads share one.

    Args:
        network: `retries` in a row for one request, `wait` for a network that is not up yet.
        cancellation: ends every pause.
        notify: gets one line for each try again.
        trace: gets one line for each, those that need no pause among them.
    """

    def __init__(
        self,
        network: Network,
        cancellation: Cancellation,
        notify: Callable[[str], None],
        trace: Trace = SILENT,
    ) -> None:
        self._trace = trace
        self._network = network
        self._cancellation = cancellation
        self._notify = notify
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._left = LIMITS.retries_per_run
        self._waiting = False

    def call(self, attempt: Callable[[], T], *, position: Callable[[], int] | None = None) -> T:
        """Run `attempt` until it returns, or fails for good.

        Args:
            attempt: one try.
            position: how far the work has come, in bytes; `LIMITS.read_least` more than before are
                progress: it is gone on with at once, and the tries are counted anew.

        Raises:
            DockersaveError: the last failure, as `attempt` raised it.
            CancelledError: the run was stopped.
        """
        count = waits = 0
        reached = position() if position else 0
        while True:
            self._cancellation.check()
            try:
                return attempt()
            except (NetworkError, ContentError) as error:
                # Ten bytes a connection are no progress, or a gigabyte would take for ever.
                if position and position() - reached >= LIMITS.read_least:
                    reached = position()
                    count = 0
                    if isinstance(error, NetworkError) and _may_go_on(error):
                        self._trace.say("retry", f"{error}; at once, since it had come further")
                        continue
                if isinstance(error, NetworkError) and error.unreachable and self._may_wait():
                    waits += 1
                    self._pause_until_up(error, waits)
                    continue
                count += 1
                if not error.transient:
                    raise
                if count > self._network.retries:
                    error.hint = error.hint or "try again later, or with more --retries"
                    raise
                self._pause(error, count)

    def _may_wait(self) -> bool:
        return time.monotonic() - self._begun < self._network.wait

    def _pause_until_up(self, error: NetworkError, waits: int) -> None:
        left = self._begun + self._network.wait - time.monotonic()
        with self._lock:
            first, self._waiting = not self._waiting, True
        if first:
            self._notify(f"{error.message}, waiting up to {_seconds(left)}")
        ceiling = min(_FIRST_PAUSE * 2 ** min(waits, 8), _WAITING_PAUSE)
        self._cancellation.wait(max(0.0, min(ceiling, left)))

    def _pause(self, error: NetworkError | ContentError, count: int) -> None:
        # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        ceiling = min(_FIRST_PAUSE * 2**count, LIMITS.retry_pause)
        pause = random.uniform(0, ceiling)
        asked = error.retry_after if isinstance(error, NetworkError) else None
        if asked is not None:
            if asked > LIMITS.retry_pause:
                until = time.strftime("%H:%M", time.localtime(time.time() + asked))
                error.hint = f"it asks to wait {_seconds(asked)}, until {until}" + (
                    f"; {error.hint}" if error.hint else ""
                )
                raise error
            # A little later than asked: those who were told the same come spread out.
            pause = min(asked + random.uniform(0, 1), LIMITS.retry_pause)
        with self._lock:
            if self._left <= 0:
                raise error
            self._left -= 1
        self._trace.say("retry", f"{error}; in {pause:.3f} s, {count} of {self._network.retries}")
        self._notify(
            f"{error.message}, trying again in {_seconds(pause)}"
            f" ({count} of {self._network.retries})"
        )
        self._cancellation.wait(pause)


def _may_go_on(error: NetworkError) -> bool:
    """Whether nobody asks to wait."""
    return error.transient and error.retry_after is None


def _seconds(seconds: float) -> str:
    """A time as people say it: `0.4 s`, `12 s`, `3 min`, `5 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
