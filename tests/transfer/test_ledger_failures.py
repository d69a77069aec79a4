"""What the ledger makes of failures, and of bytes that are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest

from dockersave.errors import ContentError, CredentialsError, NetworkError, NotFoundError
from dockersave.retry_policy import RetryPolicy
from dockersave.spelling import argument
from dockersave.transfer.blobs import Lease, Step, Wait
from dockersave.transfer.ledger import Ledger
from tests.transfer.invariants import check
from tests.transfer.ledger_driver import BROKEN, CROWDED, G, LedgerDriver, blob, disk, wrong
from tests.transfer.outcomes import NamedSource, small_limits


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_limits():
        yield


# What goes wrong.


def test_a_failure_is_told_with_its_arguments_marked() -> None:
    """Whoever reads the trace spells them."""
    driver = LedgerDriver(blob(4))
    text = f"too slow for {argument('timeout', 2)}"
    driver.ledger.failed(driver.open(), NetworkError(text, transient=True), 1.0)
    assert driver.told == [("failed", f"a at 0: {text}")]


@pytest.mark.parametrize("make", [NotFoundError, CredentialsError, OSError])
@pytest.mark.parametrize("amount", [0, G])
def test_what_no_network_is_to_blame_for_is_not_tried_again(
    make: Callable[[str], Exception], amount: int
) -> None:
    driver = LedgerDriver(blob(4))
    lease, failure = driver.open(), make("no")
    if amount:
        driver.write(lease, amount)
    driver.ledger.failed(lease, failure, 1.0)
    assert driver.ledger.failure is failure
    assert not driver.told


def test_a_request_that_brings_nothing_is_an_attempt_of_all_that_began_with_it() -> None:
    only = blob(4)
    driver = LedgerDriver(only, most=2)
    first, second = driver.open(), driver.open()
    driver.ledger.failed(first, BROKEN, 1.0)
    assert (only.attempts, only.round, only.has_answered) == (1, 1, False)
    assert only.not_before == 1.0
    assert driver.told == [("failed", "a at 0: reset")]
    driver.ledger.failed(second, BROKEN, 1.0)
    assert (only.attempts, only.round) == (1, 1)
    assert only.missing == [(0, 4 * G)]
    for _ in range(1):
        driver.ledger.failed(driver.open(1.0), BROKEN, 1.0)
    assert only.attempts == 2
    driver.ledger.failed(driver.open(1.0), BROKEN, 1.0)
    assert driver.ledger.failure is BROKEN


def test_what_brought_bytes_is_no_attempt() -> None:
    only = blob(4)
    driver = LedgerDriver(only, most=1, piece_most=4 * G, retries=0)
    lease = driver.open()
    driver.write(lease, G)
    driver.ledger.failed(lease, BROKEN, 1.0)
    assert (only.attempts, only.round, only.has_answered) == (0, 0, True)
    assert not driver.ledger.failure
    assert only.not_before == -math.inf
    assert driver.told == [("failed", f"a at {G}: reset")]
    assert driver.lease(1.0).start == G


def test_a_server_that_refuses_one_more_is_asked_for_one_less_until_it_has_served() -> None:
    driver = LedgerDriver(blob(32), most=3, piece_most=G)
    leases = [driver.open() for _ in range(3)]
    driver.ledger.failed(leases[2], CROWDED, 0.0)
    assert driver.ledger.capacity == 2
    assert driver.told == [
        ("shed", "2 connections are left"),
        ("failed", f"a at {2 * G}: too many"),
    ]
    driver.ledger.grant(3)
    assert driver.ledger.capacity == 2, "it has objected"
    for lease in leases[:2]:
        driver.write(lease)
        driver.ledger.ended(lease)
    # One asks now; see `Blob.has_answered`.
    driver.fetch()
    assert driver.ledger.capacity == 2
    driver.fetch()
    assert driver.ledger.capacity == 3
    for _ in range(6):
        driver.fetch()
    assert driver.ledger.capacity == 3, "no more than were granted"
    leases = [driver.open() for _ in range(3)]
    driver.ledger.failed(leases[2], CROWDED, 0.0)
    for lease in leases[:2]:
        driver.write(lease)
        driver.ledger.ended(lease)
    assert driver.ledger.capacity == 2, "what it served before counts no more"


def rounds_of(ledger: Ledger, failure: Exception) -> tuple[list[int], float]:
    """How many requests fail at a time, until the ledger gives up, and when it does."""
    now = 0.0
    rounds: list[int] = []
    while not ledger.failure:
        leases: list[Lease] = []
        while isinstance(task := ledger.next(now), Lease):
            leases.append(task)
        assert isinstance(task, Wait)
        if not leases:
            now = task.until
            continue
        rounds.append(len(leases))
        for lease in leases:
            ledger.failed(lease, failure, now)
        check(ledger, now)
    return rounds, now


@pytest.mark.parametrize("connections", [1, 8])
def test_a_server_that_is_too_busy_is_not_asked_for_each_blob(connections: int) -> None:
    """What it asks to wait holds for all of them."""
    busy = NetworkError("wait", transient=True, crowded=True, answered=True, retry_after=1.0)
    policy = RetryPolicy(20, wait_until=-math.inf, jitter=lambda low, high: high)
    ledger = Ledger([blob(name=f"{n}") for n in range(40)], policy, most=connections)
    rounds, now = rounds_of(ledger, busy)
    assert rounds == [8] * (connections == 8) + [1] * 21
    assert now == 20 * 2.0


@pytest.mark.parametrize("unreachable", [True, False], ids=["refused", "reset"])
@pytest.mark.parametrize("connections", [1, 8])
def test_a_server_that_is_away_is_waited_for_not_asked_for_each_blob(
    connections: int, unreachable: bool
) -> None:
    """With many layers, all retries of a run would be used up within seconds."""
    away = NetworkError("away", transient=True, unreachable=unreachable)
    policy = RetryPolicy(20, wait_until=-math.inf, jitter=lambda low, high: high)
    ledger = Ledger([blob(name=f"{n}") for n in range(40)], policy, most=connections)
    rounds, now = rounds_of(ledger, away)
    assert rounds == [connections] * 21
    assert now == sum(min(0.5 * 2**count, 60) for count in range(1, 21))


def test_only_what_the_server_that_is_away_has_waits_for_it() -> None:
    away = NetworkError("refused", transient=True, unreachable=True)
    policy = RetryPolicy(2, wait_until=-math.inf, jitter=lambda low, high: high)
    one, same = blob(name="a"), blob(name="b")
    other = blob(sources=[NamedSource("other", 4 * G)], name="c")
    here = blob(sources=[disk(), NamedSource("server", 4 * G)], name="d")
    last = blob(name="e")
    last.not_before = 9.0
    ledger = Ledger([one, same, other, here, last], policy, most=1)
    task = ledger.next(0.0)
    assert isinstance(task, Lease)
    ledger.failed(task, away, 0.0)
    waits = [each.not_before for each in ledger.blobs]
    assert waits == [9.0, 9.0, -math.inf, -math.inf, 9.0]


def test_what_is_refused_beside_others_makes_nothing_else_wait() -> None:
    away = NetworkError("refused", transient=True, unreachable=True)
    first, second, third = blob(name="a"), blob(name="b"), blob(name="c")
    driver = LedgerDriver(first, second, third, most=2)
    lease = driver.open()
    driver.open()
    third.not_before = 9.0
    driver.ledger.failed(lease, away, 1.0)
    assert (first.not_before, second.not_before) == (1.0, -math.inf)


def test_the_last_connection_is_not_given_up() -> None:
    driver = LedgerDriver(blob(2), most=2, retries=1)
    driver.ledger.failed(driver.open(), CROWDED, 0.0)
    assert driver.ledger.capacity == 2
    assert driver.ledger.blobs[0].attempts == 1
    driver.ledger.failed(driver.open(1.0), CROWDED, 1.0)
    assert driver.ledger.failure is CROWDED


def test_a_local_source_that_fails_is_not_asked_again() -> None:
    only = blob(4, [disk(), NamedSource("server", 4 * G)])
    driver = LedgerDriver(only, most=1)
    lease = driver.open()
    driver.write(lease, G)
    driver.ledger.failed(lease, FileNotFoundError(), 0.0)
    assert driver.told == [("source", "a: disk cannot be used")]
    assert [each.server for each in only.sources] == ["server"]
    assert (only.present, only.attempts) == (G, 0)
    assert not driver.ledger.failure
    assert not driver.lease().source.is_local


def test_a_local_source_that_was_the_only_one_fails_the_run() -> None:
    driver = LedgerDriver(blob(4, [disk()]), most=1)
    gone = FileNotFoundError()
    driver.ledger.failed(driver.open(), gone, 0.0)
    assert driver.ledger.failure is gone


@pytest.mark.parametrize("sequential", [False, True])
def test_wrong_bytes_of_the_only_local_source_are_called_wrong(sequential: bool) -> None:
    only = blob(1, [disk(1)], sequential=sequential)
    driver = LedgerDriver(only, most=1)
    driver.fetch()
    wrong(driver, only)
    assert str(driver.ledger.failure) == "wrong"


def test_a_local_source_is_dropped_for_the_blob_that_was_read_alone() -> None:
    both = [blob(1, [disk(1), NamedSource("server", G)], name=name) for name in "ab"]
    driver = LedgerDriver(*both)
    first = driver.open()
    assert first.blob is both[0]
    first.blob.sources.pop(0)
    driver.ledger.failed(first, FileNotFoundError(), 0.0)
    assert not driver.told, "it was dropped by somebody else"


def test_what_is_taken_in_order_is_begun_again_with_the_next_source() -> None:
    only = blob(2, [disk(3), NamedSource("server", 2 * G)], sequential=True)
    driver = LedgerDriver(only, most=1)
    assert only.extent == 3 * G
    lease = driver.open()
    driver.write(lease, G)
    driver.ledger.failed(lease, OSError(), 0.0)
    assert (only.epoch, only.extent, only.present, only.missing) == (1, 2 * G, 0, [(0, 2 * G)])
    assert driver.told == [("source", "a: disk cannot be used")]
    assert not driver.ledger.failure
    assert driver.ledger.unassigned == 2 * G
    assert not driver.lease().source.is_local


def test_a_blob_that_is_right_does_not_need_a_source_that_goes_on() -> None:
    only = blob(1, [disk(1), NamedSource("server", G)], sequential=True)
    driver = LedgerDriver(only, blob(1, name="b"), most=1)
    lease = driver.open()
    driver.write(lease)
    driver.hash(only)
    driver.ledger.failed(lease, ContentError("longer"), 0.0)
    assert only.done
    assert only.epoch == 0
    assert not driver.told
    check(driver.ledger, 0.0)


# What is judged.


def test_wrong_bytes_are_fetched_once_more_and_as_a_whole() -> None:
    only = blob(1)
    driver = LedgerDriver(only, most=1)
    driver.fetch()
    wrong(driver, only)
    assert (only.strikes, only.whole, only.epoch, only.present, only.hashed) == (1, True, 1, 0, 0)
    assert driver.told == [("again", "a starts again: wrong")]
    assert driver.ledger.unassigned == G
    assert not driver.ledger.failure
    assert driver.lease().whole
    again = only.leases[0]
    driver.ledger.opened(again, (0, G), 0, False, 0.0)
    driver.write(again)
    driver.ledger.ended(again)
    wrong(driver, only)
    assert str(driver.ledger.failure) == "wrong"


def test_wrong_bytes_of_an_earlier_run_are_no_servers_fault() -> None:
    only = blob(2, have=[(0, G)])
    driver = LedgerDriver(only, most=1)
    driver.fetch()
    wrong(driver, only)
    assert (only.strikes, only.whole, only.epoch, only.doubtful) == (0, False, 1, False)
    assert only.missing == [(0, 2 * G)]
    assert not driver.ledger.failure


def test_wrong_bytes_of_a_local_source_are_fetched_from_the_next() -> None:
    only = blob(1, [disk(1), NamedSource("server", G)])
    driver = LedgerDriver(only, most=1)
    driver.fetch()
    wrong(driver, only)
    assert (only.strikes, only.epoch) == (0, 1)
    assert driver.told == [
        ("source", "a: disk cannot be used"),
        ("again", "a starts again: wrong"),
    ]
    assert not driver.lease().source.is_local
    alone = blob(1, [disk(1)])
    driver = LedgerDriver(alone, most=1)
    driver.fetch()
    wrong(driver, alone)
    assert str(driver.ledger.failure) == "wrong"


def test_wrong_bytes_that_were_given_away_end_the_run() -> None:
    only = blob(1, restartable=False)
    driver = LedgerDriver(only, most=1)
    driver.fetch()
    wrong(driver, only)
    assert str(driver.ledger.failure) == "wrong"
    assert only.epoch == 0


def test_a_blob_without_sources_that_is_wrong_ends_the_run() -> None:
    only = blob(1, [], [(0, G)])
    driver = LedgerDriver(only, most=1)
    wrong(driver, only)
    assert str(driver.ledger.failure) == "wrong"


def test_wrong_bytes_found_early_take_the_leases_away() -> None:
    only = blob(4, have=[(0, G)])
    driver = LedgerDriver(only, most=2)
    task = driver.ledger.hashing(only, 8)
    assert task
    lease = driver.open()
    driver.ledger.hashed(task, ContentError("wrong"))
    assert not only.leases
    assert driver.ledger.step(lease, G) == Step(0, 0)
    assert driver.ledger.connections == 1, "it is open until its worker has closed it"
    driver.ledger.ended(lease)
    assert driver.ledger.connections == 0
    assert driver.ledger.unassigned == 4 * G
    check(driver.ledger, 0.0)


def test_blobs_are_numbered_in_the_order_in_which_they_are_wanted() -> None:
    blobs = [blob(1, name=name) for name in "abc"]
    driver = LedgerDriver(*blobs)
    assert [each.number for each in driver.ledger.blobs] == [0, 1, 2]
    order = [driver.open().blob for _ in range(3)]
    assert order == blobs
    for each in (blobs[2], blobs[0], blobs[1]):
        driver.write(each.leases[0])
        driver.ledger.ended(each.leases[0])
    assert [task.blob for task in (driver.ledger.next(0.0) for _ in range(3)) if task] == blobs  # type: ignore[union-attr]
