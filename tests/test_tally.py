"""Sums, speed and time left, and how people read them."""

from __future__ import annotations

import pytest

from dockersave.progress.tally import Tally
from dockersave.progress.units import in_bytes, in_time, percent
from tests.test_progress import MB, Clock, Layer


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_speed_is_the_networks(clock: Clock) -> None:
    layer = Layer("a", 1000 * MB, 500 * MB, 500 * MB)
    read = Layer("b", 100 * MB, 100 * MB, 100 * MB)
    read_hashed = 0
    type(read).hashed = property(lambda self: read_hashed)  # type: ignore[attr-defined]
    try:
        tally = Tally([layer, read], clock)
        assert tally.totals().present == 500 * MB, "what is all there counts as far as it is hashed"
        read_hashed = 100 * MB
        layer.present += 10 * MB
        clock.now += 1
        totals = tally.totals()
        assert totals.present == 610 * MB
        assert totals.rate == 10 * MB
        assert totals.seconds_left == 49
    finally:
        del type(read).hashed  # type: ignore[attr-defined]


def test_speed_is_that_of_the_last_seconds(clock: Clock) -> None:
    layer = Layer("a", 1000 * MB)
    tally = Tally([layer], clock)
    for _ in range(20):
        clock.now += 1
        layer.present += 10 * MB
        tally.totals()
    assert tally.totals().rate == pytest.approx(10 * MB)
    for _ in range(20):
        clock.now += 1
        totals = tally.totals()
    assert totals.rate == 0
    assert totals.seconds_left is None


def test_amounts_for_people() -> None:
    assert [in_bytes(amount) for amount in (0, 999, 1000, 1234567, 999_600, 5e9, 2e12, 7e15)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1.23 MB",
        "1 MB",
        "5 GB",
        "2 TB",
        "7e+03 TB",
    ]
    assert [in_time(time) for time in (0, 4.4, 59.6, 3599, 3600, 86400, 200_000)] == [
        "0:00",
        "0:04",
        "1:00",
        "59:59",
        "1:00:00",
        "24:00:00",
        "2 days",
    ]
    assert percent(999, 1000) == 99
    assert percent(0, 0) == 100
