"""What becomes of a lease that brings something."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from dockersave.errors import CancelledError
from dockersave.transfer.blobs import Step, Wait
from tests.transfer.invariants import check
from tests.transfer.ledger_driver import BROKEN, G, LedgerDriver, blob, disk
from tests.transfer.outcomes import small_limits


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


# What a source answers.


def test_a_server_that_sends_whole_blobs_is_known_by_it() -> None:
    first, second = blob(4), blob(4, name="b")
    driver = LedgerDriver(first, second, most=3)
    lease, other = driver.lease(), driver.lease()
    assert other.blob is second
    driver.ledger.opened(other, (0, G), 0, True, 0.0)
    more = driver.lease()
    assert (more.blob, more.start) == (second, other.stop)
    assert driver.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert lease.whole
    assert driver.told == [("ranges", "server sends whole blobs only")]
    assert driver.ledger.opened(more, (more.start, more.stop), 0, False, 0.0)
    assert not driver.ledger.opened(other, (0, G), 0, False, 0.0), "one stream of a blob is enough"
    assert other not in second.leases
    assert len(driver.told) == 1
    check(driver.ledger, 0.0)
    assert driver.until() == math.inf, "no second one either"


def test_all_of_a_blob_that_was_asked_for_says_nothing_of_ranges() -> None:
    driver = LedgerDriver(blob(1), blob(4, name="b"), most=1)
    lease = driver.lease()
    assert driver.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert not lease.whole
    assert not driver.told


def test_a_whole_stream_brings_what_is_missing_wherever_it_is() -> None:
    only = blob(5, have=[(G, 2 * G), (3 * G, 4 * G)])
    driver = LedgerDriver(only, most=1)
    lease = driver.lease()
    assert driver.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert driver.ledger.step(lease, 0) == Step(0, G)
    driver.write(lease)
    assert driver.ledger.step(lease, G) == Step(G, G)
    driver.write(lease)
    assert driver.ledger.step(lease, 3 * G) == Step(G, G)
    driver.write(lease)
    assert driver.ledger.step(lease, 5 * G) == Step(0, 0)
    assert driver.hash(only).is_last
    assert only.done


def test_what_a_whole_stream_has_passed_stays_missing() -> None:
    only = blob(4)
    driver = LedgerDriver(only, most=1)
    lease = driver.lease()
    driver.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert driver.ledger.step(lease, 2 * G + 1) == Step(0, 2 * G - 1)
    assert only.missing == [(0, 2 * G + 1)]
    driver.write(lease)
    assert driver.ledger.step(lease, 4 * G) == Step(0, 0)
    driver.ledger.ended(lease)
    assert driver.lease().start == 0


def test_other_bytes_than_asked_are_not_read_and_ranges_not_asked_for_again() -> None:
    only = blob(4)
    driver = LedgerDriver(only, most=1)
    lease = driver.lease()
    assert not driver.ledger.opened(lease, (0, G), 1, True, 0.0)
    assert only.whole
    assert (only.attempts, only.round, only.has_answered) == (1, 1, False)
    assert driver.told == [("failed", "a at 0: sent other bytes than requested")]
    assert isinstance(driver.ledger.next(0.0), Wait), "its connection is still open"
    driver.ledger.ended(lease)
    again = driver.lease()
    assert again.whole
    assert again.round == 1
    assert driver.ledger.opened(again, (0, 4 * G), 0, False, 0.0)
    assert not driver.told[1:]


def test_bytes_before_those_that_were_asked_for_are_skipped() -> None:
    driver = LedgerDriver(blob(2, have=[(0, G)]), most=1)
    lease = driver.lease()
    assert lease.start == G
    assert driver.ledger.opened(lease, (G, 2 * G), G - 2, True, 0.0)
    assert driver.ledger.step(lease, G - 2) == Step(2, G)


# What comes.


def test_bytes_that_came_are_accounted_for() -> None:
    only = blob(2)
    driver = LedgerDriver(only, most=1, piece_most=2 * G)
    lease = driver.open(2.0)
    only.attempts = 2
    driver.write(lease, G, now=4.0)
    assert (lease.position, lease.gained, lease.first) == (G, G, 4.0)
    assert driver.ledger.latency == 0.5, "a quarter of the way from 0 to 2 seconds"
    assert (only.present, only.reused, only.attempts) == (G, 0, 0)
    assert not only.doubtful
    driver.write(lease, G, now=9.0)
    assert (lease.first, lease.gained, driver.ledger.latency) == (4.0, 2 * G, 0.5)
    assert driver.ledger.received == 2 * G
    driver.ledger.ended(lease)
    only.done = False
    assert driver.ledger.unassigned == 0


def test_a_trickle_is_no_progress() -> None:
    only = blob(2)
    driver = LedgerDriver(only, most=1, piece_most=2 * G, retries=5)
    lease = driver.open()
    only.attempts = 2
    driver.write(lease, G - 1)
    assert only.attempts == 2
    driver.ledger.failed(lease, BROKEN, 0.0)
    assert (only.attempts, only.has_answered) == (3, False)
    lease = driver.open()
    assert (lease.start, lease.stop) == (G - 1, 2 * G)
    driver.write(lease, G)
    driver.ledger.failed(lease, BROKEN, 0.0)
    assert (only.attempts, only.has_answered) == (0, True)
    lease = driver.open()
    assert lease.stop - lease.start == 1, "all that was wanted is progress, however little"
    only.attempts = 2
    driver.write(lease)
    assert only.attempts == 0


def test_bytes_from_the_disk_are_reused_and_may_be_wrong() -> None:
    only = blob(2, [disk(2)])
    driver = LedgerDriver(only)
    lease = driver.open()
    driver.write(lease, now=1.0)
    assert (only.reused, only.doubtful) == (2 * G, True)
    assert driver.ledger.received == driver.ledger.latency == 0


def test_who_has_lost_a_lease_is_told_so_and_changes_nothing() -> None:
    only = blob(2)
    driver = LedgerDriver(only, most=1)
    lease = driver.open()
    driver.ledger.ended(lease)
    before = vars(only).copy()
    assert driver.ledger.step(lease, 0) == Step(0, 0)
    assert driver.ledger.keep(lease, G) == 0
    assert not driver.ledger.opened(lease, (0, G), 0, True, 0.0)
    driver.ledger.wrote(lease, G, 0.0)
    driver.ledger.ended(lease)
    driver.ledger.failed(lease, ValueError(), 0.0)
    assert vars(only) == before
    assert not driver.ledger.failure
    assert driver.ledger.received == 0


def test_nothing_is_read_any_more_once_the_run_has_failed() -> None:
    driver = LedgerDriver(blob(2), most=1)
    lease = driver.open()
    driver.ledger.stop()
    assert isinstance(driver.ledger.failure, CancelledError)
    assert str(driver.ledger.failure) == "stopped"
    assert driver.ledger.step(lease, 0) == Step(0, 0)
    driver.ledger.failed(lease, ValueError("later"), 0.0)
    assert str(driver.ledger.failure) == "stopped", "the first is the one that counts"
    assert not driver.told
    assert driver.ledger.next(0.0) is None
