"""What a line is like, and what happened on it, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Shape:
    """What a line is like; 0 stands for no limit.

    Parameters:
        rtt: seconds from here to there and back.
        shared: bytes per second for all connections together, shared out fairly.
        each: bytes per second for each connection.
        reset: each connection is reset after a number of bytes between these two.
        window: bytes that a new connection sends before the first of them is acknowledged
            (RFC 6928: ten segments); it doubles with each round trip, up to twice what the line
            holds. 0: no windows.
        seed: of the resets.
    """

    rtt: float = 0.0
    shared: float = 0.0
    each: float = 0.0
    reset: tuple[float, float] | None = None
    window: int = 14_600
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened on the line, as the client saw it.

    Parameters:
        at: seconds on the monotonic clock.
        kind: open, request, answer (over, as far as one sees: the last byte before the next
            request, or before the end), reset, close.
        connection: its number, from 1 on.
        what: method, path and range of a request.
        size: bytes of an answer, or of all of them.
        since: when the first byte of an answer came.
    """

    at: float
    kind: str
    connection: int
    what: str = ""
    size: int = 0
    since: float = 0.0


@dataclass(slots=True)
class Shaped:
    """A line that stands.

    Parameters:
        port: on 127.0.0.1, where the client connects to.
        events: what has happened on it.
    """

    port: int = 0
    events: list[Event] = field(default_factory=list)

    def of(self, kind: str) -> list[Event]:
        """The events of one kind so far."""
        return [event for event in self.events if event.kind == kind]

    def opened(self) -> float:
        """When the first connection was opened, in seconds on the monotonic clock."""
        return self.of("open")[0].at

    def asked(self, part: str = "/blobs/") -> float:
        """Seconds from the first connection to the first request with `part` in its path."""
        return next(e.at for e in self.of("request") if part in e.what) - self.opened()

    def most_at_once(self) -> int:
        """How many answers were on their way at once, at most."""
        answers = [event for event in self.of("answer") if event.size]
        return max(
            (sum(e.since <= one.since <= e.at for e in answers) for one in answers), default=0
        )


def mbit(rate: float) -> float:
    """Megabits per second in bytes per second."""
    return rate * 125_000
