"""Progress for a terminal: a line for each layer in transfer, and one for all.

Each frame is one write, and written only if it differs from the last one. The cursor stays at the
end of the last line, so that other output can replace the frame.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice

from ...progress import Transfer
from ...units import in_bytes, in_time, percent
from ...values import dataclass
from .console import Console
from .tally import Tally, Totals

_PAUSE = 0.1
_MOST_LINES = 8
_LABEL = 13
_BAR_LEAST, _BAR_MOST = 6, 60
_FIELDS = {"percent": 5, "amounts": 13, "reused": 14, "rate": 9, "left": 12, "time": 7}
"""Texts next to the bar, with fixed widths, so that bars do not change size."""
_VARIANTS = (
    ("percent", "amounts", "reused", "rate", "left"),
    ("percent", "amounts", "rate", "left"),
    ("percent", "rate", "time"),
    ("percent", "time"),
    ("percent",),
)
"""The more room there is, the more is shown."""
_MARGIN = 4
"""Columns left free: a terminal echoes ^C, and wraps a full line."""


@dataclass(frozen=True, slots=True)
class Style:
    """The cells of a bar: fetched, reused, missing."""

    fetched: str
    reused: str
    missing: str

    @classmethod
    def of(cls, encoding: str | None) -> Style:
        """The characters that a terminal with this encoding can display."""
        blocks = cls("█", "▓", "░")
        try:
            (blocks.fetched + blocks.reused + blocks.missing).encode(encoding or "ascii")
        except (UnicodeError, LookupError):
            return cls("#", "=", ".")
        return blocks


class Bar(Console):
    """Draws bars on standard error.

    Args:
        clock: seconds from a fixed moment.
        window: returns columns and lines of the terminal.
        verbose: report finished layers.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        window: Callable[[], os.terminal_size] | None = None,
        *,
        verbose: bool = False,
    ) -> None:
        super().__init__(verbose=verbose)
        self._clock = clock
        self._window = window or _terminal_size
        self._style = Style.of(getattr(sys.stderr, "encoding", None))
        self._tally = Tally()
        self._phase = ""
        self._next = 0.0
        self._drawn: list[str] = []
        self._over = False

    def phase(self, name: str) -> None:
        """Show the phase."""
        self._phase = name
        self._draw()

    def start(self, transfers: Sequence[Transfer]) -> None:
        """Show these transfers from now on."""
        super().start(transfers)
        self._phase = ""
        self._tally = Tally(transfers, self._clock)
        self._next = 0.0
        self.tick()

    def tick(self) -> None:
        """Draw, if it is time for a frame."""
        super().tick()
        now = self._clock()
        if now >= self._next:
            self._next = now + _PAUSE
            self._draw()

    def finish(self) -> None:
        """Clear what was drawn."""
        self._over = True
        self._draw()

    def write(self, text: str) -> None:
        """Queue text to be written above the bars."""
        self.outbox.say(text, self._above)

    def _draw(self) -> None:
        size = self._window()
        lines = self._frame(size.columns - _MARGIN, size.lines)
        self.outbox.show(lambda: self._painted(lines))

    # Called by the outbox, in the order of its writes: only there it is known what is on the
    # screen.

    def _above(self, text: str) -> str:
        erase = self._rise() + "\x1b[J" if self._drawn else ""
        return erase + text + "\n".join(self._drawn)

    def _painted(self, lines: list[str]) -> str:
        if self._over:
            # A thread that is slow to stop may still draw.
            lines = []
        if lines == self._drawn:
            return ""
        text = self._rise() + "\x1b[K\n".join(lines) + "\x1b[J"
        self._drawn = lines
        return text

    def _frame(self, width: int, height: int) -> list[str]:
        if not self._tally.transfers:
            return [self._phase[:width]] if self._phase else []
        totals = self._tally.totals()
        cells, total = self._total(totals, width)
        under_way = (
            transfer
            for transfer in self._tally.transfers
            if cells and totals.layers > 1 and not transfer.done and self._tally.present(transfer)
        )
        shown = islice(under_way, max(0, min(_MOST_LINES, height - 2)))
        return [*(self._row(transfer, cells, width) for transfer in shown), total]

    def _total(self, totals: Totals, width: int) -> tuple[int, str]:
        """The last line, and the number of cells of its bar, which the other bars share."""
        left = "" if totals.seconds_left is None else in_time(totals.seconds_left)
        words = {
            "percent": f"{percent(totals.present, totals.size):3} %",
            "amounts": _of(totals.present, totals.size),
            "reused": f"{in_bytes(totals.reused)} reused" if totals.reused else "",
            "rate": self._phase or f"{in_bytes(totals.rate)}/s",
            "left": "" if self._phase or not left else f"{left} left",
            "time": "" if self._phase else left,
        }
        for variant in _VARIANTS:
            if "reused" in variant and not totals.reused:
                continue
            room = width - _LABEL - 1 - sum(_FIELDS[name] + 2 for name in variant) + 2
            if room >= _BAR_LEAST:
                break
        else:
            return 0, words["percent"][: max(0, width)]
        cells = min(room, _BAR_MOST)
        label = f"{totals.layers_done}/{totals.layers}"
        if totals.layers == 1:
            label = _label(self._tally.transfers[0])
        elif totals.layers < 100:
            label += " layers"
        bar = self._bar(totals.present, totals.reused, totals.size, cells)
        text = "  ".join(words[name] for name in variant if words[name])
        return cells, f"{label:{_LABEL}}{bar} {text}"

    def _row(self, transfer: Transfer, cells: int, width: int) -> str:
        present = self._tally.present(transfer)
        reused = min(present, transfer.reused)
        line = f"{_label(transfer):{_LABEL}}"
        line += f"{self._bar(present, reused, transfer.size, cells)} "
        line += f"{percent(present, transfer.size):3} %"
        for word in (_of(present, transfer.size), f"{in_bytes(reused)} reused" if reused else ""):
            if word and len(line) + 2 + len(word) <= width:
                line += f"  {word}"
        return line[: max(0, width)]

    def _bar(self, present: int, reused: int, size: int, cells: int) -> str:
        full = cells * present // size if size else cells
        old = cells * reused // size if size else 0
        style = self._style
        return style.reused * old + style.fetched * (full - old) + style.missing * (cells - full)

    def _rise(self) -> str:
        """The escape sequence to the start of the last frame."""
        # A terminal that became narrower has wrapped the lines.
        columns = max(1, self._window().columns)
        rows = sum(max(1, -(-len(line) // columns)) for line in self._drawn)
        return f"\r\x1b[{rows - 1}A" if rows > 1 else "\r"


def _label(transfer: Transfer) -> str:
    """A digest shortened like Docker's, or a file's name."""
    name = transfer.digest.removeprefix("sha256:").removeprefix("sha512:")
    return os.path.basename(name)[: _LABEL - 1]


def _of(present: int, size: int) -> str:
    """`12.1/48.5 MB`: both in the unit of the second."""
    whole, unit = in_bytes(size).split()
    factor = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    digits = len(whole.partition(".")[2])
    return f"{present / factor:.{digits}f}/{whole} {unit}"


def _terminal_size() -> os.terminal_size:
    try:
        size = os.get_terminal_size(2)
    except OSError:
        return os.terminal_size((80, 24))
    # A serial console has a size of 0 × 0.
    return os.terminal_size((size.columns or 80, size.lines or 24))
