"""One blob at a time has the memory for a large window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dockersave.errors import ContentError
from dockersave.transfer.blobs import Blob, Hashing
from dockersave.transfer.memory import Memory
from tests.transfer.by_hand import G, LedgerByHand
from tests.transfer.outcomes import Shelf, small_limits


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    with small_limits():
        yield


def layer(number: int) -> Blob:
    return Blob("ab"[number], 2 * G, [Shelf("server", 2 * G)], base=number, sequential=True)


def test_it_is_given_to_one() -> None:
    memory, first, second = Memory(), layer(0), layer(1)
    assert memory.claim(first)
    assert memory.claim(first)
    assert not memory.claim(second)
    assert (first.waits, second.waits) == (False, True)
    memory.release(second)
    assert not memory.is_free_for(second)
    memory.release(first)
    assert memory.claim(second)
    assert not memory.is_free_for(first)


@pytest.fixture
def books() -> LedgerByHand:
    """The second of two layers has been put off, with nothing of what has come of it hashed."""
    books = LedgerByHand(layer(0), layer(1), most=2)
    first, second = books.open(), books.open()
    books.ledger.wrote(first, G, 0.0)
    task = books.ledger.hashing(first.blob, G)
    assert task
    assert books.ledger.memory.claim(first.blob)
    books.ledger.hashed(task)
    books.write(second, G)
    task = books.ledger.hashing(second.blob, G)
    assert task
    assert not books.ledger.memory.claim(second.blob)
    books.ledger.hashed(task._replace(stop=0))
    return books


def test_who_waits_ends_its_lease_and_nobody_takes_it_up(books: LedgerByHand) -> None:
    first, second = books.ledger.blobs
    (lease,) = second.leases
    assert books.ledger.step(lease, G).take == 0
    books.ledger.ended(lease)
    assert second.missing == [(G, 2 * G)]
    assert books.until() == float("inf")
    assert books.ledger.connections == 1
    assert first.leases


def test_what_has_come_is_hashed_first_when_the_memory_is_free(books: LedgerByHand) -> None:
    first, second = books.ledger.blobs
    books.ledger.ended(second.leases[0])
    books.write(first.leases[0])
    books.hash(first)
    assert first.done
    task = books.ledger.next(0.0)
    assert task == Hashing(second, 0, G)
    # Nobody fetches more of it before.
    assert not isinstance(books.ledger.next(0.0), Hashing)
    assert not second.leases
    assert books.ledger.memory.claim(second)
    books.ledger.hashed(task)
    assert not second.waits
    assert books.open().blob is second


def test_what_has_come_is_not_hashed_before_its_lease_has_ended(books: LedgerByHand) -> None:
    """Its source may still prove wrong, which restarts the blob."""
    first, second = books.ledger.blobs
    books.write(first.leases[0])
    books.hash(first)
    assert first.done
    assert books.ledger.hashing(second, G) is None
    books.ledger.ended(second.leases[0])
    assert books.ledger.hashing(second, G) == Hashing(second, 0, G)


def test_a_blob_that_is_begun_again_gives_it_back(books: LedgerByHand) -> None:
    first, second = books.ledger.blobs
    books.write(first.leases[0])
    books.hash(first, ContentError("wrong"))
    assert (first.done, first.hashed) == (False, 0)
    assert books.ledger.memory.is_free_for(second)
    books.ledger.ended(second.leases[0])
    books.ledger.memory.claim(second)
    assert not books.ledger.memory.is_free_for(first)
