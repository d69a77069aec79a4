"""Where exactly the ledger decides otherwise: what a mutant would get wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dockersave.errors import ContentError, NetworkError
from dockersave.transfer.blobs import Hashing, Step
from tests.transfer.by_hand import BROKEN, CROWDED, G, LedgerByHand, blob, disk, wrong
from tests.transfer.invariants import check
from tests.transfer.outcomes import small_limits


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


def test_a_run_begins_with_all_connections_and_no_failure() -> None:
    books = LedgerByHand(blob(32), most=4, piece_most=100 * G)
    assert books.ledger.failure is None
    assert books.ledger.spread is True
    books.ledger.grant(2)
    assert books.open().stop == 8 * G, "pieces are for as many as there may be"


def test_so_much_is_hashed_at_once_that_others_get_their_turn() -> None:
    only = blob(20, have=[(0, 20 * G)])
    assert LedgerByHand(only).ledger.next(0.0) == Hashing(only, 0, 8 * G)


def test_files_are_read_while_all_connections_are_in_use() -> None:
    books = LedgerByHand(blob(8), blob(4, [disk()], name="b"), most=1)
    remote = books.open()
    assert remote.blob.missing
    local = books.lease()
    assert local.source.is_local
    assert not remote.has_company
    assert not local.has_company


def test_connections_that_are_in_use_at_the_same_time_are_company() -> None:
    books = LedgerByHand(blob(8), most=2)
    first, second = books.open(), books.open()
    assert first.has_company
    assert second.has_company
    files = LedgerByHand(blob(4, [disk()]), blob(4, [disk()], name="b"))
    assert not any(files.lease().has_company for _ in range(2))


def test_what_comes_in_order_says_nothing_of_ranges_when_it_is_taken_up() -> None:
    books = LedgerByHand(blob(2, sequential=True), most=1)
    lease = books.open()
    books.write(lease, G)
    books.ledger.failed(lease, BROKEN, 0.0)
    books.told.clear()
    again = books.lease()
    assert (again.start, again.stop) == (G, 2 * G)
    assert books.ledger.opened(again, (G, 2 * G), 0, False, 0.0)
    assert not again.whole
    assert not books.told
    assert books.ledger.step(again, 0) == Step(G, G)
    assert books.ledger.step(again, 3) == Step(G - 3, G)


def test_the_latency_follows_what_is_seen() -> None:
    books = LedgerByHand(blob(2), most=1, piece_most=G)
    lease = books.open(0.0)
    books.write(lease, now=2.0)
    books.ledger.ended(lease)
    lease = books.open(3.0)
    books.write(lease, now=7.5)
    assert books.ledger.latency == 1.5


def test_what_is_read_from_the_disk_adds_up() -> None:
    only = blob(2, [disk(2)])
    books = LedgerByHand(only)
    lease = books.open()
    books.write(lease, G)
    books.write(lease, G)
    assert only.reused == 2 * G


def test_connections_come_back_one_after_another() -> None:
    books = LedgerByHand(blob(64), most=3, piece_most=G)
    first, second = books.open(), books.open()
    books.ledger.failed(second, CROWDED, 0.0)
    assert books.ledger.capacity == 1
    books.write(first)
    books.ledger.ended(first)
    seen = []
    for _ in range(7):
        books.fetch()
        seen.append(books.ledger.capacity)
    assert seen == [2, 2, 2, 2, 3, 3, 3]


def test_a_connection_that_is_refused_beside_others_is_given_up() -> None:
    books = LedgerByHand(blob(8), most=2, retries=0)
    books.open()
    books.ledger.failed(books.open(), NetworkError("refused", transient=True), 0.0)
    assert books.ledger.failure is None
    assert books.ledger.capacity == 1


def test_each_failure_begins_a_round() -> None:
    only = blob(4)
    books = LedgerByHand(only, most=1, retries=5)
    for count in range(1, 4):
        books.ledger.failed(books.open(), BROKEN, 0.0)
        assert only.round == only.attempts == count


def test_what_is_done_is_no_task() -> None:
    only = blob(1)
    books = LedgerByHand(only, blob(1, name="b"), most=1)
    books.fetch()
    assert books.hash(only).is_last
    assert only.is_hashing is False
    assert books.ledger.tasks == 2
    books.fetch()
    wrong(books, books.ledger.blobs[1])
    assert books.ledger.tasks == 2, "and what is begun again is not to be hashed yet"


def test_a_lease_ends_where_it_does_although_more_is_missing() -> None:
    books = LedgerByHand(blob(4), most=2)
    lease = books.open()
    assert books.ledger.step(lease, 0) == Step(0, lease.stop)
    assert lease.stop < 4 * G


def test_the_end_of_a_lease_waits_for_no_room() -> None:
    for size in (1, 2):
        books = LedgerByHand(blob(size), most=1, piece_most=G)
        lease = books.open()
        books.write(lease)
        books.ledger.horizon = lease.stop
        assert books.ledger.step(lease, lease.stop) == Step(0, 0)


def test_what_is_to_be_skipped_is_said_where_there_is_no_room_either() -> None:
    only = blob(3, have=[(0, G)])
    books = LedgerByHand(only, most=1)
    lease = books.lease()
    books.ledger.opened(lease, (G, 2 * G), 0, False, 0.0)
    books.ledger.horizon = G
    assert books.ledger.step(lease, 0) == Step(G, 0, is_full=True)
    assert books.ledger.step(lease, 3) == Step(G - 3, 0, is_full=True)


def test_a_range_that_a_stream_has_just_passed_is_passed() -> None:
    only = blob(3, have=[(G, 2 * G)])
    books = LedgerByHand(only, most=1)
    lease = books.lease()
    books.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert books.ledger.step(lease, G) == Step(G, G)
    assert only.missing == [(0, G)]


def test_after_a_limit_connections_are_granted_as_before() -> None:
    books = LedgerByHand(blob(8), most=4)
    books.ledger.limit(2)
    books.ledger.grant(1)
    assert books.ledger.capacity == 1
    books.ledger.grant(4)
    assert books.ledger.capacity == 2


def test_a_blob_may_begin_again_twice() -> None:
    only = blob(1, have=[(0, G)])
    books = LedgerByHand(only, blob(2, name="b"), most=1)
    task = books.ledger.next(0.0)
    assert isinstance(task, Hashing)
    books.ledger.hashed(task, ContentError("wrong"))
    check(books.ledger, 0.0)
    assert only.epoch == 1
    books.fetch()
    wrong(books, only)
    assert (only.epoch, only.strikes) == (2, 1)
    assert books.ledger.unassigned == 3 * G


def test_a_blob_of_nothing_that_is_wrong_is_judged_once_more() -> None:
    only = blob(0)
    books = LedgerByHand(only)
    wrong(books, only)
    assert not books.ledger.failure
    assert books.ledger.next(0.0) == Hashing(only, 0, 0)
    books.ledger.hashed(Hashing(only, 0, 0), ContentError("wrong"))
    assert str(books.ledger.failure) == "wrong"
