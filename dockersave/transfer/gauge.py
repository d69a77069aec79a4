"""How many connections to use, judging by what adding more has brought so far. Pure."""

from __future__ import annotations

_FIRST, _FIRST_FAR = 2, 8
FAR = 0.003
"""From this round trip time on, in seconds, a network is certainly slower than the processor."""
_LOOK = 0.04
_CAPPED = 1.5
"""The least speed-up from doubling connections if each of them is capped."""


class Gauge:
    """Doubles the connections as long as it pays.

    If the network is faster than the processor, more connections only cost: every record is handed
    from thread to thread. More than `usual` are opened only if each connection turns out to be
    capped, so that more of them are the only way to use it fully.

    Args:
        usual: connections to use if the network is the bottleneck.
        most: connections to use if each is capped.
        cores: the number of processors.
        latency: seconds of a round trip; None if unknown.
        first: connections to start with; None for few, unless the round trip is long.
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
        """Whether the processor is the bottleneck."""
        self._look = max(_LOOK, 1.5 * (latency or 0.0))
        self._since: tuple[float, float, int] | None = None
        self._rate = 0.0

    def look(self, now: float, cpu: float, received: int) -> int:
        """Connections to use from now on.

        Args:
            now: seconds from a fixed moment.
            cpu: processor time of this run in seconds.
            received: bytes received over the network.
        """
        if self._since is None:
            self._since = now, cpu, received
        begun, cpu_then, received_then = self._since
        took = now - begun
        if took >= self._look or (received and not received_then):
            # The first bytes say nothing about the rate: they include waiting.
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
