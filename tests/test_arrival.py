"""One blob: pieces in any order, hashed in order, judged in the end."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.arrival import Arrival, Piece, Stream
from dockersave.errors import ContentError
from dockersave.limits import LIMITS
from dockersave.verify import Buffer, digest_of

BODY = random.Random(1).randbytes(5 * 1024 * 1024 + 17)


@dataclass
class Memory:
    """A place that notes what it is told."""

    body: bytearray = field(default_factory=lambda: bytearray(len(BODY)))
    recorded: list[tuple[int, int]] = field(default_factory=list)
    forgotten: int = 0

    def write(self, position: int, data: Buffer) -> None:
        self.body[position : position + len(data)] = data

    def read(self, position: int, amount: int) -> bytes:
        return bytes(self.body[position : position + amount])

    def record(self, start: int, stop: int) -> None:
        self.recorded.append((start, stop))

    def forget(self) -> None:
        self.forgotten += 1


@dataclass(eq=False)
class Origin:
    """A source that is never opened here."""

    is_local: bool = False
    size: int = len(BODY)

    def open(self, start: int, stop: int) -> Stream:
        raise NotImplementedError


def arrival(place: Memory, *sources: Origin, have: tuple[tuple[int, int], ...] = ()) -> Arrival:
    return Arrival(digest_of(BODY), len(BODY), place, sources or [Origin()], have)


def deliver(blob: Arrival, piece: Piece, amount: int = 100_000, body: bytes = BODY) -> bool:
    """Bring all of a piece."""
    while piece.position < piece.stop:
        stop = min(piece.position + amount, piece.stop)
        blob.accept(piece, body[piece.position : stop])
    return blob.settle(piece)


def take_all(blob: Arrival, most: int = LIMITS.piece_least) -> list[Piece]:
    pieces = []
    while (piece := blob.take(most)) is not None:
        pieces.append(piece)
    return pieces


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(50_000, 700_000))
def test_pieces_in_any_order(dice: random.Random, amount: int) -> None:
    place = Memory()
    blob = arrival(place)
    pieces = take_all(blob)
    assert sum(piece.stop - piece.start for piece in pieces) == len(BODY)
    waiting = list(pieces)
    while waiting:
        piece = dice.choice(waiting)
        if piece.position < piece.stop:
            stop = min(piece.position + amount, piece.stop)
            blob.accept(piece, BODY[piece.position : stop])
        else:
            waiting.remove(piece)
            # Done when all is hashed: the last writer may not have said yet that it is.
            assert blob.settle(piece) == (blob.hashed == len(BODY))
        assert blob.hashed <= blob.present <= len(BODY)
    assert blob.done
    assert place.body == BODY
    assert blob.reused == 0


def test_many_threads_at_once() -> None:
    for _ in range(5):
        place = Memory()
        blob = arrival(place)

        def work(blob: Arrival = blob) -> None:
            while (piece := blob.take(LIMITS.piece_least)) is not None:
                deliver(blob, piece, 30_000)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert blob.done
        assert place.body == BODY


def test_what_is_there_is_hashed_and_not_asked_for() -> None:
    place = Memory()
    have = ((0, 1_000_000), (2_000_000, 4_000_000))
    for start, stop in have:
        place.write(start, BODY[start:stop])
    blob = arrival(place, have=have)
    assert blob.present == blob.reused == 3_000_000
    assert not blob.settle(None)
    assert blob.hashed == 1_000_000
    for piece in take_all(blob):
        assert piece.start >= 1_000_000
        deliver(blob, piece)
    assert blob.done
    assert blob.reused == 3_000_000


def test_what_was_wrong_on_the_disk_is_fetched() -> None:
    place = Memory()
    blob = arrival(place, have=((0, len(BODY)),))
    assert blob.take(LIMITS.piece_least) is None
    assert not blob.settle(None)
    assert place.forgotten == 1
    for piece in take_all(blob):
        deliver(blob, piece)
    assert blob.done
    assert blob.reused == 0


def test_wrong_bytes_are_fetched_once_more_in_one_stream() -> None:
    blob = arrival(Memory())
    wrong = bytes(len(BODY))
    for piece in take_all(blob):
        deliver(blob, piece, body=wrong)
    assert not blob.done
    (piece,) = take_all(blob)
    assert (piece.start, piece.stop) == (0, len(BODY))
    with pytest.raises(ContentError, match="hashes to"):
        deliver(blob, piece, body=wrong)


def test_a_local_source_that_is_wrong_is_not_asked_again() -> None:
    local, remote = Origin(is_local=True), Origin()
    blob = arrival(Memory(), local, remote)
    (piece,) = take_all(blob)
    assert piece.source is local
    deliver(blob, piece, body=bytes(len(BODY)))
    pieces = take_all(blob)
    assert {each.source for each in pieces} == {remote}
    for piece in pieces:
        deliver(blob, piece)
    assert blob.done
    assert blob.reused == 0


def test_a_local_source_that_ends_early_is_continued_from_the_next() -> None:
    local, remote = Origin(is_local=True), Origin()
    blob = arrival(Memory(), local, remote)
    (piece,) = take_all(blob)
    blob.accept(piece, BODY[:1_000_000])
    assert blob.abandon(piece)
    for each in take_all(blob):
        assert each.source is remote
        assert each.start >= 1_000_000
        deliver(blob, each)
    assert blob.done
    assert blob.reused == 1_000_000


def test_what_is_given_back_is_taken_again() -> None:
    blob = arrival(Memory())
    first, second, *rest = take_all(blob)
    blob.accept(first, BODY[:1000])
    blob.give_back(first)
    again = blob.take(LIMITS.piece_least)
    assert again is not None
    assert again.start == 1000
    for piece in (again, second, *rest):
        deliver(blob, piece)
    assert blob.done


def test_a_server_without_ranges() -> None:
    blob = arrival(Memory())
    first, second = blob.take(LIMITS.piece_least), blob.take(LIMITS.piece_least)
    assert first is not None
    assert second is not None
    assert not blob.serialise(second)
    blob.give_back(second)
    assert blob.serialise(first)
    assert blob.take(LIMITS.piece_least) is None
    blob.accept(first, BODY[: first.stop])
    assert blob.extend(first)
    assert first.stop == len(BODY)
    assert deliver(blob, first)


def test_hashing_can_be_stopped() -> None:
    place = Memory(bytearray(BODY))
    blob = arrival(place, have=((0, len(BODY)),))
    blob.stopped = True
    assert not blob.settle(None)
    assert blob.hashed == 0


def test_an_empty_blob() -> None:
    blob = Arrival(digest_of(b""), 0, Memory(), [Origin()])
    assert blob.take(LIMITS.piece_least) is None
    assert blob.settle(None)
