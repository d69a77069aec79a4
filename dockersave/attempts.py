"""The one retry policy of a run: which failures, how often, after how long. Pure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from .errors import ContentError, NetworkError
from .limits import LIMITS

_FIRST_PAUSE = 0.5
_WAITING_PAUSE = 2.0
"""The longest pause while a network is waited for: it should be noticed soon once it is up."""


class Verdict(NamedTuple):
    """What follows from a failure.

    Args:
        failure: what ends the work; None where it is tried again.
        until: when to try again, in seconds of the caller's clock; at once where that is past.
        counts: whether it is one more attempt.
        sheds: whether to make do with one connection less instead.
    """

    failure: Exception | None = None
    until: float = -math.inf
    counts: bool = False
    sheds: bool = False


class Attempts:
    """Judges failures. Many threads share one: that a count may be one too low does not matter.

    Args:
        retries: how often a request that brings nothing is sent again, in a row.
        wait_until: up to when to wait for a network that is not up yet, in seconds of the
            caller's clock.
        jitter: a number between two, another one each time.
        notify: gets one line for each try again.
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
        failure: Exception,
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
            attempts: how many failed in a row before it, and were counted.
            now: seconds of the caller's clock.
            gained: whether the attempt brought something that stays.
            counted: whether it began before the last one that was counted, side by side with it.
            alone: whether no other connection is in use.
            crowd: whether another one was in use meanwhile.
            overtaken: whether another one brought something meanwhile.
        """
        if not isinstance(failure, NetworkError | ContentError):
            return Verdict(failure)
        network = failure if isinstance(failure, NetworkError) else None
        if network and network.crowded and crowd:
            return Verdict(sheds=True)
        # Some servers refuse one connection more than they like: the others go on.
        is_refused = network and (network.transient or network.unreachable) and not network.answered
        if is_refused and overtaken and not gained:
            return Verdict(until=now + self._jitter(0, _FIRST_PAUSE), sheds=True)
        if network and network.unreachable and now < self._wait_until:
            return Verdict(until=self._when_it_may_be_up(network, now))
        if failure.transient:
            # Wrong bytes are no progress, and who asks to wait is waited for.
            is_progress = gained and network is not None and network.retry_after is None
            if is_progress or counted:
                return Verdict()
            # What others have waited for was one attempt, however many they are.
            if attempts < self._retries and (failure.is_shared or self._spend()):
                return self._again(failure, attempts + 1, now)
        if is_refused and not alone:
            return Verdict(sheds=True)
        if failure.transient:
            failure.hint = failure.advice or "try again later, or with more --retries"
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
            # A little later than asked: those who were told the same come spread out.
            pause = min(asked + self._jitter(0, 1), LIMITS.retry_pause)
        if not failure.is_shared:
            self._notify(
                f"{failure.said}, retrying in {in_words(pause)} ({count} of {self._retries})"
            )
        return Verdict(until=now + pause, counts=True)


def in_words(seconds: float) -> str:
    """A time as people say it: `0.4 s`, `12 s`, `3 min`, `5 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
