"""The one retry policy of a run: which errors are retried, how often, and when."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from .errors import ContentError, NetworkError
from .limits import LIMITS
from .spelling import argument
from .units import in_words

_FIRST_PAUSE = 0.5
_WAITING_PAUSE = 2.0
"""The longest pause while waiting for a network, so that it is noticed soon once it is up."""


class Verdict(NamedTuple):
    """What to do after a failure.

    Args:
        failure: the error to give up with, or None to retry.
        until: when to retry, in seconds of the caller's clock; at once if that is past.
        counts: whether it counts as an attempt.
        sheds: whether to use one connection less instead.
        rests: whether to ask the server for nothing else until then: it did not answer, or is
            too busy.
    """

    failure: Exception | None = None
    until: float = -math.inf
    counts: bool = False
    sheds: bool = False
    rests: bool = False


class RetryPolicy:
    """Judges failures. Threads share one; a count that is one too low does no harm.

    Args:
        retries: how often a request without progress is retried in a row.
        wait_until: until when to wait for a network that is not up yet, in seconds of the caller's
            clock.
        jitter: returns a random number between two.
        notify: gets one line for each retry.
    """

    def __init__(
        self,
        retries: int,
        *,
        wait_until: float,
        jitter: Callable[[float, float], float],
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._retries = retries
        self._wait_until = wait_until
        self._jitter = jitter
        self._notify = notify
        self._left = LIMITS.retries_per_run
        self._waits = 0

    def judge(
        self,
        failure: NetworkError | ContentError,
        attempts: int,
        *,
        now: float,
        gained: bool = False,
        counted: bool = False,
        alone: bool = True,
        crowd: bool = False,
        overtaken: bool = False,
    ) -> Verdict:
        """What to do about a failure.

        Args:
            failure: what was raised.
            attempts: how many counted attempts failed in a row before it.
            now: seconds of the caller's clock.
            gained: whether the attempt brought data that can be kept.
            counted: whether it ran in parallel with the last attempt that was counted.
            alone: whether no other connection is in use.
            crowd: whether another connection was in use at the same time.
            overtaken: whether another connection made progress in the meantime.
        """
        network = failure if isinstance(failure, NetworkError) else None
        is_busy = network and network.crowded
        if is_busy and crowd:
            return Verdict(sheds=True)
        # Some servers refuse connections above their limit: continue with the others.
        is_refused = network and (network.transient or network.unreachable) and not network.answered
        if is_refused and overtaken and not gained:
            return Verdict(until=now + self._jitter(0, _FIRST_PAUSE), sheds=True)
        if network and network.unreachable and now < self._wait_until:
            return Verdict(until=self._when_it_may_be_up(network, now), rests=alone)
        if failure.transient:
            # Wrong bytes are not progress, and a server that asks us to wait gets its way.
            is_progress = gained and network is not None and network.retry_after is None
            if is_progress or counted:
                return Verdict()
            # All threads that waited for one attempt count as one.
            if attempts < self._retries and (failure.is_shared or self._spend()):
                again = self._again(failure, attempts + 1, now)
                # Nobody gets through. Asking for each blob in turn would soon exhaust all retries.
                return again._replace(rests=bool(alone and (is_refused or is_busy)))
        if is_refused and not alone:
            return Verdict(sheds=True)
        if failure.transient:
            failure.hint = failure.advice or f"try again later, or with more {argument('retries')}"
        if network and network.unreachable and not self._waits:
            waiting = f"{argument('wait')} waits for it"
            if failure.advice:
                failure.advise(waiting)
            else:
                failure.hint = waiting
        return Verdict(failure)

    def _spend(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def _when_it_may_be_up(self, failure: NetworkError, now: float) -> float:
        self._waits += 1
        if self._waits == 1:
            self._notify(f"{failure.said}, waiting up to {in_words(self._wait_until - now)}")
        pause: float = min(_FIRST_PAUSE * 2 ** min(self._waits, 8), _WAITING_PAUSE)
        return min(now + pause, self._wait_until)

    def _again(self, failure: NetworkError | ContentError, count: int, now: float) -> Verdict:
        # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        pause = self._jitter(0, min(_FIRST_PAUSE * 2 ** min(count, 8), LIMITS.retry_pause))
        asked = failure.retry_after if isinstance(failure, NetworkError) else None
        if asked is not None:
            if asked > LIMITS.retry_pause:
                until = time.strftime("%H:%M", time.localtime(time.time() + asked))
                failure.hint = f"it asks you to wait {in_words(asked)}, until {until}" + (
                    f"; {failure.advice}" if failure.advice else ""
                )
                return Verdict(failure)
            # A little later than asked, to spread out clients that were told the same.
            pause = min(asked + self._jitter(0, 1), LIMITS.retry_pause)
        if not failure.is_shared:
            self._notify(
                f"{failure.said}, retrying in {in_words(pause)} ({count} of {self._retries})"
            )
        return Verdict(until=now + pause, counts=True)
