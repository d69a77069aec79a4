"""How many connections a line is worth."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dockersave.transfer.gauge import Gauge

RATE = 1_000_000


class Watched:
    """A gauge that is looked at ten times a second.

    Parameters:
        usual, most, cores, latency: as in `Gauge`.
    """

    def __init__(self, usual: int, most: int, cores: int = 2, latency: float | None = None) -> None:
        self.gauge = Gauge(usual, most, cores, latency)
        self.now = self.cpu = 0.0
        self.received = 0
        self.gauge.look(0, 0, 0)

    def looks(self, rates: Iterable[float], busy: float = 0) -> list[int]:
        """Connections that are wanted after each tenth of a second.

        Parameters:
            rates: bytes a second meanwhile.
            busy: processors that are used.
        """
        wanted = []
        for rate in rates:
            self.now += 0.1
            self.cpu += 0.1 * busy
            self.received += int(0.1 * rate)
            wanted.append(self.gauge.look(self.now, self.cpu, self.received))
        return wanted


@pytest.mark.parametrize(
    ("usual", "latency", "first"), [(8, None, 2), (8, 0.0001, 2), (8, 0.02, 8), (1, 0.02, 1)]
)
def test_it_begins_with_few(usual: int, latency: float | None, first: int) -> None:
    assert Gauge(usual, 16, 2, latency).connections == first


def test_they_grow_while_the_line_keeps_us_waiting() -> None:
    assert Watched(8, 8).looks([RATE] * 4) == [4, 8, 8, 8]
    assert Watched(3, 8).looks([RATE] * 3) == [3, 3, 3]


def test_they_grow_while_nothing_has_come_yet() -> None:
    assert Watched(8, 8).looks([0] * 3) == [4, 8, 8]


@pytest.mark.parametrize(("cores", "busy"), [(1, 0.7), (2, 0.7), (4, 1.3)])
def test_they_do_not_grow_where_the_processor_is_busy(cores: int, busy: float) -> None:
    watched = Watched(8, 16, cores)
    assert watched.looks([RATE] * 5, busy) == [2] * 5
    assert watched.gauge.is_fast
    assert watched.looks([RATE] * 2, 0.1) == [4, 8]
    assert not watched.gauge.is_fast


def test_more_than_usual_are_used_only_where_each_is_capped() -> None:
    """Where twice as many bring twice as much, each is capped."""
    assert Watched(4, 32).looks([RATE, RATE, 2 * RATE, 4 * RATE]) == [4, 4, 8, 16]


def test_more_than_usual_are_not_used_where_they_bring_nothing() -> None:
    assert Watched(4, 32).looks([RATE] * 5) == [4] * 5
    rates = [RATE, RATE, 2 * RATE, 2.1 * RATE, 2.2 * RATE]
    assert Watched(4, 32).looks(rates) == [4, 4, 8, 8, 8]


def test_what_was_waited_for_first_says_nothing() -> None:
    """In the look in which the first byte comes, most of the time nothing had come yet."""
    assert Watched(4, 32).looks([0, 0.1 * RATE, RATE, RATE, RATE]) == [4, 4, 4, 4, 4]


def test_a_look_too_soon_is_none() -> None:
    gauge = Gauge(8, 8, 2)
    assert [gauge.look(at / 1000, 0, 0) for at in range(39)] == [2] * 39
    assert gauge.look(0.041, 0, 0) == 4


def test_it_waits_for_a_round_trip_before_it_judges() -> None:
    gauge = Gauge(8, 16, 2, latency=0.4)
    assert gauge.look(0.0, 0, 0) == 8
    assert gauge.look(0.5, 0, RATE) == 8
    looks = [gauge.look(0.5 + at / 10, 0, 3 * RATE + at) for at in range(6)]
    assert looks == [8] * 6
    assert [gauge.look(1.11, 0, 3 * RATE), gauge.look(1.72, 0, 9 * RATE)] == [8, 16]
