"""One lease, read from its source."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import ContentError, NetworkError
from dockersave.transfer.blobs import Blob, Hashing, Lease, Wait
from dockersave.transfer.ledger import Ledger
from dockersave.transfer.reading import asked_for, received
from dockersave.transfer.throttle import Throttle
from tests.transfer.fake_sources import BODY, PIECE, Line, attempts, blob_of, shrink


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two megabytes are a large blob here."""
    shrink(monkeypatch)


def ledger_of(blob: Blob, *, most: int = 2, piece_most: int = PIECE) -> Ledger:
    return Ledger([blob], attempts(), most=most, piece_most=piece_most)


def leased(ledger: Ledger, now: float = 0) -> Lease:
    task = ledger.next(now)
    assert isinstance(task, Lease)
    return task


def reading(
    ledger: Ledger,
    lease: Lease,
    wait_for_room: Callable[[Lease], None] = lambda lease: None,
    *,
    now: float = 0,
) -> list[tuple[int, int]]:
    """Read a lease to its end; returns the ranges that were to be written."""
    asked = asked_for(lease)
    stream = lease.source.open(*asked)
    taken: list[tuple[int, int]] = []
    with Throttle(None, Cancellation(), 1).reading(stream) as reader:
        if ledger.opened(lease, asked, stream.start, stream.ranged, now):
            for data in received(ledger, lease, reader, nullcontext(), wait_for_room):
                taken.append((lease.position, lease.position + len(data)))
                assert bytes(data) == BODY[slice(*taken[-1])]
                ledger.wrote(lease, len(data), now)
    ledger.ended(lease)
    return taken


def test_a_range_is_read_to_its_end() -> None:
    ledger = ledger_of(blob_of(Line()))
    taken = reading(ledger, leased(ledger))
    assert (taken[0][0], taken[-1][1]) == (0, PIECE)


def test_what_is_there_already_of_a_whole_blob_is_passed_over() -> None:
    have = [(0, 100_000), (500_000, 1_000_000)]
    ledger = ledger_of(blob_of(Line(ranged=False), have=have))
    while not isinstance(task := ledger.next(0), Lease):
        assert isinstance(task, Hashing)
        ledger.hashed(task)
    taken = reading(ledger, task)
    assert (taken[0][0], taken[-1][1]) == (100_000, len(BODY))
    assert not [span for span in taken if 500_000 < span[1] <= 1_000_000]


def test_a_stream_that_ends_early() -> None:
    ledger = ledger_of(blob_of(Line(BODY[:1000])))
    with pytest.raises(NetworkError, match="ended early") as caught:
        reading(ledger, leased(ledger))
    assert caught.value.transient


def test_a_stream_that_goes_on_where_the_blob_ends() -> None:
    body = BODY[:10_000]
    ledger = ledger_of(blob_of(Line(BODY, ranged=False), body=body))
    with pytest.raises(ContentError, match="longer than the stated 10000 bytes"):
        reading(ledger, leased(ledger))


def test_it_waits_for_room() -> None:
    ledger = ledger_of(blob_of(Line(ranged=False)), piece_most=len(BODY))
    ledger.horizon = 50_000
    waits: list[int] = []

    def make_room(lease: Lease) -> None:
        waits.append(lease.position)
        ledger.horizon += 500_000

    taken = reading(ledger, leased(ledger), make_room)
    assert taken[-1][1] == len(BODY)
    assert waits == [50_000, 550_000, 1_050_000, 1_550_000, 2_050_000]


def test_a_lease_that_was_taken_away_is_not_read_on() -> None:
    """The blob was restarted in the meantime: bytes of the old lease are useless."""

    def begin_again(position: int) -> None:
        ledger.hashed(Hashing(blob, 0, len(BODY)), ContentError("wrong"))

    blob = blob_of(Line(during=begin_again))
    ledger = ledger_of(blob)
    assert reading(ledger, leased(ledger)) == []
    assert blob.present == 0
    assert blob.missing == [(0, len(BODY))]


def test_what_another_one_has_taken_over_is_not_written() -> None:
    """A lease may be split while a read is under way: no byte may then be written twice.

    Who took over may have hashed it from its own buffer by the time that it is written again.
    """
    halves: list[Lease] = []

    def split(position: int) -> None:
        if not halves:
            halves.append(leased(ledger))

    body = BODY[: 24 << 10]
    blob = blob_of(Line(body, during=split), body=body)
    ledger = ledger_of(blob)
    ledger.grant(1)
    ledger.spread = False
    lease = leased(ledger)
    assert (lease.start, lease.stop) == (0, len(body))
    ledger.grant(2)
    taken = reading(ledger, lease)
    (half,) = halves
    assert taken == [(0, half.start)]
    assert blob.present == half.start == lease.stop == 12 << 10


def test_what_is_being_written_is_not_taken_over() -> None:
    body = BODY[: 48 << 10]
    blob = blob_of(Line(body), body=body)
    ledger = ledger_of(blob)
    ledger.grant(1)
    ledger.spread = False
    lease = leased(ledger)
    ledger.grant(2)
    ledger.opened(lease, (0, len(body)), 0, True, 0)
    assert ledger.keep(lease, 16 << 10) == 16 << 10
    half = leased(ledger)
    assert half.start == 32 << 10, "half of what is left behind that"
    assert ledger.keep(lease, 48 << 10) == 32 << 10
    assert isinstance(ledger.next(0), Wait), "nothing of it is left to be taken over"
