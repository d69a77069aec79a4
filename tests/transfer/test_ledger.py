"""What the ledger decides, call by call; `test_exhaustive` tries all that can happen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest

from dockersave.errors import CancelledError, ContentError, NetworkError
from dockersave.transfer.blobs import Blob, Hashing, Lease, Step, Wait
from dockersave.transfer.ledger import Ledger
from tests.transfer.invariants import check
from tests.transfer.lines import attempts
from tests.transfer.outcomes import GRANULE, Shelf, small_limits

G = GRANULE
BROKEN = NetworkError("reset", transient=True)
CROWDED = NetworkError("too many", transient=True, crowded=True, answered=True)


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


class Books:
    """A ledger, and what it told."""

    def __init__(self, *blobs: Blob, most: int = 4, piece_most: int = 4 * G, retries: int = 2):
        self.told: list[tuple[str, str]] = []
        self.ledger = Ledger(
            blobs,
            attempts(retries),
            most=most,
            piece_most=piece_most,
            tell=lambda topic, text: self.told.append((topic, text)),
        )

    def task(self, now: float = 0.0) -> object:
        """What is to be done but to hash what has come."""
        while isinstance(task := self.ledger.next(now), Hashing):
            self.ledger.hashed(task)
        return task

    def lease(self, now: float = 0.0) -> Lease:
        task = self.task(now)
        assert isinstance(task, Lease), task
        return task

    def until(self, now: float = 0.0) -> float:
        """Up to when there is nothing to do."""
        task = self.task(now)
        assert isinstance(task, Wait), task
        return task.until

    def open(self, now: float = 0.0) -> Lease:
        """A lease whose source answers as asked."""
        lease = self.lease(now)
        assert self.ledger.opened(lease, (lease.start, lease.stop), lease.start, True, now)
        return lease

    def write(self, lease: Lease, amount: int = 0, now: float = 0.0) -> None:
        amount = amount or lease.stop - lease.position
        kept = self.ledger.keep(lease, amount)
        self.ledger.wrote(lease, kept, now)
        check(self.ledger, now)

    def fetch(self, now: float = 0.0) -> Lease:
        """All of a lease."""
        lease = self.open(now)
        self.write(lease, now=now)
        self.ledger.ended(lease)
        return lease

    def hash(self, blob: Blob, failure: ContentError | None = None) -> Hashing:
        """All that can be of a blob."""
        task = self.ledger.hashing(blob, 1000 * G)
        assert task
        self.ledger.hashed(task, failure)
        check(self.ledger, 0.0)
        return task


def blob(
    size: int = 4,
    sources: Sequence[Shelf] | None = None,
    have: Sequence[tuple[int, int]] = (),
    name: str = "a",
    **more: bool | int,
) -> Blob:
    sources = [Shelf("server", size * G)] if sources is None else sources
    return Blob(name, size * G, sources, have, **more)  # type: ignore[arg-type]


def disk(size: int = 4) -> Shelf:
    return Shelf("disk", size * G, is_local=True)


# What a worker does next.


def test_a_run_without_blobs_is_done() -> None:
    books = Books()
    assert books.ledger.is_done
    assert books.ledger.next(0.0) is None
    assert books.ledger.tasks == 0


def test_one_connection_asks_until_the_source_has_answered() -> None:
    books = Books(blob())
    first = books.lease()
    assert (first.start, first.stop, first.whole, first.since) == (0, G, False, 0.0)
    assert books.until() == math.inf
    assert books.ledger.opened(first, (0, G), 0, True, 0.0)
    assert books.lease().start == G


def test_pieces_are_each_connections_share_of_what_nobody_fetches_yet() -> None:
    books = Books(blob(16), most=4, piece_most=100 * G)
    assert [books.open().stop for _ in range(2)] == [4 * G, 7 * G]
    few = Books(blob(16), most=4, piece_most=100 * G)
    few.ledger.grant(2)
    few.ledger.spread = False
    assert few.open().stop == 8 * G
    assert Books(blob(16), most=1, piece_most=2 * G).open().stop == 2 * G


def test_what_is_there_is_hashed_before_more_is_fetched() -> None:
    first, second = blob(2, have=[(0, G)]), blob(2, name="b")
    books = Books(first, second)
    task = books.ledger.next(0.0)
    assert task == Hashing(first, 0, G)
    assert not task.is_last
    assert isinstance(books.ledger.next(0.0), Lease), "nobody hashes it a second time"
    assert books.ledger.hashing(first, 8) is None


def test_a_blob_of_nothing_is_judged_all_the_same() -> None:
    empty = blob(0)
    books = Books(empty)
    task = books.ledger.next(0.0)
    assert task == Hashing(empty, 0, 0)
    assert task.is_last
    books.ledger.hashed(task)
    assert empty.done
    assert books.ledger.is_done


def test_hashing_goes_as_far_as_there_is_something_and_no_further() -> None:
    only = blob(4, have=[(0, 3 * G)])
    books = Books(only)
    task = books.ledger.hashing(only, 2 * G)
    assert task == Hashing(only, 0, 2 * G)
    books.ledger.hashed(task)
    assert books.hash(only) == Hashing(only, 2 * G, 3 * G)
    assert books.ledger.hashing(only, 8) is None
    assert only.hashed == 3 * G
    assert not only.done


def test_connections_are_no_more_than_granted() -> None:
    books = Books(blob(8, [disk(8), Shelf("server", 8 * G)]), blob(8, name="b"), most=3)
    books.ledger.grant(1)
    local = books.lease()
    assert local.source.is_local
    assert local.stop == 8 * G, "a file is read in one go"
    assert books.ledger.connections == 0
    remote = books.open()
    assert remote.blob.digest == "b"
    assert books.ledger.connections == 1
    assert books.until() == math.inf
    books.ledger.grant(9)
    assert (books.ledger.capacity, books.ledger.most) == (3, 3)
    books.lease()
    books.ledger.limit(2)
    assert (books.ledger.capacity, books.ledger.most) == (2, 2)
    books.ledger.grant(3)
    assert books.ledger.capacity == 2
    books.ledger.limit(5)
    assert books.ledger.most == 2


def test_what_a_blob_waits_for_is_no_reason_to_leave_out_others() -> None:
    books = Books(blob(), blob(name="b"))
    late, later = books.ledger.blobs
    late.not_before, later.not_before = 5.0, 3.0
    assert books.until(1.0) == 3.0
    later.not_before = 1.0
    assert books.lease(1.0).blob is later
    late.not_before = 1.0
    assert books.lease(1.0).blob is late


def test_a_blob_without_sources_fails_the_run_unless_it_is_there() -> None:
    there = blob(1, [], [(0, G)])
    books = Books(there, blob(1, [], name="b"))
    task = books.ledger.next(0.0)
    assert isinstance(task, Hashing)
    books.ledger.hashed(task)
    assert there.done
    books.until()
    assert str(books.ledger.failure) == "layer b is not all there"
    assert books.ledger.next(0.0) is None


def test_the_number_of_tasks_is_about_what_can_be_done_at_once() -> None:
    books = Books(blob(4), blob(1, have=[(0, G)], name="b"))
    assert books.ledger.tasks == 4 + 1 + 1
    assert books.ledger.hashing(books.ledger.blobs[1], G)
    books.lease()
    assert books.ledger.tasks == 3 + 1 + 1 + 1


# Room.


def test_only_what_there_is_room_for_is_fetched() -> None:
    first, second = blob(2), blob(2, name="b", base=2 * G)
    books = Books(first, second, most=1)
    books.ledger.horizon = G
    lease = books.open()
    assert (lease.start, lease.stop) == (0, G)
    books.write(lease)
    books.ledger.ended(lease)
    books.hash(first)
    assert books.until() == math.inf
    books.ledger.horizon = 3 * G
    assert books.fetch().blob is first
    lease = books.lease()
    assert (lease.blob, lease.stop) == (second, G)


def test_of_blobs_in_order_each_is_one_step() -> None:
    books = Books(blob(2, sequential=True), blob(2, name="b", base=1, sequential=True), most=2)
    books.ledger.horizon = 1
    assert books.open().stop == 2 * G
    assert books.until() == math.inf
    books.ledger.horizon = 2
    lease = books.lease()
    assert lease.blob.digest == "b"
    assert books.ledger.step(lease, 0) == Step(0, 2 * G)
    assert books.until() == math.inf, "never two at once of one blob"


def test_a_stream_waits_for_room_and_leaves_where_it_would_wait_for_itself() -> None:
    first, second = blob(2), blob(2, name="b", base=2 * G)
    books = Books(first, second, most=2, piece_most=2 * G)
    mine, other = books.open(), books.open()
    assert mine.stop == 2 * G
    assert (mine.blob, other.blob) == (first, second)
    books.ledger.horizon = 2 * G + 1
    assert books.ledger.step(mine, 0) == Step(0, mine.stop)
    assert books.ledger.step(other, 0) == Step(0, 1)
    books.ledger.horizon = 2 * G
    assert books.ledger.step(other, 0) == Step(0, 0, is_full=True)
    books.ledger.ended(mine)
    assert books.ledger.step(other, 0) == Step(0, 0, is_full=True), "there is another connection"
    books.ledger.limit(1)
    assert books.ledger.step(other, 0) == Step(0, 0), "it is needed for what makes room"


def test_a_stream_that_has_passed_what_makes_room_is_left() -> None:
    only = blob(4)
    books = Books(only, most=2)
    lease = books.lease()
    books.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert books.ledger.step(lease, G) == Step(0, 3 * G)
    assert only.missing == [(0, G)]
    books.ledger.horizon = G
    assert books.ledger.step(lease, G) == Step(0, 0)


def test_whole_blobs_are_begun_where_all_of_them_has_room_or_nothing_comes_before() -> None:
    first, second = blob(2), blob(2, name="b", base=2 * G)
    books = Books(first, second, most=2)
    first.whole = second.whole = True
    books.ledger.horizon = G
    lease = books.lease()
    assert (lease.blob, lease.stop, lease.whole) == (first, 2 * G, True)
    assert books.until() == math.inf
    books.ledger.horizon = 4 * G - 1
    assert books.until() == math.inf
    books.ledger.horizon = 4 * G
    assert books.lease().blob is second


# Splitting.


def test_half_of_what_would_be_the_last_to_end_is_taken_over() -> None:
    only = blob(8)
    books = Books(only, most=2, piece_most=8 * G)
    books.ledger.grant(1)
    books.ledger.spread = False
    first = books.open()
    assert first.stop == 8 * G
    assert books.until() == math.inf
    books.ledger.grant(2)
    half = books.lease()
    assert (half.start, half.stop, half.whole, half.since) == (4 * G, 8 * G, False, 0.0)
    assert (first.start, first.stop) == (0, 4 * G)
    assert half.source is first.source
    assert half.round == first.round
    assert books.told == [("split", f"a: {4 * G}-{8 * G} to another connection")]
    check(books.ledger, 0.0)


def test_what_has_been_read_is_not_taken_over() -> None:
    books = Books(blob(4), most=2, piece_most=4 * G)
    books.ledger.grant(1)
    books.ledger.spread = False
    first = books.open()
    books.ledger.grant(2)
    assert books.ledger.keep(first, 3 * G) == 3 * G
    assert books.until() == math.inf
    assert books.ledger.keep(first, 2 * G) == 2 * G
    assert books.lease().start == 3 * G
    assert books.ledger.keep(first, 4 * G) == 3 * G
    books.ledger.wrote(first, 3 * G, 0.0)
    assert books.ledger.keep(first, G) == 0
    check(books.ledger, 0.0)


@pytest.mark.parametrize(
    "why", ["whole lease", "whole blob", "whole server", "unanswered", "local"]
)
def test_what_cannot_be_split_is_not(why: str) -> None:
    only = blob(4, [disk()]) if why == "local" else blob(4)
    books = Books(only, most=2, piece_most=4 * G)
    books.ledger.grant(1)
    books.ledger.spread = False
    lease = books.lease()
    if why != "unanswered":
        asked = (0, 4 * G) if why != "whole server" else (0, 3 * G)
        books.ledger.opened(lease, asked, 0, why != "whole server", 0.0)
    lease.whole = why == "whole lease"
    only.whole = why == "whole blob"
    books.ledger.grant(2)
    assert books.until() == math.inf


# What a source answers.


def test_a_server_that_sends_whole_blobs_is_known_by_it() -> None:
    first, second = blob(4), blob(4, name="b")
    books = Books(first, second, most=3)
    lease, other = books.lease(), books.lease()
    assert other.blob is second
    books.ledger.opened(other, (0, G), 0, True, 0.0)
    more = books.lease()
    assert (more.blob, more.start) == (second, other.stop)
    assert books.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert lease.whole
    assert books.told == [("ranges", "server sends whole blobs only")]
    assert books.ledger.opened(more, (more.start, more.stop), 0, False, 0.0)
    assert not books.ledger.opened(other, (0, G), 0, False, 0.0), "one stream of a blob is enough"
    assert other not in second.leases
    assert len(books.told) == 1
    check(books.ledger, 0.0)
    assert books.until() == math.inf, "no second one either"


def test_all_of_a_blob_that_was_asked_for_says_nothing_of_ranges() -> None:
    books = Books(blob(1), blob(4, name="b"), most=1)
    lease = books.lease()
    assert books.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert not lease.whole
    assert not books.told


def test_a_whole_stream_brings_what_is_missing_wherever_it_is() -> None:
    only = blob(5, have=[(G, 2 * G), (3 * G, 4 * G)])
    books = Books(only, most=1)
    lease = books.lease()
    assert books.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert books.ledger.step(lease, 0) == Step(0, G)
    books.write(lease)
    assert books.ledger.step(lease, G) == Step(G, G)
    books.write(lease)
    assert books.ledger.step(lease, 3 * G) == Step(G, G)
    books.write(lease)
    assert books.ledger.step(lease, 5 * G) == Step(0, 0)
    assert books.hash(only).is_last
    assert only.done


def test_what_a_whole_stream_has_passed_stays_missing() -> None:
    only = blob(4)
    books = Books(only, most=1)
    lease = books.lease()
    books.ledger.opened(lease, (0, G), 0, False, 0.0)
    assert books.ledger.step(lease, 2 * G + 1) == Step(0, 2 * G - 1)
    assert only.missing == [(0, 2 * G + 1)]
    books.write(lease)
    assert books.ledger.step(lease, 4 * G) == Step(0, 0)
    books.ledger.ended(lease)
    assert books.lease().start == 0


def test_other_bytes_than_asked_are_not_read_and_ranges_not_asked_for_again() -> None:
    only = blob(4)
    books = Books(only, most=1)
    lease = books.lease()
    assert not books.ledger.opened(lease, (0, G), 1, True, 0.0)
    assert only.whole
    assert (only.attempts, only.round, only.has_answered) == (1, 1, False)
    assert books.told == [("failed", "a at 0: sends other bytes than asked")]
    again = books.lease()
    assert again.whole
    assert again.round == 1
    assert books.ledger.opened(again, (0, 4 * G), 0, False, 0.0)
    assert not books.told[1:]


def test_bytes_before_those_that_were_asked_for_are_skipped() -> None:
    books = Books(blob(2, have=[(0, G)]), most=1)
    lease = books.lease()
    assert lease.start == G
    assert books.ledger.opened(lease, (G, 2 * G), G - 2, True, 0.0)
    assert books.ledger.step(lease, G - 2) == Step(2, G)


# What comes.


def test_bytes_that_came_are_accounted_for() -> None:
    only = blob(2)
    books = Books(only, most=1, piece_most=2 * G)
    lease = books.open(2.0)
    only.attempts = 2
    books.write(lease, G, now=4.0)
    assert (lease.position, lease.gained, lease.first) == (G, G, 4.0)
    assert books.ledger.latency == 0.5, "a quarter of the way from 0 to 2 seconds"
    assert (only.present, only.reused, only.attempts) == (G, 0, 0)
    assert not only.doubtful
    books.write(lease, G, now=9.0)
    assert (lease.first, lease.gained, books.ledger.latency) == (4.0, 2 * G, 0.5)
    assert books.ledger.received == 2 * G
    books.ledger.ended(lease)
    only.done = False
    assert books.ledger.unassigned == 0


def test_a_trickle_is_no_progress() -> None:
    only = blob(2)
    books = Books(only, most=1, piece_most=2 * G, retries=5)
    lease = books.open()
    only.attempts = 2
    books.write(lease, G - 1)
    assert only.attempts == 2
    books.ledger.failed(lease, BROKEN, 0.0)
    assert (only.attempts, only.has_answered) == (3, False)
    lease = books.open()
    assert (lease.start, lease.stop) == (G - 1, 2 * G)
    books.write(lease, G)
    books.ledger.failed(lease, BROKEN, 0.0)
    assert (only.attempts, only.has_answered) == (0, True)
    lease = books.open()
    assert lease.stop - lease.start == 1, "all that was wanted is progress, however little"
    only.attempts = 2
    books.write(lease)
    assert only.attempts == 0


def test_bytes_from_the_disk_are_reused_and_may_be_wrong() -> None:
    only = blob(2, [disk(2)])
    books = Books(only)
    lease = books.open()
    books.write(lease, now=1.0)
    assert (only.reused, only.doubtful) == (2 * G, True)
    assert books.ledger.received == books.ledger.latency == 0


def test_who_has_lost_a_lease_is_told_so_and_changes_nothing() -> None:
    only = blob(2)
    books = Books(only, most=1)
    lease = books.open()
    books.ledger.ended(lease)
    before = vars(only).copy()
    assert books.ledger.step(lease, 0) == Step(0, 0)
    assert books.ledger.keep(lease, G) == 0
    assert not books.ledger.opened(lease, (0, G), 0, True, 0.0)
    books.ledger.wrote(lease, G, 0.0)
    books.ledger.ended(lease)
    books.ledger.failed(lease, ValueError(), 0.0)
    assert vars(only) == before
    assert not books.ledger.failure
    assert books.ledger.received == 0


def test_nothing_is_read_any_more_once_the_run_has_failed() -> None:
    books = Books(blob(2), most=1)
    lease = books.open()
    books.ledger.stop()
    assert isinstance(books.ledger.failure, CancelledError)
    assert str(books.ledger.failure) == "stopped"
    assert books.ledger.step(lease, 0) == Step(0, 0)
    books.ledger.failed(lease, ValueError("later"), 0.0)
    assert str(books.ledger.failure) == "stopped", "the first is the one that counts"
    assert not books.told
    assert books.ledger.next(0.0) is None


# What goes wrong.


def test_a_request_that_brings_nothing_is_an_attempt_of_all_that_began_with_it() -> None:
    only = blob(4)
    books = Books(only, most=2)
    first, second = books.open(), books.open()
    books.ledger.failed(first, BROKEN, 1.0)
    assert (only.attempts, only.round, only.has_answered) == (1, 1, False)
    assert only.not_before == 1.0
    assert books.told == [("failed", "a at 0: reset")]
    books.ledger.failed(second, BROKEN, 1.0)
    assert (only.attempts, only.round) == (1, 1)
    assert only.missing == [(0, 4 * G)]
    for _ in range(1):
        books.ledger.failed(books.open(1.0), BROKEN, 1.0)
    assert only.attempts == 2
    books.ledger.failed(books.open(1.0), BROKEN, 1.0)
    assert books.ledger.failure is BROKEN


def test_what_brought_bytes_is_no_attempt() -> None:
    only = blob(4)
    books = Books(only, most=1, piece_most=4 * G, retries=0)
    lease = books.open()
    books.write(lease, G)
    books.ledger.failed(lease, BROKEN, 1.0)
    assert (only.attempts, only.round, only.has_answered) == (0, 0, True)
    assert not books.ledger.failure
    assert only.not_before == -math.inf
    assert books.told == [("failed", f"a at {G}: reset")]
    assert books.lease(1.0).start == G


def test_a_server_that_refuses_one_more_is_asked_for_one_less_until_it_has_served() -> None:
    books = Books(blob(32), most=3, piece_most=G)
    leases = [books.open() for _ in range(3)]
    books.ledger.failed(leases[2], CROWDED, 0.0)
    assert books.ledger.capacity == 2
    assert books.told == [
        ("shed", "2 connections are left"),
        ("failed", f"a at {2 * G}: too many"),
    ]
    books.ledger.grant(3)
    assert books.ledger.capacity == 2, "it has objected"
    for lease in leases[:2]:
        books.write(lease)
        books.ledger.ended(lease)
    # One asks now; see `Blob.has_answered`.
    books.fetch()
    assert books.ledger.capacity == 2
    books.fetch()
    assert books.ledger.capacity == 3
    for _ in range(6):
        books.fetch()
    assert books.ledger.capacity == 3, "no more than were granted"
    leases = [books.open() for _ in range(3)]
    books.ledger.failed(leases[2], CROWDED, 0.0)
    for lease in leases[:2]:
        books.write(lease)
        books.ledger.ended(lease)
    assert books.ledger.capacity == 2, "what it served before counts no more"


def test_the_last_connection_is_not_given_up() -> None:
    books = Books(blob(2), most=2, retries=1)
    books.ledger.failed(books.open(), CROWDED, 0.0)
    assert books.ledger.capacity == 2
    assert books.ledger.blobs[0].attempts == 1
    books.ledger.failed(books.open(1.0), CROWDED, 1.0)
    assert books.ledger.failure is CROWDED


def test_a_local_source_that_fails_is_not_asked_again() -> None:
    only = blob(4, [disk(), Shelf("server", 4 * G)])
    books = Books(only, most=1)
    lease = books.open()
    books.write(lease, G)
    books.ledger.failed(lease, FileNotFoundError(), 0.0)
    assert books.told == [("source", "a: disk cannot be used")]
    assert [each.server for each in only.sources] == ["server"]
    assert (only.present, only.attempts) == (G, 0)
    assert not books.ledger.failure
    assert not books.lease().source.is_local


def test_a_local_source_that_was_the_only_one_fails_the_run() -> None:
    books = Books(blob(4, [disk()]), most=1)
    books.ledger.failed(books.open(), FileNotFoundError(), 0.0)
    assert str(books.ledger.failure) == "layer a is not all there"


def test_a_local_source_is_dropped_for_the_blob_that_was_read_alone() -> None:
    both = [blob(1, [disk(1), Shelf("server", G)], name=name) for name in "ab"]
    books = Books(*both)
    first = books.open()
    assert first.blob is both[0]
    first.blob.sources.pop(0)
    books.ledger.failed(first, FileNotFoundError(), 0.0)
    assert not books.told, "it was dropped by somebody else"


def test_what_is_taken_in_order_is_begun_again_with_the_next_source() -> None:
    only = blob(2, [disk(3), Shelf("server", 2 * G)], sequential=True)
    books = Books(only, most=1)
    assert only.extent == 3 * G
    lease = books.open()
    books.write(lease, G)
    books.ledger.failed(lease, OSError(), 0.0)
    assert (only.epoch, only.extent, only.present, only.missing) == (1, 2 * G, 0, [(0, 2 * G)])
    assert books.told == [("source", "a: disk cannot be used")]
    assert not books.ledger.failure
    assert books.ledger.unassigned == 2 * G
    assert not books.lease().source.is_local


def test_a_blob_that_is_right_does_not_need_a_source_that_goes_on() -> None:
    only = blob(1, [disk(1), Shelf("server", G)], sequential=True)
    books = Books(only, blob(1, name="b"), most=1)
    lease = books.open()
    books.write(lease)
    books.hash(only)
    books.ledger.failed(lease, ContentError("longer"), 0.0)
    assert only.done
    assert only.epoch == 0
    assert not books.told
    check(books.ledger, 0.0)


# What is judged.


def wrong(books: Books, only: Blob) -> None:
    books.hash(only, ContentError("wrong"))


def test_wrong_bytes_are_fetched_once_more_and_as_a_whole() -> None:
    only = blob(1)
    books = Books(only, most=1)
    books.fetch()
    wrong(books, only)
    assert (only.strikes, only.whole, only.epoch, only.present, only.hashed) == (1, True, 1, 0, 0)
    assert books.told == [("again", "a is begun again: wrong")]
    assert books.ledger.unassigned == G
    assert not books.ledger.failure
    assert books.lease().whole
    again = only.leases[0]
    books.ledger.opened(again, (0, G), 0, False, 0.0)
    books.write(again)
    books.ledger.ended(again)
    wrong(books, only)
    assert str(books.ledger.failure) == "wrong"


def test_wrong_bytes_of_an_earlier_run_are_no_servers_fault() -> None:
    only = blob(2, have=[(0, G)])
    books = Books(only, most=1)
    books.fetch()
    wrong(books, only)
    assert (only.strikes, only.whole, only.epoch, only.doubtful) == (0, False, 1, False)
    assert only.missing == [(0, 2 * G)]
    assert not books.ledger.failure


def test_wrong_bytes_of_a_local_source_are_fetched_from_the_next() -> None:
    only = blob(1, [disk(1), Shelf("server", G)])
    books = Books(only, most=1)
    books.fetch()
    wrong(books, only)
    assert (only.strikes, only.epoch) == (0, 1)
    assert books.told == [
        ("source", "a: disk cannot be used"),
        ("again", "a is begun again: wrong"),
    ]
    assert not books.lease().source.is_local
    alone = blob(1, [disk(1)])
    books = Books(alone, most=1)
    books.fetch()
    wrong(books, alone)
    assert str(books.ledger.failure) == "wrong"


def test_wrong_bytes_that_were_given_away_end_the_run() -> None:
    only = blob(1, restartable=False)
    books = Books(only, most=1)
    books.fetch()
    wrong(books, only)
    assert str(books.ledger.failure) == "wrong"
    assert only.epoch == 0


def test_a_blob_without_sources_that_is_wrong_ends_the_run() -> None:
    only = blob(1, [], [(0, G)])
    books = Books(only, most=1)
    wrong(books, only)
    assert str(books.ledger.failure) == "wrong"


def test_wrong_bytes_found_early_take_the_leases_away() -> None:
    only = blob(4, have=[(0, G)])
    books = Books(only, most=2)
    task = books.ledger.hashing(only, 8)
    assert task
    lease = books.open()
    books.ledger.hashed(task, ContentError("wrong"))
    assert not only.leases
    assert books.ledger.connections == 0
    assert books.ledger.step(lease, G) == Step(0, 0)
    assert books.ledger.unassigned == 4 * G
    check(books.ledger, 0.0)


def test_blobs_are_numbered_in_the_order_in_which_they_are_wanted() -> None:
    blobs = [blob(1, name=name) for name in "abc"]
    books = Books(*blobs)
    assert [each.number for each in books.ledger.blobs] == [0, 1, 2]
    order = [books.open().blob for _ in range(3)]
    assert order == blobs
    for each in (blobs[2], blobs[0], blobs[1]):
        books.write(each.leases[0])
        books.ledger.ended(each.leases[0])
    assert [task.blob for task in (books.ledger.next(0.0) for _ in range(3)) if task] == blobs  # type: ignore[union-attr]
