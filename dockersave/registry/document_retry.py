"""Retry requests for documents; `retry_policy` decides whether and when."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ..cancellation import Cancellation
from ..errors import ContentError, NetworkError
from ..model.options import Network
from ..retry_policy import RetryPolicy
from ..trace import SILENT, Trace

T = TypeVar("T")


class Retry:
    """Retries what may succeed the next time. Shared by threads.

    Args:
        network: `retries` in a row for one request, `wait` for a network that is not up yet.
        cancellation: ends every pause.
        notify: gets one line for each retry.
        trace: gets one line, too.
    """

    def __init__(
        self,
        network: Network,
        cancellation: Cancellation,
        notify: Callable[[str], None],
        trace: Trace = SILENT,
    ) -> None:
        self.policy = RetryPolicy(
            network.retries,
            wait_until=time.monotonic() + network.wait,
            jitter=random.uniform,
            notify=notify,
        )
        """Counts all retries of the run, including those of layers."""
        self._retries = network.retries
        self._cancellation = cancellation
        self._trace = trace

    def call(self, attempt: Callable[[], T]) -> T:
        """Run `attempt` until it succeeds or fails permanently.

        Raises:
            DockersaveError: the last failure, as `attempt` raised it.
            CancelledError: the run was stopped.
        """
        count = 0
        while True:
            self._cancellation.check()
            try:
                return attempt()
            except (NetworkError, ContentError) as failure:
                now = time.monotonic()
                verdict = self.policy.judge(failure, count, now=now)
                if verdict.failure:
                    raise
                count += verdict.counts
                pause = max(0.0, verdict.until - now)
                self._trace.say(
                    "retry", f"{failure.marked}; in {pause:.3f} s, {count} of {self._retries}"
                )
                self._cancellation.wait(pause)
