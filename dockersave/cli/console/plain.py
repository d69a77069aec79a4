"""Progress for a log: a line now and then, less often over time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ...progress import Transfer
from ...units import in_bytes, in_time, percent
from .console import Console, as_text
from .tally import Tally

_FIRST, _LONGEST = 2.0, 60.0


class Plain(Console):
    """Writes a line after 2, 4, 8 … seconds, and then once a minute.

    Args:
        clock: seconds from a fixed moment.
        verbose: report finished layers.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, verbose: bool = False
    ) -> None:
        super().__init__(verbose=verbose)
        self._clock = clock
        self._tally = Tally()
        self._pause = _FIRST
        self._next = clock() + _FIRST

    def start(self, transfers: Sequence[Transfer]) -> None:
        """Watch these transfers."""
        super().start(transfers)
        self._tally = Tally(transfers, self._clock)

    def tick(self) -> None:
        """Write a line if it is due."""
        super().tick()
        self._tally.look()
        now = self._clock()
        if now < self._next:
            return
        self._pause = min(2 * self._pause, _LONGEST)
        self._next = now + self._pause
        totals = self._tally.totals()
        line = f"{percent(totals.present, totals.size)} % of {in_bytes(totals.size)}"
        if totals.layers > 1:
            line += f", {totals.layers_done} of {totals.layers} layers"
        if totals.reused:
            line += f", {in_bytes(totals.reused)} reused"
        line += f", {in_bytes(totals.rate)}/s"
        if totals.seconds_left is not None:
            line += f", {in_time(totals.seconds_left)} left"
        text = as_text(line)
        self.outbox.show(lambda: text)
