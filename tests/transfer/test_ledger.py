"""What the ledger has a worker do next; `test_exhaustive` tries all that can happen."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from dockersave.transfer.blobs import Hashing, Lease, Step
from tests.transfer.invariants import check
from tests.transfer.ledger_driver import G, LedgerDriver, blob, disk
from tests.transfer.outcomes import NamedSource, small_limits


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


# What a worker does next.


def test_a_run_without_blobs_is_done() -> None:
    driver = LedgerDriver()
    assert driver.ledger.is_done
    assert driver.ledger.next(0.0) is None
    assert driver.ledger.tasks == 0


def test_one_connection_asks_until_the_source_has_answered() -> None:
    driver = LedgerDriver(blob())
    first = driver.lease()
    assert (first.start, first.stop, first.whole, first.since) == (0, G, False, 0.0)
    assert driver.until() == math.inf
    assert driver.ledger.opened(first, (0, G), 0, True, 0.0)
    assert driver.lease().start == G


def test_pieces_are_each_connections_share_of_what_nobody_fetches_yet() -> None:
    driver = LedgerDriver(blob(16), most=4, piece_most=100 * G)
    assert [driver.open().stop for _ in range(2)] == [4 * G, 7 * G]
    few = LedgerDriver(blob(16), most=4, piece_most=100 * G)
    few.ledger.grant(2)
    few.ledger.spread = False
    assert few.open().stop == 8 * G
    assert LedgerDriver(blob(16), most=1, piece_most=2 * G).open().stop == 2 * G


def test_what_is_there_is_hashed_before_more_is_fetched() -> None:
    first, second = blob(2, have=[(0, G)]), blob(2, name="b")
    driver = LedgerDriver(first, second)
    task = driver.ledger.next(0.0)
    assert task == Hashing(first, 0, G)
    assert not task.is_last
    assert isinstance(driver.ledger.next(0.0), Lease), "nobody hashes it a second time"
    assert driver.ledger.hashing(first, 8) is None


def test_a_blob_of_nothing_is_judged_all_the_same() -> None:
    empty = blob(0)
    driver = LedgerDriver(empty)
    task = driver.ledger.next(0.0)
    assert task == Hashing(empty, 0, 0)
    assert task.is_last
    driver.ledger.hashed(task)
    assert empty.done
    assert driver.ledger.is_done


def test_hashing_goes_as_far_as_there_is_something_and_no_further() -> None:
    only = blob(4, have=[(0, 3 * G)])
    driver = LedgerDriver(only)
    task = driver.ledger.hashing(only, 2 * G)
    assert task == Hashing(only, 0, 2 * G)
    driver.ledger.hashed(task)
    assert driver.hash(only) == Hashing(only, 2 * G, 3 * G)
    assert driver.ledger.hashing(only, 8) is None
    assert only.hashed == 3 * G
    assert not only.done


def test_connections_are_no_more_than_granted() -> None:
    driver = LedgerDriver(
        blob(8, [disk(8), NamedSource("server", 8 * G)]), blob(8, name="b"), most=3
    )
    driver.ledger.grant(1)
    local = driver.lease()
    assert local.source.is_local
    assert local.stop == 8 * G, "a file is read in one go"
    assert driver.ledger.connections == 0
    remote = driver.open()
    assert remote.blob.digest == "b"
    assert driver.ledger.connections == 1
    assert driver.until() == math.inf
    driver.ledger.grant(9)
    assert (driver.ledger.capacity, driver.ledger.most) == (3, 3)
    driver.lease()
    driver.ledger.limit(2)
    assert (driver.ledger.capacity, driver.ledger.most) == (2, 2)
    driver.ledger.grant(3)
    assert driver.ledger.capacity == 2
    driver.ledger.limit(5)
    assert driver.ledger.most == 2


def test_what_a_blob_waits_for_is_no_reason_to_leave_out_others() -> None:
    driver = LedgerDriver(blob(), blob(name="b"))
    late, later = driver.ledger.blobs
    late.not_before, later.not_before = 5.0, 3.0
    assert driver.until(1.0) == 3.0
    later.not_before = 1.0
    assert driver.lease(1.0).blob is later
    late.not_before = 1.0
    assert driver.lease(1.0).blob is late


def test_a_blob_without_sources_fails_the_run_unless_it_is_there() -> None:
    there = blob(1, [], [(0, G)])
    driver = LedgerDriver(there, blob(1, [], name="b"))
    task = driver.ledger.next(0.0)
    assert isinstance(task, Hashing)
    driver.ledger.hashed(task)
    assert there.done
    driver.until()
    assert str(driver.ledger.failure) == "layer b is incomplete"
    assert driver.ledger.next(0.0) is None


def test_the_number_of_tasks_is_about_what_can_be_done_at_once() -> None:
    driver = LedgerDriver(blob(4), blob(1, have=[(0, G)], name="b"))
    assert driver.ledger.tasks == 4 + 1 + 1
    assert driver.ledger.hashing(driver.ledger.blobs[1], G)
    driver.lease()
    assert driver.ledger.tasks == 3 + 1 + 1 + 1


# Room.


def test_only_what_there_is_room_for_is_fetched() -> None:
    first, second = blob(2), blob(2, name="b", base=2 * G)
    driver = LedgerDriver(first, second, most=1)
    driver.ledger.horizon = G
    lease = driver.open()
    assert (lease.start, lease.stop) == (0, G)
    driver.write(lease)
    driver.ledger.ended(lease)
    driver.hash(first)
    assert driver.until() == math.inf
    driver.ledger.horizon = 3 * G
    assert driver.fetch().blob is first
    lease = driver.lease()
    assert (lease.blob, lease.stop) == (second, G)


def test_of_blobs_in_order_each_is_one_step() -> None:
    driver = LedgerDriver(
        blob(2, sequential=True), blob(2, name="b", base=1, sequential=True), most=2
    )
    driver.ledger.horizon = 1
    assert driver.open().stop == 2 * G
    assert driver.until() == math.inf
    driver.ledger.horizon = 2
    lease = driver.lease()
    assert lease.blob.digest == "b"
    assert driver.ledger.step(lease, 0) == Step(0, 2 * G)
    assert driver.until() == math.inf, "never two at once of one blob"


def test_a_stream_waits_for_room_and_leaves_where_it_would_wait_for_itself() -> None:
    first, second = blob(2), blob(2, name="b", base=2 * G)
    driver = LedgerDriver(first, second, most=2, piece_most=2 * G)
    mine, other = driver.open(), driver.open()
    assert mine.stop == 2 * G
    assert (mine.blob, other.blob) == (first, second)
    driver.ledger.horizon = 2 * G + 1
    assert driver.ledger.step(mine, 0) == Step(0, mine.stop)
    assert driver.ledger.step(other, 0) == Step(0, 1)
    driver.ledger.horizon = 2 * G
    assert driver.ledger.step(other, 0) == Step(0, 0, is_full=True)
    driver.ledger.ended(mine)
    assert driver.ledger.step(other, 0) == Step(0, 0, is_full=True), "there is another connection"
    driver.ledger.limit(1)
    assert driver.ledger.step(other, 0) == Step(0, 0), "it is needed for what makes room"


def test_a_stream_that_has_passed_what_makes_room_is_left() -> None:
    only = blob(4)
    driver = LedgerDriver(only, most=2)
    lease = driver.lease()
    driver.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert driver.ledger.step(lease, G) == Step(0, 3 * G)
    assert only.missing == [(0, G)]
    driver.ledger.horizon = G
    assert driver.ledger.step(lease, G) == Step(0, 0)


def test_whole_blobs_are_begun_where_all_of_them_has_room_or_nothing_comes_before() -> None:
    first, second = blob(2), blob(2, name="b", base=2 * G)
    driver = LedgerDriver(first, second, most=2)
    first.whole = second.whole = True
    driver.ledger.horizon = G
    lease = driver.lease()
    assert (lease.blob, lease.stop, lease.whole) == (first, 2 * G, True)
    assert driver.until() == math.inf
    driver.ledger.horizon = 4 * G - 1
    assert driver.until() == math.inf
    driver.ledger.horizon = 4 * G
    assert driver.lease().blob is second


# Splitting.


def test_half_of_what_would_be_the_last_to_end_is_taken_over() -> None:
    only = blob(8)
    driver = LedgerDriver(only, most=2, piece_most=8 * G)
    driver.ledger.grant(1)
    driver.ledger.spread = False
    first = driver.open()
    assert first.stop == 8 * G
    assert driver.until() == math.inf
    driver.ledger.grant(2)
    half = driver.lease()
    assert (half.start, half.stop, half.whole, half.since) == (4 * G, 8 * G, False, 0.0)
    assert (first.start, first.stop) == (0, 4 * G)
    assert half.source is first.source
    assert half.round == first.round
    assert driver.told == [("split", f"a: {4 * G}-{8 * G} to another connection")]
    check(driver.ledger, 0.0)


def test_what_has_been_read_is_not_taken_over() -> None:
    driver = LedgerDriver(blob(4), most=2, piece_most=4 * G)
    driver.ledger.grant(1)
    driver.ledger.spread = False
    first = driver.open()
    driver.ledger.grant(2)
    assert driver.ledger.keep(first, 3 * G) == 3 * G
    assert driver.until() == math.inf
    assert driver.ledger.keep(first, 2 * G) == 2 * G
    assert driver.lease().start == 3 * G
    assert driver.ledger.keep(first, 4 * G) == 3 * G
    driver.ledger.wrote(first, 3 * G, 0.0)
    assert driver.ledger.keep(first, G) == 0
    check(driver.ledger, 0.0)


@pytest.mark.parametrize(
    "why", ["whole lease", "whole blob", "whole server", "unanswered", "local"]
)
def test_what_cannot_be_split_is_not(why: str) -> None:
    only = blob(4, [disk()]) if why == "local" else blob(4)
    driver = LedgerDriver(only, most=2, piece_most=4 * G)
    driver.ledger.grant(1)
    driver.ledger.spread = False
    lease = driver.lease()
    if why != "unanswered":
        asked = (0, 4 * G) if why != "whole server" else (0, 3 * G)
        driver.ledger.opened(lease, asked, 0, why != "whole server", 0.0)
    lease.whole = why == "whole lease"
    only.whole = why == "whole blob"
    driver.ledger.grant(2)
    assert driver.until() == math.inf
