"""One retry policy: which failures, how often, after how long."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

import pytest

from dockersave.errors import (
    ContentError,
    NetworkError,
)
from dockersave.limits import LIMITS
from dockersave.retry_policy import RetryPolicy, Verdict
from dockersave.units import in_words

NOW = 1000.0
AT_ONCE = Verdict()


class Policy:
    """A policy, and what it told the user."""

    def __init__(self, retries: int = 5, *, wait: float = 0, jitter: float = 1.0) -> None:
        self.lines: list[str] = []
        self.attempts = RetryPolicy(
            retries,
            wait_until=NOW + wait,
            jitter=lambda low, high: low + jitter * (high - low),
            notify=self.lines.append,
        )

    def pauses(self, failure: NetworkError | ContentError, most: int = 1000) -> list[float]:
        """The pauses before each try again, until it is given up, or `most`."""
        pauses: list[float] = []
        while len(pauses) < most:
            verdict = self.attempts.judge(failure, len(pauses), now=NOW)
            if verdict.failure:
                assert verdict.failure is failure
                break
            assert verdict.counts
            assert not verdict.sheds
            pauses.append(verdict.until - NOW)
        return pauses


def reset() -> NetworkError:
    return NetworkError("registry.example: connection reset", transient=True)


def test_passing_failures_are_tried_again_with_growing_pauses() -> None:
    policy = Policy()
    assert policy.pauses(reset()) == [1, 2, 4, 8, 16]
    assert policy.lines[0] == "registry.example: connection reset, retrying in 1.0 s (1 of 5)"
    assert policy.lines[4] == "registry.example: connection reset, retrying in 16 s (5 of 5)"
    assert len(policy.lines) == 5


def test_wrong_content_that_may_have_been_wrong_by_chance_is_tried_again() -> None:
    flipped = ContentError("registry.example: the manifest hashes to …", transient=True)
    assert Policy(2).pauses(flipped) == [1, 2]


def test_pauses_are_jittered() -> None:
    assert Policy(jitter=0.25).pauses(reset(), 2) == [0.25, 0.5]
    assert Policy(jitter=0).pauses(reset(), 3) == [0, 0, 0]


def test_no_pause_is_longer_than_the_limit() -> None:
    assert max(Policy(20).pauses(reset())) == LIMITS.retry_pause
    busy = NetworkError("busy", transient=True, retry_after=LIMITS.retry_pause)
    assert Policy().pauses(busy, 1) == [LIMITS.retry_pause]


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_it_ends_after_so_many(retries: int) -> None:
    policy, failure = Policy(retries), reset()
    assert len(policy.pauses(failure)) == len(policy.lines) == retries
    assert "retries=" in failure.hint


def test_a_hint_is_not_lost() -> None:
    failure = NetworkError("the limit is reached", "log in", transient=True)
    assert Policy(0).pauses(failure) == []
    assert failure.hint == "log in"


@pytest.mark.parametrize(
    "failure",
    [
        NetworkError("refused"),
        ContentError("no JSON"),
    ],
)
@pytest.mark.parametrize("gained", [False, True])
def test_lasting_failures_are_not_tried_again(
    gained: bool, failure: NetworkError | ContentError
) -> None:
    policy = Policy(wait=60)
    assert policy.attempts.judge(failure, 0, gained=gained, now=NOW) == Verdict(failure)
    assert not policy.lines
    assert not failure.advice


# Progress, and failures side by side


def test_what_brought_something_is_tried_again_at_once_and_does_not_count() -> None:
    policy = Policy(0)
    for _ in range(2 * LIMITS.retries_per_run):
        assert policy.attempts.judge(reset(), 0, gained=True, now=NOW) == AT_ONCE
    assert not policy.lines


def test_failures_side_by_side_count_once() -> None:
    policy = Policy(0)
    assert policy.attempts.judge(reset(), 0, counted=True, now=NOW) == AT_ONCE


def test_a_run_has_a_budget() -> None:
    policy = Policy(5)
    for _ in range(LIMITS.retries_per_run):
        assert policy.attempts.judge(reset(), 0, now=NOW).counts
    failure = reset()
    assert policy.attempts.judge(failure, 0, now=NOW).failure is failure
    assert policy.attempts.judge(reset(), 0, gained=True, now=NOW) == AT_ONCE
    assert len(policy.lines) == LIMITS.retries_per_run


def test_what_many_have_waited_for_is_one_attempt() -> None:
    policy = Policy()
    shared = reset()
    shared.is_shared = True
    for _ in range(10):
        assert policy.pauses(shared) == [1, 2, 4, 8, 16]
    assert not policy.lines
    for _ in range(LIMITS.retries_per_run):
        assert policy.attempts.judge(reset(), 0, now=NOW).counts
    assert policy.attempts.judge(reset(), 0, now=NOW).failure


def test_many_threads_share_the_budget() -> None:
    policy = Policy(1)
    tried: list[bool] = []

    def work() -> None:
        for _ in range(20):
            tried.append(policy.attempts.judge(reset(), 0, now=NOW).counts)

    threads = [threading.Thread(target=work) for _ in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # That the count may be one too low now and then does not matter.
    assert 0 <= sum(tried) - LIMITS.retries_per_run <= len(threads)
    assert len(policy.lines) == sum(tried)


# Too many connections


@pytest.mark.parametrize(
    "failure",
    [
        NetworkError("busy", transient=True, crowded=True),
        NetworkError("busy", transient=True, crowded=True, retry_after=10_000),
    ],
)
def test_one_connection_less_where_a_server_says_so(failure: NetworkError) -> None:
    policy = Policy(0)
    verdict = policy.attempts.judge(failure, 0, alone=False, now=NOW)
    assert verdict == Verdict(sheds=True)
    assert not policy.lines
    assert policy.attempts.judge(failure, 0, alone=True, now=NOW).failure is failure


def test_the_last_connection_waits_as_asked() -> None:
    busy = NetworkError("busy", transient=True, crowded=True, retry_after=7)
    assert Policy(1).pauses(busy) == [8]


@pytest.mark.parametrize(
    "failure", [reset(), NetworkError("refused", unreachable=True)], ids=["reset", "refused"]
)
def test_one_connection_less_where_one_fails_again_and_again(failure: NetworkError) -> None:
    """Some servers refuse one connection more than they like, and do not say why."""
    judge = Policy(2).attempts.judge
    assert judge(failure, 2, alone=False, now=NOW) == Verdict(sheds=True)
    assert judge(failure, 2, alone=True, now=NOW).failure is failure


def test_what_a_server_answered_is_no_matter_of_connections() -> None:
    failure = NetworkError("error 500", transient=True, answered=True)
    assert Policy(2).attempts.judge(failure, 2, alone=False, now=NOW).failure is failure


def test_a_failure_that_lasts_is_no_matter_of_connections() -> None:
    failure = NetworkError("no certificate")
    assert Policy(2).attempts.judge(failure, 0, alone=False, now=NOW).failure is failure


# Waiting


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    busy = NetworkError("busy", transient=True, retry_after=30)
    assert Policy().pauses(busy, 1) == [31], "a little later: they come spread out"
    assert Policy(jitter=0).pauses(busy, 1) == [30]
    none = NetworkError("busy", transient=True, retry_after=0)
    assert Policy(jitter=0).pauses(none, 1) == [0]


@pytest.mark.parametrize("hint", ["", "log in"])
def test_a_server_that_asks_for_hours_is_given_up_at_once(hint: str) -> None:
    policy = Policy()
    limit = NetworkError("the limit is reached", hint, transient=True, retry_after=3 * 3600)
    before = datetime.now()
    assert policy.pauses(limit) == []
    moments = {f"{at + timedelta(hours=3):%H:%M}" for at in (before, datetime.now())}
    ending = f"; {hint}" if hint else ""
    assert limit.hint in {f"it asks you to wait 3 h 0 min, until {at}{ending}" for at in moments}
    assert not policy.lines


def down() -> NetworkError:
    return NetworkError("registry.example: connection refused", unreachable=True)


def test_what_is_not_up_yet_is_waited_for() -> None:
    policy, now, pauses = Policy(0, wait=9.5), NOW, []
    while not (verdict := policy.attempts.judge(down(), 0, now=now)).failure:
        assert not verdict.counts
        pauses.append(verdict.until - now)
        now = verdict.until
    assert pauses == [1, 2, 2, 2, 2, 0.5], "and once more at the very end"
    assert policy.lines == ["registry.example: connection refused, waiting up to 9.5 s"]


def test_nothing_is_waited_for_unless_that_was_asked_for() -> None:
    failure = down()
    assert Policy().attempts.judge(failure, 0, now=NOW) == Verdict(failure)


@pytest.mark.parametrize(
    ("hint", "more"),
    [
        ("", ""),
        ("is the name right?", "is the name right? "),
        ("look at the network", "look at the network; "),
    ],
)
def test_waiting_is_advised_unless_it_was_tried(hint: str, more: str) -> None:
    failure = NetworkError("registry.example: host not found", hint, unreachable=True)
    usual = failure.hint
    policy = Policy(0, wait=1)
    policy.attempts.judge(failure, 0, now=NOW)
    assert policy.attempts.judge(failure, 0, now=NOW + 1).failure is failure
    assert failure.hint == usual, "it was waited for, in vain"
    for _ in range(2):  # the requests of several images may fail by one error
        Policy().attempts.judge(failure, 0, now=NOW)
        assert failure.hint == f"{more}wait= waits for it"


def test_what_was_up_once_is_waited_for_too() -> None:
    """A network that comes up stumbles: `--wait` counts from the start of the run."""
    policy = Policy(1, wait=60)
    assert policy.attempts.judge(reset(), 0, now=NOW).counts
    assert policy.attempts.judge(down(), 1, now=NOW).until == NOW + 1


def test_only_what_cannot_be_reached_is_waited_for() -> None:
    failure = NetworkError("no such host in the certificate")
    assert Policy(wait=60).attempts.judge(failure, 0, now=NOW).failure is failure


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (12.3, "12 s"),
        (119, "119 s"),
        (180, "3 min"),
        (3569, "59 min"),
        (5 * 3600 + 600, "5 h 10 min"),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_no_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: pytest.fail("the caller's clock counts"))
    assert Policy().pauses(reset(), 1) == [1]


@pytest.mark.parametrize(
    ("failure", "alone", "rests"),
    [
        (NetworkError("refused", transient=True, unreachable=True), True, True),
        (NetworkError("refused", transient=True, unreachable=True), False, False),
        (NetworkError("reset", transient=True), True, True),
        (NetworkError("error 500", transient=True, answered=True), True, False),
        (NetworkError("429", transient=True, answered=True, crowded=True), True, True),
        (NetworkError("429", transient=True, answered=True, crowded=True), False, False),
        (ContentError("wrong bytes", transient=True), True, False),
    ],
)
@pytest.mark.parametrize("wait", [0, 60])
def test_a_server_rests_that_answers_nobody(
    failure: NetworkError | ContentError, alone: bool, rests: bool, wait: float
) -> None:
    verdict = Policy(wait=wait).attempts.judge(failure, 0, now=NOW, alone=alone)
    assert not verdict.failure
    assert verdict.rests == rests
