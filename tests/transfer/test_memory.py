"""One blob at a time has the memory for a large window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dockersave.errors import ContentError
from dockersave.transfer.blobs import Blob, Hashing
from dockersave.transfer.memory import Memory
from tests.transfer.ledger_driver import G, LedgerDriver
from tests.transfer.outcomes import NamedSource, small_limits


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    with small_limits():
        yield


def layer(number: int) -> Blob:
    return Blob("ab"[number], 2 * G, [NamedSource("server", 2 * G)], base=number, sequential=True)


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
def driver() -> LedgerDriver:
    """The second of two layers has been put off, with nothing of what has come of it hashed."""
    driver = LedgerDriver(layer(0), layer(1), most=2)
    first, second = driver.open(), driver.open()
    driver.ledger.wrote(first, G, 0.0)
    task = driver.ledger.hashing(first.blob, G)
    assert task
    assert driver.ledger.memory.claim(first.blob)
    driver.ledger.hashed(task)
    driver.write(second, G)
    task = driver.ledger.hashing(second.blob, G)
    assert task
    assert not driver.ledger.memory.claim(second.blob)
    driver.ledger.hashed(task._replace(stop=0))
    return driver


def test_who_waits_ends_its_lease_and_nobody_takes_it_up(driver: LedgerDriver) -> None:
    first, second = driver.ledger.blobs
    (lease,) = second.leases
    assert driver.ledger.step(lease, G).take == 0
    driver.ledger.ended(lease)
    assert second.missing == [(G, 2 * G)]
    assert driver.until() == float("inf")
    assert driver.ledger.connections == 1
    assert first.leases


def test_what_has_come_is_hashed_first_when_the_memory_is_free(driver: LedgerDriver) -> None:
    first, second = driver.ledger.blobs
    driver.ledger.ended(second.leases[0])
    driver.write(first.leases[0])
    driver.hash(first)
    assert first.done
    task = driver.ledger.next(0.0)
    assert task == Hashing(second, 0, G)
    # Nobody fetches more of it before.
    assert not isinstance(driver.ledger.next(0.0), Hashing)
    assert not second.leases
    assert driver.ledger.memory.claim(second)
    driver.ledger.hashed(task)
    assert not second.waits
    assert driver.open().blob is second


def test_what_has_come_is_not_hashed_before_its_lease_has_ended(driver: LedgerDriver) -> None:
    """Its source may still prove wrong, which restarts the blob."""
    first, second = driver.ledger.blobs
    driver.write(first.leases[0])
    driver.hash(first)
    assert first.done
    assert driver.ledger.hashing(second, G) is None
    driver.ledger.ended(second.leases[0])
    assert driver.ledger.hashing(second, G) == Hashing(second, 0, G)


def test_a_blob_that_is_begun_again_gives_it_back(driver: LedgerDriver) -> None:
    first, second = driver.ledger.blobs
    driver.write(first.leases[0])
    driver.hash(first, ContentError("wrong"))
    assert (first.done, first.hashed) == (False, 0)
    assert driver.ledger.memory.is_free_for(second)
    driver.ledger.ended(second.leases[0])
    driver.ledger.memory.claim(second)
    assert not driver.ledger.memory.is_free_for(first)
