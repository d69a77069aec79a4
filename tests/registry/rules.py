"""Which faults strike which requests, and how often."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tests.registry.effects import EFFECTS, State, Strike
from tests.registry.faults import Fault
from tests.registry.wire import Request, Response


class Faults:
    """The faults of one registry, and how often each has struck.

    Parameters:
        state: what some of them change.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []

    def add(self, *faults: Fault) -> None:
        """Switch faults on; they apply in this order.

        Raises:
            ValueError: there is no fault of that name.
        """
        for fault in faults:
            if fault.name not in EFFECTS:
                raise ValueError(f"no such fault: {fault.name}")
        with self._lock:
            self._entries += [_Entry(fault, random.Random(fault.seed)) for fault in faults]

    def clear(self) -> None:
        """Switch all faults off, and forget how often they struck."""
        with self._lock:
            self._entries.clear()

    def __iter__(self) -> Iterator[Fault]:
        return iter([entry.fault for entry in self._entries])

    def struck(self, name: str | None = None) -> int:
        """Return how often the faults (of this name) have struck."""
        with self._lock:
            return sum(entry.struck for entry in self._entries if name in (None, entry.fault.name))

    def apply(self, early: bool, request: Request, response: Response, active: int) -> None:
        """Let the faults strike that this request meets.

        Parameters:
            early: those that come before the registry looks at the request, or those after.
            request: what was asked for.
            response: what is going to be sent; changed in place.
            active: how many requests are being answered at this moment.
        """
        for entry in tuple(self._entries):
            fault, what = entry.fault, EFFECTS[entry.fault.name]
            if what.early != early or not fault.matches(request, active):
                continue
            strike = Strike(fault, request, response, self._state)
            with self._lock:
                strikes = what.applies(strike) and entry.count()
            if strikes:
                request.faults.append(fault.name)
                what.apply(strike)


@dataclass(slots=True)
class _Entry:
    fault: Fault
    dice: random.Random
    seen: int = 0
    struck: int = 0

    def count(self) -> bool:
        self.seen += 1
        strikes = (
            self.seen > self.fault.skip
            and (self.fault.times is None or self.struck < self.fault.times)
            and self.dice.random() < self.fault.probability
        )
        self.struck += strikes
        return strikes
