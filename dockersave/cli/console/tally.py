"""Totals of all transfers, the speed, and the remaining time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise

from ...progress import Transfer
from ...values import dataclass

_MEMORY = 4.0
"""Seconds after which traffic no longer counts for the current rate."""
_LEAST = 1.0
"""Seconds of traffic before the remaining time can be estimated."""
_PAUSE = 0.1
"""The least time between two looks at all transfers, in seconds."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The state of all transfers at one moment. Sizes in bytes, times in seconds.

    Args:
        size: of all blobs together.
        present: how much has arrived; for blobs on the disk, how much was checked.
        reused: how much was reused instead of fetched in this run.
        layers: how many blobs there are.
        layers_done: how many of them are complete and verified.
        rate: current bytes per second from the network, or from the disk if there is no other
            traffic.
        seconds_left: None if unknown.
    """

    size: int
    present: int
    reused: int
    layers: int
    layers_done: int
    rate: float
    seconds_left: float | None


class Tally:
    """Watches transfers.

    Args:
        transfers: what to watch.
        clock: seconds from a fixed moment.
    """

    def __init__(
        self, transfers: Sequence[Transfer] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.transfers = transfers
        self._clock = clock
        # A blob that is complete from the start is only read: the hash is its progress.
        self._read = {
            id(transfer) for transfer in transfers if transfer.present >= transfer.size > 0
        }
        self._samples: deque[_Sample] = deque()
        self._before = (0, 0)
        self.totals()

    def present(self, transfer: Transfer) -> int:
        """How far one transfer is, in bytes."""
        if transfer.done:
            return transfer.size
        if id(transfer) in self._read:
            return int(getattr(transfer, "hashed", transfer.present))
        return transfer.present

    def look(self) -> None:
        """Measure the traffic. Call it often, or the rate is outdated."""
        if not self._samples or self._clock() >= self._samples[-1].moment + _PAUSE:
            self.totals()

    def totals(self) -> Totals:
        """The current totals."""
        present = reused = done = 0
        for transfer in self.transfers:
            here = self.present(transfer)
            present += here
            reused += min(here, transfer.reused)
            done += transfer.done
        # The size of a pipe or a directory grows while it is read.
        size = max(present, sum(transfer.size for transfer in self.transfers))
        self._note(present, present - reused)
        rate = self._rate()
        left = size - present
        known = rate and self._samples[-1].moment - self._samples[0].moment >= _LEAST
        return Totals(
            size=size,
            present=present,
            reused=reused,
            layers=len(self.transfers),
            layers_done=done,
            rate=rate,
            seconds_left=0.0 if not left else left / rate if known else None,
        )

    def _note(self, present: int, fetched: int) -> None:
        now = self._clock()
        samples = self._samples
        # Bytes fetched again after an error count as traffic, too.
        flowed = max(0, present - self._before[0])
        over_the_network = max(0, fetched - self._before[1])
        self._before = present, fetched
        if not samples:
            samples.append(_Sample(now, 0, 0))
            return
        last = samples[-1]
        if len(samples) == 1 and not flowed:
            # The time for connecting says nothing about the speed.
            samples.clear()
        samples.append(_Sample(now, last.flowed + flowed, last.over_the_network + over_the_network))
        while len(samples) > 2 and samples[1].moment <= now - _MEMORY:
            samples.popleft()

    def _rate(self) -> float:
        """A weighted mean over the last seconds, in which the newest counts most.

        It follows changes within a second or two, and bursts do not make it jump.
        """
        now = self._samples[-1].moment
        flowed = over_the_network = weights = 0.0
        for begin, end in pairwise(self._samples):
            # Of a long interval, only the recent part counts.
            length = min(end.moment, now) - max(begin.moment, now - _MEMORY)
            if length <= 0:
                continue
            middle = now - end.moment + length / 2
            weight = (1 - middle / _MEMORY) * length
            weights += weight
            flowed += weight * (end.flowed - begin.flowed) / (end.moment - begin.moment)
            over_the_network += (
                weight
                * (end.over_the_network - begin.over_the_network)
                / (end.moment - begin.moment)
            )
        # Bytes read from the disk say nothing about the network.
        return (over_the_network or flowed) / weights if weights else 0.0


@dataclass(frozen=True, slots=True)
class _Sample:
    """The traffic up to a moment, in bytes."""

    moment: float
    flowed: int
    over_the_network: int
