"""What the ledger keeps of a blob and of a lease."""

from __future__ import annotations

import pytest

from dockersave.limits import LIMITS
from dockersave.transfer.blobs import Blob, Hashing, Lease
from tests.transfer.fake_sources import Line

SIZE = 1000


def blob(*sources: Line, have: tuple[tuple[int, int], ...] = (), sequential: bool = False) -> Blob:
    return Blob("sha256:…", SIZE, sources, have, sequential=sequential)


def lease(blob: Blob, start: int, stop: int) -> Lease:
    made = Lease(blob, blob.sources[0], start, stop, False, 0, 0)
    blob.leases.append(made)
    blob.missing = []
    return made


def test_what_is_there_is_not_missing() -> None:
    begun = blob(have=((900, 1000), (0, 100), (50, 200)))
    assert begun.missing == [(200, 900)]
    assert begun.present == begun.reused == 300
    assert begun.doubtful
    assert begun.edge == 200
    begun.begin([])
    assert begun.missing == [(0, SIZE)]
    assert begun.present == begun.reused == begun.edge == 0
    assert not begun.doubtful


def test_sources_of_another_size_are_left_out() -> None:
    sizes = [-1, SIZE, SIZE - 1, SIZE + 1, 0]
    assert [each.size for each in blob(*(Line(size=size) for size in sizes)).sources] == [-1, SIZE]


def test_of_a_layer_that_is_unpacked_every_size_will_do() -> None:
    """A local file may have it unpacked: then the unpacked bytes are read."""
    local, remote = Line(is_local=True, size=5000), Line(size=SIZE)
    begun = blob(local, remote, sequential=True)
    assert begun.sources == [local, remote]
    assert begun.extent == 5000
    begun.sources.remove(local)
    assert begun.extent == SIZE


def test_it_is_there_up_to_the_first_byte_that_somebody_fetches() -> None:
    begun = blob(Line())
    first, second = lease(begun, 0, 500), lease(begun, 500, SIZE)
    assert begun.edge == 0
    first.position = 300
    second.position = SIZE
    assert begun.edge == 300
    first.position = 500
    assert begun.edge == SIZE
    begun.missing = [(700, 800)]
    assert begun.edge == 700


def test_the_rate_of_a_lease() -> None:
    made = lease(blob(Line()), 0, SIZE)
    assert made.rate(100) == 0, "nothing has come"
    made.first, made.gained = 10.0, 500
    assert made.rate(10.01) == 0, "nobody can say yet"
    assert made.rate(12.0) == pytest.approx(250)


def test_the_last_range_that_is_hashed() -> None:
    assert Hashing(blob(), 5, SIZE).is_last
    assert not Hashing(blob(), 5, SIZE - 1).is_last


def test_a_blob_begins_with_nothing() -> None:
    fresh = blob(Line())
    assert (fresh.number, fresh.epoch, fresh.strikes, fresh.attempts, fresh.round) == (0,) * 5
    flags = (fresh.done, fresh.whole, fresh.has_answered, fresh.is_hashing, fresh.doubtful)
    assert flags == (False,) * 5


def test_a_rate_is_known_after_a_fifth_of_a_second() -> None:
    """What its first reads bring says little: they come in blocks."""
    made = lease(blob(Line()), 0, SIZE)
    made.gained, made.first = 100, 0.0
    assert made.rate(0.19) == 0.0
    assert made.rate(0.2) == 500.0


def test_much_in_a_short_time_is_a_rate() -> None:
    made = lease(blob(Line()), 0, SIZE)
    made.gained, made.first = LIMITS.split_least, 0.0
    assert made.rate(0.02) == 0.0
    assert made.rate(0.1) == 10 * LIMITS.split_least
    made.gained -= 1
    assert made.rate(0.1) == 0.0
