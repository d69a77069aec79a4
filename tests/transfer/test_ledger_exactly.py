"""Where exactly the ledger decides otherwise: what a mutant would get wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dockersave.errors import ContentError, NetworkError
from dockersave.transfer.blobs import Hashing, Step
from tests.transfer.invariants import check
from tests.transfer.ledger_driver import BROKEN, CROWDED, G, LedgerDriver, blob, disk, wrong
from tests.transfer.outcomes import small_limits


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


def test_a_run_begins_with_all_connections_and_no_failure() -> None:
    driver = LedgerDriver(blob(32), most=4, piece_most=100 * G)
    assert driver.ledger.failure is None
    assert driver.ledger.spread is True
    driver.ledger.grant(2)
    assert driver.open().stop == 8 * G, "pieces are for as many as there may be"


def test_so_much_is_hashed_at_once_that_others_get_their_turn() -> None:
    only = blob(20, have=[(0, 20 * G)])
    assert LedgerDriver(only).ledger.next(0.0) == Hashing(only, 0, 8 * G)


def test_files_are_read_while_all_connections_are_in_use() -> None:
    driver = LedgerDriver(blob(8), blob(4, [disk()], name="b"), most=1)
    remote = driver.open()
    assert remote.blob.missing
    local = driver.lease()
    assert local.source.is_local
    assert not remote.has_company
    assert not local.has_company


def test_connections_that_are_in_use_at_the_same_time_are_company() -> None:
    driver = LedgerDriver(blob(8), most=2)
    first, second = driver.open(), driver.open()
    assert first.has_company
    assert second.has_company
    files = LedgerDriver(blob(4, [disk()]), blob(4, [disk()], name="b"))
    assert not any(files.lease().has_company for _ in range(2))


def test_what_comes_in_order_says_nothing_of_ranges_when_it_is_taken_up() -> None:
    driver = LedgerDriver(blob(2, sequential=True), most=1)
    lease = driver.open()
    driver.write(lease, G)
    driver.ledger.failed(lease, BROKEN, 0.0)
    driver.told.clear()
    again = driver.lease()
    assert (again.start, again.stop) == (G, 2 * G)
    assert driver.ledger.opened(again, (G, 2 * G), 0, False, 0.0)
    assert not again.whole
    assert not driver.told
    assert driver.ledger.step(again, 0) == Step(G, G)
    assert driver.ledger.step(again, 3) == Step(G - 3, G)


def test_the_latency_follows_what_is_seen() -> None:
    driver = LedgerDriver(blob(2), most=1, piece_most=G)
    lease = driver.open(0.0)
    driver.write(lease, now=2.0)
    driver.ledger.ended(lease)
    lease = driver.open(3.0)
    driver.write(lease, now=7.5)
    assert driver.ledger.latency == 1.5


def test_what_is_read_from_the_disk_adds_up() -> None:
    only = blob(2, [disk(2)])
    driver = LedgerDriver(only)
    lease = driver.open()
    driver.write(lease, G)
    driver.write(lease, G)
    assert only.reused == 2 * G


def test_connections_come_back_one_after_another() -> None:
    driver = LedgerDriver(blob(64), most=3, piece_most=G)
    first, second = driver.open(), driver.open()
    driver.ledger.failed(second, CROWDED, 0.0)
    assert driver.ledger.capacity == 1
    driver.write(first)
    driver.ledger.ended(first)
    seen = []
    for _ in range(7):
        driver.fetch()
        seen.append(driver.ledger.capacity)
    assert seen == [2, 2, 2, 2, 3, 3, 3]


def test_a_connection_that_is_refused_beside_others_is_given_up() -> None:
    driver = LedgerDriver(blob(8), most=2, retries=0)
    driver.open()
    driver.ledger.failed(driver.open(), NetworkError("refused", transient=True), 0.0)
    assert driver.ledger.failure is None
    assert driver.ledger.capacity == 1


def test_each_failure_begins_a_round() -> None:
    only = blob(4)
    driver = LedgerDriver(only, most=1, retries=5)
    for count in range(1, 4):
        driver.ledger.failed(driver.open(), BROKEN, 0.0)
        assert only.round == only.attempts == count


def test_what_is_done_is_no_task() -> None:
    only = blob(1)
    driver = LedgerDriver(only, blob(1, name="b"), most=1)
    driver.fetch()
    assert driver.hash(only).is_last
    assert only.is_hashing is False
    assert driver.ledger.tasks == 2
    driver.fetch()
    wrong(driver, driver.ledger.blobs[1])
    assert driver.ledger.tasks == 2, "and what is begun again is not to be hashed yet"


def test_a_lease_ends_where_it_does_although_more_is_missing() -> None:
    driver = LedgerDriver(blob(4), most=2)
    lease = driver.open()
    assert driver.ledger.step(lease, 0) == Step(0, lease.stop)
    assert lease.stop < 4 * G


def test_the_end_of_a_lease_waits_for_no_room() -> None:
    for size in (1, 2):
        driver = LedgerDriver(blob(size), most=1, piece_most=G)
        lease = driver.open()
        driver.write(lease)
        driver.ledger.horizon = lease.stop
        assert driver.ledger.step(lease, lease.stop) == Step(0, 0)


def test_what_is_to_be_skipped_is_said_where_there_is_no_room_either() -> None:
    only = blob(3, have=[(0, G)])
    driver = LedgerDriver(only, most=1)
    lease = driver.lease()
    driver.ledger.opened(lease, (G, 2 * G), 0, False, 0.0)
    driver.ledger.horizon = G
    assert driver.ledger.step(lease, 0) == Step(G, 0, is_full=True)
    assert driver.ledger.step(lease, 3) == Step(G - 3, 0, is_full=True)


def test_a_range_that_a_stream_has_just_passed_is_passed() -> None:
    only = blob(3, have=[(G, 2 * G)])
    driver = LedgerDriver(only, most=1)
    lease = driver.lease()
    driver.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert driver.ledger.step(lease, G) == Step(G, G)
    assert only.missing == [(0, G)]


def test_after_a_limit_connections_are_granted_as_before() -> None:
    driver = LedgerDriver(blob(8), most=4)
    driver.ledger.limit(2)
    driver.ledger.grant(1)
    assert driver.ledger.capacity == 1
    driver.ledger.grant(4)
    assert driver.ledger.capacity == 2


def test_a_blob_may_begin_again_twice() -> None:
    only = blob(1, have=[(0, G)])
    driver = LedgerDriver(only, blob(2, name="b"), most=1)
    task = driver.ledger.next(0.0)
    assert isinstance(task, Hashing)
    driver.ledger.hashed(task, ContentError("wrong"))
    check(driver.ledger, 0.0)
    assert only.epoch == 1
    driver.fetch()
    wrong(driver, only)
    assert (only.epoch, only.strikes) == (2, 1)
    assert driver.ledger.unassigned == 3 * G


def test_a_blob_of_nothing_that_is_wrong_is_judged_once_more() -> None:
    only = blob(0)
    driver = LedgerDriver(only)
    wrong(driver, only)
    assert not driver.ledger.failure
    assert driver.ledger.next(0.0) == Hashing(only, 0, 0)
    driver.ledger.hashed(Hashing(only, 0, 0), ContentError("wrong"))
    assert str(driver.ledger.failure) == "wrong"
