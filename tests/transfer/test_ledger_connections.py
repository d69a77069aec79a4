"""What the ledger knows of its connections: which wait for work, which others have overtaken."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from dockersave.retry_policy import RetryPolicy
from dockersave.transfer.blobs import Lease
from dockersave.transfer.cutting import WARM, _slow_start
from tests.transfer.ledger_driver import BROKEN, G, LedgerDriver, blob, disk
from tests.transfer.outcomes import small_limits


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    with small_limits():
        yield


def test_a_connection_whose_lease_was_read_to_its_end_waits_for_the_next() -> None:
    driver = LedgerDriver(blob(4), most=1)
    lease = driver.open()
    driver.write(lease, now=3.0)
    driver.ledger.ended(lease)
    assert driver.ledger._idle == [3.0]


def test_a_file_is_no_connection() -> None:
    driver = LedgerDriver(blob(4, [disk()]), most=1)
    driver.fetch(3.0)
    assert driver.ledger._idle == []


def test_a_file_takes_none_that_waits() -> None:
    driver = LedgerDriver(blob(4), blob(4, [disk()], name="b"), most=1)
    driver.fetch(3.0)
    lease = driver.lease(3.0)
    assert lease.source.is_local
    assert driver.ledger._idle == [3.0]


@pytest.mark.parametrize("granules", [0, 1])
def test_a_connection_that_is_left_early_is_lost(granules: int) -> None:
    driver = LedgerDriver(blob(4), most=1)
    lease = driver.open()
    if granules:
        driver.write(lease, granules * G)
    driver.ledger.ended(lease)
    assert driver.ledger._idle == []


def one_of_two() -> tuple[LedgerDriver, Lease]:
    """One of two connections has all there is."""
    driver = LedgerDriver(blob(4), most=2)
    driver.ledger.spread = False
    driver.ledger.grant(1)
    lease = driver.open()
    driver.ledger.grant(2)
    assert (lease.start, lease.stop) == (0, 4 * G)
    return driver, lease


def test_so_is_one_whose_lease_was_split() -> None:
    driver, lease = one_of_two()
    half = driver.lease(1.0)
    assert lease.stop == half.start
    driver.write(lease, now=1.0)
    driver.ledger.ended(lease)
    assert driver.ledger._idle == []


@pytest.mark.parametrize(
    ("idle", "now", "is_warm"),
    [([], 10.0, False), ([9.9], 10.0, True), ([0.0], WARM, False)],
)
def test_a_connection_is_warm_for_a_moment(idle: list[float], now: float, is_warm: bool) -> None:
    driver, _ = one_of_two()
    driver.ledger._idle[:] = idle
    with patch("dockersave.transfer.ledger.most_behind", return_value=None) as found:
        driver.ledger.next(now)
    assert found.call_args.kwargs["is_warm"] is is_warm


def test_who_is_overtaken_is_judged_so() -> None:
    driver = LedgerDriver(blob(8), most=2)
    slow, quick = driver.open(), driver.open()
    driver.write(quick, G)
    assert (slow.is_overtaken, quick.is_overtaken) == (True, False)
    with patch.object(RetryPolicy, "judge", autospec=True, side_effect=RetryPolicy.judge) as judge:
        driver.ledger.failed(slow, BROKEN, 0.0)
    assert judge.call_args.kwargs["overtaken"] is True
    assert driver.told[-1] == ("failed", f"a at 0: {BROKEN.marked}")


def test_a_rate_is_told_over_a_while_of_its_own() -> None:
    source = blob(8)
    lease = Lease(source, source.sources[0], 0, 8 * G, False, 0, 0.0)
    lease.first = 0.15
    lease.gain(G, 0.2)
    assert lease.marks == ((0.15, 0), (0.15, 0))
    lease = Lease(source, source.sources[0], 0, 8 * G, False, 0, 0.0)
    lease.first = 0.0
    lease.gain(G, 0.2)
    assert lease.marks == ((0.0, 0), (0.2, G))


def test_a_new_connection_shakes_hands_twice_asks_and_doubles() -> None:
    assert _slow_start(0, 1.0) == 3.0
    assert _slow_start(14_600, 1.0) == 4.0
