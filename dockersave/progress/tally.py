"""Sums over all transfers, the speed, and how long the rest will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import Transfer

_WINDOW = 8.0


@dataclass(frozen=True, slots=True)
class Totals:
    """The state of all transfers at one moment. Sizes in bytes, times in seconds.

    Args:
        size: of all blobs together.
        present: how much of that is here; of blobs that lay on the disk, how much was checked.
        reused: how much of that did not come over the network in this run.
        layers: how many blobs there are.
        layers_done: how many of them are here and verified.
        rate: bytes a second in the last seconds: the network's, or the disk's if all is there.
        seconds_left: None where nobody can tell.
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
        # What is all there before it begins is read, not fetched: the hash is its progress.
        self._read = {
            id(transfer) for transfer in transfers if transfer.present >= transfer.size > 0
        }
        self._samples: deque[tuple[float, int, int]] = deque()
        self.totals()

    def present(self, transfer: Transfer) -> int:
        """How far one transfer is, in bytes."""
        if transfer.done:
            return transfer.size
        if id(transfer) in self._read:
            return int(getattr(transfer, "hashed", transfer.present))
        return transfer.present

    def totals(self) -> Totals:
        """The sums now."""
        present = reused = done = 0
        for transfer in self.transfers:
            here = self.present(transfer)
            present += here
            reused += min(here, transfer.reused)
            done += transfer.done
        # Of what is read from a pipe or a directory, the size is found out meanwhile.
        size = max(present, sum(transfer.size for transfer in self.transfers))
        rate = self._rate(present, present - reused)
        left = size - present
        return Totals(
            size=size,
            present=present,
            reused=reused,
            layers=len(self.transfers),
            layers_done=done,
            rate=rate,
            seconds_left=0.0 if not left else left / rate if rate else None,
        )

    def _rate(self, present: int, fetched: int) -> float:
        now = self._clock()
        samples = self._samples
        samples.append((now, present, fetched))
        while len(samples) > 2 and samples[1][0] < now - _WINDOW:
            samples.popleft()
        begun, present_then, fetched_then = samples[0]
        if now <= begun:
            return 0.0
        # What is read from the disk meanwhile says nothing of the line.
        gained = fetched - fetched_then or present - present_then
        return max(0.0, gained / (now - begun))
