"""How many connections a line is worth."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dockersave.transfer.gauge import FAR, Gauge

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


# Where exactly: binary fractions, which are exact.


def test_what_is_far_begins_beyond_the_limit() -> None:
    assert Gauge(8, 16, 2, FAR).connections == 2
    assert Gauge(8, 16, 2, FAR * 1.01).connections == 8


def test_a_look_is_due_after_a_round_trip_and_a_half() -> None:
    gauge = Gauge(8, 8, 2, latency=0.5, first=2)
    assert not gauge.is_fast
    assert gauge.is_fast is False
    assert gauge.look(0.0, 0, 0) == 2
    assert gauge.look(0.74, 0, 0) == 2
    assert gauge.look(0.75, 0, 0) == 4


def test_a_host_is_busy_with_three_tenths_of_its_processors_or_more() -> None:
    for cores, spent in ((8, 2.4), (4, 1.2), (2, 0.6), (1, 0.6)):
        for more, busy in ((0.0, True), (-0.01, False)):
            gauge = Gauge(8, 8, cores, latency=0.5, first=2)
            gauge.look(0.0, 0.0, 1)
            assert gauge.look(1.0, spent + more, 1) == (2 if busy else 4)
            assert gauge.is_fast is busy


def test_half_as_fast_again_is_capped() -> None:
    for rate, wanted in ((1500, 8), (1499, 4)):
        gauge = Gauge(4, 8, 2, latency=0.5, first=4)
        gauge.look(0.0, 0, 1)
        assert gauge.look(1.0, 0, 1001) == 4
        assert gauge.look(2.0, 0, 1001 + rate) == wanted


def test_rates_are_of_a_second_however_long_a_look_lasts() -> None:
    gauge = Gauge(4, 8, 2, latency=0.5, first=4)
    gauge.look(0.0, 0, 1)
    assert gauge.look(4.0, 0, 4001) == 4
    assert gauge.look(5.0, 0, 5001) == 4, "as fast as before"
    assert gauge.look(5.75, 0, 6201) == 8, "1600 a second"


def test_more_than_the_most_are_never_used() -> None:
    gauge = Gauge(4, 4, 2, latency=0.5, first=4)
    gauge.look(0.0, 0, 1)
    looks = [gauge.look(float(at), 0, 10**at) for at in range(1, 5)]
    assert looks == [4] * 4


def test_only_the_first_bytes_cut_a_look_short() -> None:
    gauge = Gauge(8, 8, 2, latency=0.5, first=2)
    gauge.look(0.0, 0, 0)
    assert gauge.look(0.1, 0, 5) == 4
    assert gauge.look(0.2, 0, 10) == 4
    assert gauge.look(0.84, 0, 10) == 4
    assert gauge.look(0.86, 0, 10) == 8
