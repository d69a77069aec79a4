"""Plan → bytes in place: many pieces of many blobs at once, each on a thread of its own.

Threads take pieces until none are left. The pieces shrink as the work does, so that all
threads end together, and stay large while there is much, so that few requests are sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from .arrival import Arrival, Piece
from .cancellation import Cancellation
from .crew import Crew, Shed
from .errors import ContentError, NetworkError
from .flow import Flow
from .limits import LIMITS

T = TypeVar("T")

_TICK = 0.05
_FIRST = 2
_GROWTH = 0.04
_BUSY = max(0.6, 0.3 * len(os.sched_getaffinity(0)))
_QUICK = 0.5
"""A piece that takes less, in seconds, was too small for this line."""


class Retrier(Protocol):
    """Who decides whether and when a failed attempt is made again."""

    def call(self, attempt: Callable[[], T], *, position: Callable[[], int] | None = None) -> T:
        """Run `attempt` until it succeeds; a `position` that moves is progress."""


class _Elsewhere(Exception):
    """Another thread receives the whole blob: there is nothing to do for this one."""


class Fetcher:
    """Fetches blobs.

    Args:
        arrivals: the blobs, in the order in which they are wanted.
        jobs: threads, and so connections, at most.
        retry: the run's one retry policy.
        flow: watches the connections.
        cancellation: ends the fetching.
        horizon: tells up to which offset in the output there is room now; None for everywhere.
        window: how much room there is, in bytes, where there is a horizon.
    """

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        *,
        jobs: int,
        retry: Retrier,
        flow: Flow,
        cancellation: Cancellation,
        horizon: Callable[[], int] | None = None,
        window: int = LIMITS.window,
    ) -> None:
        self.arrivals = arrivals
        self._waiting = [arrival for arrival in arrivals if not arrival.done]
        self._retry = retry
        self._flow = flow
        self._cancellation = cancellation
        self._horizon = horizon
        self._piece_limit = LIMITS.piece_most
        if horizon is not None:
            self._piece_limit = max(LIMITS.piece_least, window // (2 * jobs))
        self._piece_most = min(LIMITS.piece_first, self._piece_limit)
        self._crew = Crew(self._work, jobs, "fetch")
        # What is there already is hashed first, each blob by one thread.
        self._found = iter([each for each in self._waiting if each.present or not each.size])
        self._measured = (time.monotonic(), time.process_time())

    def start(self) -> None:
        """Start the first threads.

        Where the system refuses threads, those that run already do the work; with none at all
        it is done by the thread that calls `wait`.
        """
        self._grow(_FIRST)

    def _grow(self, count: int) -> None:
        """Start threads: no more than can have something to do."""
        pieces = sum(1 + arrival.unassigned // LIMITS.piece_least for arrival in self._waiting)
        self._crew.grow(min(count, pieces))

    def _grow_if_it_pays(self) -> None:
        """Double the connections while it is the line that keeps us waiting.

        On a line that is faster than the processor, more connections only cost: each record of
        each is handed from thread to thread.
        """
        now, (wall, cpu) = (time.monotonic(), time.process_time()), self._measured
        if now[0] - wall < _GROWTH:
            return
        self._measured = now
        if now[1] - cpu < _BUSY * (now[0] - wall):
            self._grow(self._crew.size)

    def wait(self, ready: Callable[[], bool], tick: Callable[[], None]) -> None:
        """Wait until something has happened.

        Args:
            ready: tells whether it has.
            tick: called about twenty times a second.

        Raises:
            DockersaveError: a blob cannot be had; whatever a thread raised.
        """
        crew = self._crew
        while True:
            if not crew.size and not ready():
                crew.run()
            with crew.changed:
                if crew.failure is not None:
                    raise crew.failure
                if ready():
                    return
                crew.changed.wait(_TICK)
            self._cancellation.check()
            self._grow_if_it_pays()
            self._flow.watch()
            tick()

    @property
    def is_done(self) -> bool:
        """Whether every blob is in its place and verified."""
        return all(arrival.done for arrival in self.arrivals)

    def close(self) -> None:
        """Stop, and wait for the threads.

        Those that wait for a connection wake when the run's cancellation is set.
        """
        self._crew.stop()
        for arrival in self.arrivals:
            arrival.stopped = True
        if not self.is_done:
            self._flow.interrupt()
        self._crew.join()

    def notify(self) -> None:
        """There is more room up to the horizon."""
        self._crew.notify()

    # What follows runs on the threads.

    def _work(self) -> None:
        for arrival in self._found:
            self._settle(arrival, None)
        while (piece := self._take()) is not None:
            self._fetch(piece)

    def _take(self) -> Piece | None:
        crew = self._crew
        with crew.changed:
            while not crew.stopping:
                self._waiting = [arrival for arrival in self._waiting if not arrival.done]
                if not self._waiting:
                    crew.changed.notify_all()
                    return None
                piece = self._next_piece()
                if piece is not None or not crew.size:
                    return piece
                crew.changed.wait(1.0)
            return None

    def _next_piece(self) -> Piece | None:
        left = sum(arrival.unassigned for arrival in self._waiting)
        share = max(LIMITS.piece_least, min(self._piece_most, left // (2 * self._crew.size or 1)))
        share -= share % LIMITS.granule
        for arrival in self._waiting:
            if self._horizon is not None:
                start = arrival.peek()
                # In one stream, a blob may be larger than the room: its writer waits instead.
                if arrival.base + min(start + share, arrival.size) > self._horizon():
                    return None
            piece = arrival.take(share)
            if piece is not None:
                return piece
        return None

    def _fetch(self, piece: Piece) -> None:
        begun = time.monotonic()
        try:
            self._retry.call(lambda: self._attempt(piece), position=lambda: piece.position)
        except (ContentError, OSError):
            local = piece.source is not None and piece.source.is_local
            if not (local and piece.arrival.abandon(piece)):
                raise
        except Shed:
            piece.arrival.give_back(piece)
            raise
        except _Elsewhere:
            piece.arrival.give_back(piece)
            self._crew.notify()
        except NetworkError as failure:
            # Some servers refuse one connection more than they like: the others go on.
            if not (failure.transient or failure.unreachable) or not self._crew.shed():
                raise
            piece.arrival.give_back(piece)
            raise Shed from failure
        else:
            if time.monotonic() - begun < _QUICK:
                self._piece_most = min(2 * self._piece_most, self._piece_limit)
            self._settle(piece.arrival, piece)

    def _settle(self, arrival: Arrival, piece: Piece | None) -> None:
        arrival.settle(piece)
        self._crew.notify()

    def _attempt(self, piece: Piece) -> None:
        try:
            self._receive(piece)
        except NetworkError as failure:
            if failure.crowded and self._crew.shed():
                raise Shed from failure
            raise

    def _receive(self, piece: Piece) -> None:
        arrival, source = piece.arrival, piece.source
        assert source is not None
        if piece.position >= piece.stop:
            return
        stream = source.open(piece.position, piece.stop)
        with self._flow.reading(stream, free=source.is_local) as reader:
            whole = not stream.ranged and piece.stop - piece.position < arrival.size
            skip = piece.position - stream.start
            if whole and not arrival.serialise(piece):
                raise _Elsewhere
            while piece.position < piece.stop or (whole and arrival.extend(piece)):
                if self._crew.stopping:
                    return
                data = reader.read(skip or piece.stop - piece.position)
                if not data:
                    raise NetworkError("the connection ended early", transient=True)
                if skip:
                    skip -= len(data)
                    continue
                self._room(arrival, piece.position + len(data))
                arrival.accept(piece, data)
            if piece.stop == arrival.size and reader.read(1):
                raise ContentError(
                    f"layer {arrival.digest} is longer than its {arrival.size} bytes"
                )

    def _room(self, arrival: Arrival, stop: int) -> None:
        """Wait until a stream's reader has made room: only in a blob that comes in one stream."""
        if self._horizon is None:
            return
        crew = self._crew
        with crew.changed:
            while arrival.base + stop > self._horizon() and not crew.stopping:
                if not crew.size:
                    raise NetworkError(
                        "the registry sends whole layers only, and the system grants no threads",
                        "write to a file instead of a stream",
                    )
                crew.changed.wait(1.0)
        if crew.stopping:
            raise Shed
