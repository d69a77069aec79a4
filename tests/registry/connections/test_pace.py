"""The pace of a connection: what counts, and when it is too slow."""

from __future__ import annotations

import pytest

from dockersave.limits import LIMITS
from dockersave.registry.connections.pace import Pace, Stalled


class Clocked:
    """A pace of 8 seconds, and how long each next call may block."""

    def __init__(self) -> None:
        self.set: list[float] = []
        self.pace = Pace(8.0, self.set.append)


def test_a_step_has_one_timeout_however_much_comes() -> None:
    step = Clocked()
    step.pace.step()
    for _ in range(7):
        step.pace.spent(1.0, 10 * LIMITS.read_least)
    with pytest.raises(Stalled) as caught:
        step.pace.spent(1.0, 10 * LIMITS.read_least)
    assert not caught.value.in_body


def test_a_step_may_have_less_than_a_timeout() -> None:
    step = Clocked()
    step.pace.step(0.5)
    assert step.set == [0.5]
    step.pace.spent(0.25, 1)
    assert step.set == [0.5, 0.25]
    with pytest.raises(Stalled):
        step.pace.spent(0.25, 1)
    step.pace.step()
    assert step.set[-1] == 8.0
    step.pace.step(9.0)
    assert step.set[-1] == 8.0


def test_a_body_that_brings_enough_goes_on_for_ever() -> None:
    body = Clocked()
    body.pace.body()
    for _ in range(1000):
        body.pace.spent(7.9, LIMITS.read_least)
    assert body.pace.calm


def test_a_body_that_brings_too_little_is_given_up() -> None:
    body = Clocked()
    body.pace.body()
    for _ in range(7):
        body.pace.spent(1.0, LIMITS.read_least // 8 - 1)
    with pytest.raises(Stalled, match="almost no data for 8 seconds") as caught:
        body.pace.spent(1.0, LIMITS.read_least // 8 - 1)
    assert caught.value.in_body


def test_little_that_comes_at_once_is_not_slow() -> None:
    """Only waiting counts: a caller may take hours between two reads of a byte."""
    body = Clocked()
    body.pace.body()
    for _ in range(LIMITS.read_least - 1):
        body.pace.spent(0.0001, 1)
    assert not body.pace.calm
    body.pace.spent(0.0001, 1)
    assert body.pace.calm


def test_the_end_of_a_connection_is_never_too_late() -> None:
    """The reader knows how much there should have been."""
    body = Clocked()
    body.pace.body()
    body.pace.spent(9.0, 0)


def test_no_call_may_block_longer_than_what_is_left() -> None:
    body = Clocked()
    body.pace.body()
    body.pace.spent(0.5, 1)
    assert not body.set, "a system call for nothing"
    body.pace.spent(1.5, 1)
    body.pace.spent(5.0, 1)
    assert body.set == [6.0, 1.0]
    body.pace.spent(0.5, LIMITS.read_least)
    assert body.set == [6.0, 1.0, 8.0]


def test_a_body_begins_anew_after_its_head() -> None:
    both = Clocked()
    both.pace.step()
    both.pace.spent(7.0, 100)
    both.pace.body()
    both.pace.spent(7.0, 100)
    assert both.set == [1.0, 8.0, 1.0]
