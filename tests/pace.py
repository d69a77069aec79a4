"""How long something took by itself, on a machine that others use as well."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

_PRESSURE = tuple(Path("/proc/pressure") / kind for kind in ("cpu", "io"))
_PROGRESS = re.compile(r"^dockersave: \d+ % of .*\n", re.MULTILINE)
_SLOWEST = 10
"""What others do makes nothing slower than that: the rest is its own fault."""


class Stopwatch:
    """Runs from when it is made.

    A promise such as "within a second" is one about the program, not about how many others want the
    processor. The kernel counts for how long somebody had to wait for a processor or a disk ("some"
    in its documentation of pressure stall information); that is taken off. On an idle machine it is
    next to nothing, so there the promise is tested to the letter; on a busy one, what hangs is
    found. The same goes for a kernel that does not tell (before Linux 4.20, or with `psi=0`).
    """

    def __init__(self) -> None:
        self._begun, self._stalled = time.monotonic(), _stalled()

    @property
    def elapsed(self) -> float:
        """Seconds since."""
        return time.monotonic() - self._begun

    @property
    def own(self) -> float:
        """Seconds since, without those for which others are to be blamed."""
        elapsed, before, now = self.elapsed, self._stalled, _stalled()
        others = elapsed if before is None or now is None else now - before
        return max(elapsed - others, elapsed / _SLOWEST)


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something, which fails after so many seconds that it has not come late but never."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def without_progress(said: str) -> str:
    """Leave out the lines that the command says of its progress where it takes long."""
    return _PROGRESS.sub("", said)


def _stalled() -> float | None:
    """Seconds that one process may have waited at the most since the machine was started."""
    try:
        lines = [path.read_text().splitlines()[0] for path in _PRESSURE]
    except (OSError, IndexError):
        return None
    total = sum(int(line.rpartition("total=")[2]) for line in lines) / 1e6
    # The kernel's figure is the mean of the processors, and all the waiting may be at one.
    return total * (os.cpu_count() or 1)
