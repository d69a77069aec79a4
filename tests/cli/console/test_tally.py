"""Sums, speed and time left, and how people read them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dockersave.cli.console.plain import Plain
from dockersave.cli.console.tally import Tally, Totals
from dockersave.units import in_bytes, in_time, percent
from tests.cli.console.screen import MB, Clock, Layer


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


def _shown(
    clock: Clock, layer: Layer, tally: Tally, rates: Sequence[float], pause: float = 0.1
) -> list[Totals]:
    """What is shown ten times a second while bytes flow at these rates, one for each second."""
    shown = []
    for rate in rates:
        for _ in range(round(1 / pause)):
            clock.now += pause
            layer.present = min(layer.size, layer.present + round(rate * pause))
            shown.append(tally.totals())
    return shown


def test_the_rate_follows_connections_that_are_added(clock: Clock) -> None:
    """One connection, eight a second later: what the start was like is soon forgotten."""
    layer = Layer("a", 1000 * MB)
    tally = Tally([layer], clock)
    for connections in range(1, 9):
        clock.now += 0.125
        layer.present += round(connections * 0.125 * MB)
        tally.totals()
    shown = _shown(clock, layer, tally, [8 * MB] * 6)
    rates = [round(totals.rate / MB, 6) for totals in shown]
    assert rates == sorted(rates), "it rises to what flows, and not beyond"
    assert rates[9] > 6.4, "80 % after a second"
    assert rates[19] > 7.2, "90 % after two"
    assert rates[59] == pytest.approx(8)
    assert shown[29].seconds_left == pytest.approx((1000 - 4.5 - 24) / 8, rel=0.05)


def test_connecting_is_no_slow_line(clock: Clock) -> None:
    layer = Layer("a", 1000 * MB)
    tally = Tally([layer], clock)
    _shown(clock, layer, tally, [0, 0, 0])
    assert _shown(clock, layer, tally, [8 * MB])[-1].rate == pytest.approx(8 * MB)


def test_nobody_can_tell_at_once_how_long_it_takes(clock: Clock) -> None:
    layer = Layer("a", 1000 * MB)
    tally = Tally([layer], clock)
    shown = _shown(clock, layer, tally, [8 * MB] * 2)
    assert [totals.seconds_left for totals in shown[:9]] == [None] * 9
    assert shown[10].seconds_left == pytest.approx(124, rel=0.01)


def test_a_stall_is_seen(clock: Clock) -> None:
    layer = Layer("a", 1000 * MB)
    tally = Tally([layer], clock)
    _shown(clock, layer, tally, [8 * MB] * 10)
    shown = _shown(clock, layer, tally, [0] * 6)
    rates = [totals.rate / MB for totals in shown]
    assert rates == sorted(rates, reverse=True)
    assert rates[19] < 2.4, "after two seconds"
    assert shown[59].rate == 0
    assert shown[59].seconds_left is None
    assert _shown(clock, layer, tally, [8 * MB] * 5)[-1].rate == pytest.approx(8 * MB)


def test_the_end_is_when_it_was_said_to_be(clock: Clock) -> None:
    """A line whose last connections are slower: the time left follows at once."""
    layer = Layer("a", 100 * MB)
    tally = Tally([layer], clock)
    shown = _shown(clock, layer, tally, [10 * MB] * 9 + [2 * MB] * 5)
    left = [totals.seconds_left for totals in shown]
    assert left[80] == pytest.approx(1.9, rel=0.05)
    ends = [second / 10 + (left[second] or 0) for second in range(110, 139)]
    assert max(ends) < 15
    assert min(ends) > 12.5
    assert left[139] == 0


def test_gusts_do_not_make_it_jump(clock: Clock) -> None:
    """All that comes in half a second comes at once, as from a proxy that checks it first."""
    layer = Layer("a", 1000 * MB)
    tally = Tally([layer], clock)
    shown = []
    for step in range(200):
        clock.now += 0.1
        layer.present += 5 * MB if step % 5 == 4 else 0
        shown.append(tally.totals().rate / MB)
    assert all(8.5 < rate < 11.5 for rate in shown[50:])


def test_what_is_fetched_again_flows_too(clock: Clock) -> None:
    layer = Layer("a", 1000 * MB)
    tally = Tally([layer], clock)
    _shown(clock, layer, tally, [8 * MB] * 10)
    layer.present = 0
    shown = _shown(clock, layer, tally, [8 * MB] * 2)
    assert all(7 * MB < totals.rate < 8.1 * MB for totals in shown)
    assert shown[-1].seconds_left == pytest.approx((1000 - 16) / 8, rel=0.1)


def test_who_shows_a_line_a_minute_shows_the_rate_of_now(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = Layer("a", 2000 * MB)
    plain = Plain(clock)
    plain.start([layer])
    for step in range(625):
        clock.now += 0.1
        layer.present += MB if step < 560 else MB // 10
        plain.tick()
    assert capsys.readouterr().err.splitlines()[-1].endswith(", 1 MB/s, 23:54 left")


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
