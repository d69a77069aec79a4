"""Small blobs, where they come from, and everything that can become of asking for them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple
from unittest.mock import patch

from dockersave.errors import ContentError, NetworkError
from dockersave.limits import LIMITS
from dockersave.transfer.throttle import Stream

GRANULE = 8
_SMALL = replace(
    LIMITS,
    granule=GRANULE,
    piece_least=GRANULE,
    split_least=GRANULE,
    split_saves=0.0,
    read=GRANULE,
    read_least=GRANULE,
    retries_per_run=1_000_000,
)
_MODULES = ("retry_policy", "transfer.blobs", "transfer.ledger", "transfer.cutting")

RIGHT, WRONG = True, False

# What an answer is like. Remote: as asked, all of the blob, another range. Local: it opens.
RANGE, WHOLE, OTHER = "range", "whole", "other"
# How a request or a stream fails.
REFUSED, CROWDED, ANSWERED, FATAL, EARLY = "refused", "crowded", "answered", "fatal", "early"
VANISHED, LONGER = "vanished", "longer"
# The same when it is not a reason to give up: after bytes have arrived, while others continue.
RESET, BUSY = "reset", "busy"
# What is read.
ALL, SOME, BAD = "all", "some", "bad"

GOOD = frozenset({RANGE, WHOLE, ALL, SOME, ""})
"""What happens where nothing goes wrong."""


class Move(NamedTuple):
    """One step: which worker (-1: the world), and how it turns out."""

    worker: int
    outcome: str


@contextmanager
def small_limits() -> Iterator[None]:
    """Have pieces and halves of one granule, so that blobs of four of them are large."""
    patches = [patch(f"dockersave.{name}.LIMITS", _SMALL) for name in _MODULES]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source: a name, and what the ledger may know of it."""

    server: Hashable
    size: int
    is_local: bool = False

    def open(self, start: int, stop: int) -> Stream:
        """Nobody reads from it: how that would turn out is a move."""
        raise NotImplementedError


def failure_of(outcome: str) -> Exception:
    """What a source raises for it."""
    if outcome == VANISHED:
        return FileNotFoundError("vanished")
    if outcome == LONGER:
        return ContentError("longer than it should be")
    return NetworkError(
        outcome,
        transient=outcome != FATAL,
        unreachable=outcome == REFUSED,
        crowded=outcome in (CROWDED, BUSY),
        answered=outcome in (CROWDED, BUSY, FATAL, ANSWERED),
    )
