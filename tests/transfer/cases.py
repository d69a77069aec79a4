"""The small cases of which everything that can happen is tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dockersave.transfer.blobs import Blob
from tests.transfer.outcomes import (
    ANSWERED,
    BAD,
    CROWDED,
    EARLY,
    FATAL,
    GRANULE,
    LONGER,
    OTHER,
    REFUSED,
    RIGHT,
    VANISHED,
    WRONG,
    NamedSource,
)
from tests.transfer.world import Case

REMOTE = frozenset({OTHER, REFUSED, CROWDED, ANSWERED, FATAL, EARLY, BAD, LONGER})
LOCAL = frozenset({VANISHED, EARLY, BAD, LONGER})

Blobs = Callable[[], Sequence[Blob]]


def fetched(*sizes: int, restartable: bool = True) -> Blobs:
    """Blobs of so many granules, behind one another, from one server."""

    def make() -> list[Blob]:
        bases = [sum(sizes[:number]) * GRANULE for number in range(len(sizes))]
        return [
            Blob(
                f"blob {number}",
                size * GRANULE,
                [NamedSource("server", size * GRANULE)],
                base=base,
                restartable=restartable,
            )
            for number, (size, base) in enumerate(zip(sizes, bases, strict=True))
        ]

    return make


def found(*sizes: int, remote: bool = True) -> Blobs:
    """Blobs that are on the disk and on a server."""

    def make() -> list[Blob]:
        return [
            Blob(
                f"blob {number}",
                size * GRANULE,
                [
                    NamedSource("disk", size * GRANULE, is_local=True),
                    *([NamedSource("server", size * GRANULE)] if remote else []),
                ],
            )
            for number, size in enumerate(sizes)
        ]

    return make


def resumed(size: int, *present: int) -> Blobs:
    """A blob some of whose granules were written by an earlier run."""

    def make() -> list[Blob]:
        have = [(each * GRANULE, (each + 1) * GRANULE) for each in present]
        return [Blob("blob", size * GRANULE, [NamedSource("server", size * GRANULE)], have)]

    return make


def in_order(size: int, *others: int, restartable: bool = True) -> Blobs:
    """A blob that is consumed in order, and is also on the disk in other sizes."""

    def make() -> list[Blob]:
        disk = [NamedSource(f"disk {n}", n * GRANULE, is_local=True) for n in others]
        sources = [*disk, NamedSource("server", size * GRANULE)]
        return [
            Blob("a", size * GRANULE, sources, sequential=True, restartable=restartable),
            Blob("b", GRANULE, [NamedSource("server", GRANULE)], base=1, sequential=True),
        ]

    return make


def _all(size: int, what: bool, *granules: int) -> dict[int, Sequence[tuple[int, bool]]]:
    return {0: [(each, what) for each in granules or range(size)]}


QUICK: dict[str, Case] = {
    "nothing": Case(fetched(0), 2),
    "one worker": Case(fetched(4), 1, REMOTE),
    "one worker, one retry of two": Case(fetched(2, 1), 1, REMOTE, retries=2),
    "two workers": Case(fetched(2), 2, REMOTE),
    "two workers, a large blob": Case(fetched(4), 2, REMOTE, most_faults=1),
    "two workers, two blobs": Case(fetched(2, 1), 2, REMOTE, most_faults=1),
    "three workers": Case(fetched(3), 3, REMOTE, most_faults=1, partly=False),
    "later again": Case(fetched(2), 2, frozenset({REFUSED, CROWDED, EARLY}), pause=1.0),
    "found": Case(found(2), 2, LOCAL | REMOTE, most_faults=2),
    "found only": Case(found(2, remote=False), 2, LOCAL),
    "two found": Case(found(1, 1), 2, LOCAL | REMOTE, most_faults=2),
    "resumed": Case(resumed(3, 0, 2), 2, REMOTE, _all(3, RIGHT, 0, 2), most_faults=2),
    "resumed, wrong": Case(resumed(3, 1), 2, REMOTE, _all(3, WRONG, 1), most_faults=1),
    "resumed, all of it wrong": Case(resumed(2, 0, 1), 2, REMOTE, _all(2, WRONG), most_faults=2),
    "in order": Case(in_order(2), 2, REMOTE, most_faults=2),
    "in order, found smaller": Case(in_order(2, 1), 2, LOCAL | REMOTE, most_faults=2),
    "in order, found larger": Case(in_order(1, 2), 2, LOCAL | REMOTE, most_faults=2),
    "in order, given away": Case(in_order(2, 1, restartable=False), 1, LOCAL | REMOTE),
    "large windows": Case(in_order(2), 2, REMOTE, windows={0: 1, 1: 0}, most_faults=2),
    "large windows, found larger": Case(
        in_order(1, 2), 2, LOCAL | REMOTE, windows={0: 0, 1: 0}, most_faults=2
    ),
    "stream": Case(fetched(2, 2), 2, REMOTE, window=2 * GRANULE, most_faults=1),
    "stream, one at a time": Case(fetched(1, 2), 1, REMOTE, window=GRANULE, most_faults=2),
    "stream, larger than its room": Case(fetched(3), 2, REMOTE, window=GRANULE, most_faults=1),
    "stream, given away": Case(
        fetched(2, restartable=False), 2, REMOTE, window=GRANULE, most_faults=2
    ),
}

LONG: dict[str, Case] = {
    "three workers, a large blob": Case(fetched(4), 3, REMOTE, most_faults=2, partly=False),
    "two workers, a large blob": Case(fetched(4), 2, REMOTE, most_faults=3),
    "three workers, all faults": Case(fetched(2), 3, REMOTE),
    "three workers, two blobs": Case(fetched(2, 2), 3, REMOTE, most_faults=1),
    "later again": Case(fetched(3), 2, REMOTE, pause=1.0, most_faults=2),
    "found": Case(found(3), 3, LOCAL | REMOTE, most_faults=2, partly=False),
    "large windows": Case(in_order(2, 3), 3, LOCAL | REMOTE, windows={0: 1, 1: 0}, most_faults=3),
    "stream": Case(fetched(2, 2), 3, REMOTE, window=2 * GRANULE, most_faults=1, partly=False),
    "resumed": Case(resumed(4, 1, 2), 3, REMOTE, _all(4, WRONG, 1, 2), most_faults=1),
}
