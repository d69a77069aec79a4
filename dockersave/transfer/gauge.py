"""How many connections a line is worth, from what more of them brought so far. Pure."""

from __future__ import annotations

_FIRST, _FIRST_FAR = 2, 8
FAR = 0.003
"""A round trip from which on a line is sure to be slower than the processor, in seconds."""
_LOOK = 0.04
_CAPPED = 1.5
"""How much faster twice as many connections are, at least, where each of them is capped."""


class Gauge:
    """Doubles the connections for as long as it pays.

    On a line that is faster than the processor more connections only cost: each record of each is
    handed from thread to thread. And a registry is asked for more than `usual` only where each
    connection is seen to be capped, so that more of them are the only way to use the line.

    Args:
        usual: connections that are used if it is the line that keeps us waiting.
        most: connections that are used if each is capped.
        cores: processors.
        latency: seconds that a round trip takes; None if nobody knows.
        first: connections to begin with; None for few, unless the line is far.
    """

    def __init__(
        self,
        usual: int,
        most: int,
        cores: int,
        latency: float | None = None,
        *,
        first: int | None = None,
    ) -> None:
        self._usual = usual
        self._most = most
        self._busy = max(0.6, 0.3 * cores)
        far = latency is not None and latency > FAR
        self.connections = min(usual, first or (_FIRST_FAR if far else _FIRST))
        self.is_fast = False
        """Whether it is the processor that keeps us waiting."""
        self._look = max(_LOOK, 1.5 * (latency or 0.0))
        self._since: tuple[float, float, int] | None = None
        self._rate = 0.0

    def look(self, now: float, cpu: float, received: int) -> int:
        """Connections to use from now on.

        Args:
            now: seconds from a fixed moment.
            cpu: seconds that the processors have spent on this run.
            received: bytes that have come over the network.
        """
        if self._since is None:
            self._since = now, cpu, received
        begun, cpu_then, received_then = self._since
        took = now - begun
        if took >= self._look or (received and not received_then):
            # What came first says nothing of the rate: it was waited for.
            self._since = now, cpu, received
            self.is_fast = cpu - cpu_then >= self._busy * took
            if not self.is_fast:
                self._grow((received - received_then) / took if received_then else 0.0)
        return self.connections

    def _grow(self, rate: float) -> None:
        before, self._rate = self._rate, rate
        if self.connections < self._usual:
            self.connections = min(2 * self.connections, self._usual)
        elif self.connections < self._most and before and rate >= _CAPPED * before:
            self.connections = min(2 * self.connections, self._most)
