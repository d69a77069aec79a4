"""How large pieces are, and which lease is worth being shared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave.limits import LIMITS, MIB
from dockersave.transfer.blobs import Blob, Lease
from dockersave.transfer.cutting import most_behind, piece_of
from tests.transfer.fake_sources import Line

LEAST, MOST, GRANULE = LIMITS.piece_least, LIMITS.piece_most, LIMITS.granule
SIZE = 1 << 30
NOW = 100.0


@given(st.integers(0, SIZE), st.integers(1, SIZE), st.integers(0, SIZE), st.integers(LEAST, MOST))
def test_every_gap_is_used_up(start: int, size: int, share: int, most: int) -> None:
    first, stop = piece_of((start, start + size), share, most)
    assert first == start < stop <= start + size
    assert stop - start < max(most, LEAST) + LEAST
    left = start + size - stop
    assert left == 0 or left >= LEAST, "what is left is worth a request"


@pytest.mark.parametrize(
    ("share", "most", "amount"),
    [
        (4 * MIB, MOST, 4 * MIB),
        (4 * MIB + 5, MOST, 4 * MIB),
        (1, MOST, LEAST),
        (SIZE, MOST, MOST),
        (SIZE, 2 * MIB, 2 * MIB),
    ],
)
def test_a_piece_is_a_share_but_not_too_large_or_small(share: int, most: int, amount: int) -> None:
    assert piece_of((7, SIZE), share, most) == (7, 7 + amount)


def lease(start: int, stop: int, *, gained: int = 0, rate: int = 0) -> Lease:
    """A lease that has brought something at a rate, in bytes a second."""
    line = Line()
    made = Lease(Blob("sha256:…", SIZE, [line]), line, start, stop, False, 0, 0)
    made.position, made.gained = start + gained, gained
    if rate:
        made.first = NOW - gained / rate
    return made


def test_nothing_to_share() -> None:
    assert most_behind([], 0, NOW) is None
    assert most_behind([lease(0, LEAST, gained=LEAST, rate=MIB)], 0, NOW) is None


def test_half_of_what_would_be_the_last_to_end() -> None:
    quick = lease(0, 40 * MIB, gained=8 * MIB, rate=8 * MIB)  # 4 s left
    slow = lease(40 * MIB, 60 * MIB, gained=10 * MIB, rate=MIB)  # 10 s left
    assert most_behind([quick, slow], 0, NOW) == (slow, 5 * MIB)
    assert most_behind([slow, quick], 0, NOW) == (slow, 5 * MIB)


def test_what_comes_while_the_other_half_is_waited_for_stays_with_the_first() -> None:
    made = lease(0, 20 * MIB, gained=10 * MIB, rate=MIB)
    assert most_behind([made], 2.0, NOW) == (made, 4 * MIB)


def test_what_has_brought_nothing_is_judged_by_the_others() -> None:
    running = lease(0, 9 * MIB, gained=8 * MIB, rate=MIB)
    silent = lease(9 * MIB, 13 * MIB)
    assert most_behind([running, silent], 0, NOW) == (silent, 2 * MIB)
    assert most_behind([silent], 0, NOW) == (silent, 2 * MIB), "and with nobody else, by its size"


@pytest.mark.parametrize(
    ("left", "rate"),
    [
        (2 * LIMITS.split_least - 2, MIB // 2),  # too little
        (MIB, 100 * MIB),  # too soon over
    ],
)
def test_what_is_not_worth_a_connection(left: int, rate: int) -> None:
    assert most_behind([lease(0, 8 * MIB + left, gained=8 * MIB, rate=rate)], 0, NOW) is None


def test_what_ends_before_another_connection_would_bring_something() -> None:
    assert most_behind([lease(0, 10 * MIB, gained=8 * MIB, rate=MIB)], 1.5, NOW) is None


def test_what_is_being_written_is_left_out() -> None:
    made = lease(0, 20 * MIB, gained=10 * MIB, rate=MIB)
    made.claimed = 12 * MIB
    assert most_behind([made], 0, NOW) == (made, 4 * MIB)


@given(st.integers(0, SIZE), st.integers(1, 1 << 27), st.floats(0, 3))
def test_what_is_taken_over_is_never_what_has_come(left: int, rate: int, latency: float) -> None:
    made = lease(0, 8 * MIB + left, gained=8 * MIB, rate=rate)
    found = most_behind([made], latency, NOW)
    if found:
        assert LIMITS.split_least <= found[1] <= left // 2
        assert found[1] % GRANULE == 0


# Where exactly.


def test_a_rest_that_is_worth_a_request_is_left_for_one() -> None:
    assert piece_of((0, 4 * MIB + LEAST), 4 * MIB, MOST) == (0, 4 * MIB)
    assert piece_of((0, 4 * MIB + LEAST - 1), 4 * MIB, MOST) == (0, 4 * MIB + LEAST - 1)


def test_what_has_brought_nothing_is_taken_to_be_as_fast_as_the_others_are_on_average() -> None:
    quick = lease(0, 40 * MIB, gained=39 * MIB, rate=3 * MIB)
    silent = lease(40 * MIB, 50 * MIB)  # 5 s at 2 MiB/s
    for left, last in ((20, "slow"), (6, "slow"), (4, "silent")):
        slow = lease(0, (8 + left) * MIB, gained=8 * MIB, rate=MIB)
        found = most_behind([quick, silent, slow], 0, NOW)
        assert found
        assert found[0] is {"slow": slow, "silent": silent}[last]


def test_less_is_worth_it_where_the_rate_is_known() -> None:
    left = 2 * (LEAST - GRANULE)
    running = lease(0, 8 * MIB + left, gained=8 * MIB, rate=MIB)
    assert most_behind([running], 0, NOW) == (running, LEAST - GRANULE)
    assert most_behind([lease(0, left)], 0, NOW) is None


def test_what_is_not_worth_it_hides_nothing_behind_it() -> None:
    little = lease(0, 8 * MIB + 2, gained=8 * MIB, rate=MIB)
    soon = lease(0, 9 * MIB, gained=8 * MIB, rate=100 * MIB)
    worth = lease(0, 20 * MIB, gained=10 * MIB, rate=MIB)
    assert most_behind([little, worth], 0, NOW) == (worth, 5 * MIB)
    assert most_behind([soon, worth], 0, NOW) == (worth, 5 * MIB)


def test_what_saves_just_enough_time_is_worth_it() -> None:
    rate = 20 * MIB // 4  # a quarter of a MiB in the least time that must be won
    made = lease(0, rate + MIB // 2, gained=rate, rate=rate)
    assert most_behind([made], 0, NOW) == (made, MIB // 4)


def test_of_two_that_end_together_the_first_is_shared() -> None:
    both = [lease(0, 20 * MIB, gained=10 * MIB, rate=MIB) for _ in range(2)]
    found = most_behind(both, 0, NOW)
    assert found
    assert found[0] is both[0]


# Connections that begin slowly.


def test_a_connection_that_begins_slowly_is_given_less_or_nothing() -> None:
    """One that was used a moment ago brings as much a second as it did."""
    running = lease(0, 9 * MIB, gained=8 * MIB, rate=MIB)
    assert most_behind([running], 0.2, NOW, is_warm=True) == (running, 6 * GRANULE)
    assert most_behind([running], 0.2, NOW, is_warm=False) is None
    longer = lease(0, 12 * MIB, gained=8 * MIB, rate=MIB)
    found = most_behind([longer], 0.2, NOW, is_warm=False)
    assert found
    _, share = found
    # TCP and TLS come first, then the request; what it brings, 14.6 kB, doubles each 0.2 s.
    rounds, brought = 3, 0
    while brought < share:
        brought += 14_600 << (rounds - 3)
        rounds += 1
    assert 0.2 * (rounds - 1) <= (4 * MIB - share) / MIB
    assert share >= MIB


def test_what_begins_slowly_is_given_three_quarters_as_often_as_that_is_needed() -> None:
    running = lease(0, 11 * MIB, gained=8 * MIB, rate=MIB)
    assert most_behind([running], 0.2, NOW, is_warm=True) == (running, 22 * GRANULE)
    assert most_behind([running], 0.2, NOW, is_warm=False) == (running, 16 * GRANULE)


def test_what_comes_just_in_time_is_not_made_less() -> None:
    share = 14_600 * 15  # four times twice as much, after three round trips of a second
    rate = share // 6  # so that the first one brings its part in seven seconds
    running = lease(0, 8 * rate + 2 * share + rate, gained=8 * rate, rate=rate)
    found = most_behind([running], 1.0, NOW, is_warm=False)
    assert found == (running, share - share % GRANULE)


def test_the_least_that_can_be_given_comes_in_time_or_is_not_given() -> None:
    least = LIMITS.split_least
    running = lease(0, 8 * least + 2 * least + least // 2, gained=8 * least, rate=least)
    assert most_behind([running], 0.5, NOW, is_warm=True) == (running, least)
    assert most_behind([running], 0.5, NOW, is_warm=False) is None


def test_a_near_connection_begins_as_fast_as_it_goes_on() -> None:
    running = lease(0, 9 * MIB, gained=8 * MIB, rate=MIB)
    assert most_behind([running], 0, NOW, is_warm=False) == (running, 8 * GRANULE)


def test_the_rate_is_that_of_late() -> None:
    made = lease(0, 9 * MIB)
    made.first = NOW
    assert made.rate(NOW) == 0
    made.gain(1000, NOW + 0.5)
    assert made.rate(NOW + 0.5) == 2000
    made.gain(MIB, NOW + 0.75)
    made.gain(MIB, NOW + 1.0)
    made.gain(MIB, NOW + 1.25)
    assert made.rate(NOW + 1.25) == 4 * MIB, "the slow beginning is forgotten"
    assert (made.position, made.gained, made.last) == (1000 + 3 * MIB, 1000 + 3 * MIB, NOW + 1.25)
