"""How long a connection may keep its reader waiting. Pure, except for the socket's own timeout.

A socket's timeout applies to each call: it never catches a server that sends a byte now and then. A
pace adds up the waiting, and every read and write of a connection goes through it, whatever is
being read (a head, a chunk's size, a trailer, a proxy's response). Time that the caller spends
elsewhere, such as writing to a slow disk, is not counted.
"""

from __future__ import annotations

from collections.abc import Callable

from ...limits import LIMITS

_EXACT = 1 / 8
"""The fraction by which a timeout may be exceeded: saves fast reads a system call."""


class Stalled(TimeoutError):
    """Too little data arrived.

    Args:
        seconds: how long it was waited for.
        in_body: whether the body had begun.
    """

    def __init__(self, seconds: float, *, in_body: bool) -> None:
        super().__init__(f"almost no data for {seconds:g} seconds")
        self.seconds = seconds
        self.in_body = in_body


class Pace:
    """The pace of one connection, which is read by one thread at a time.

    There are two kinds: a step (a TLS handshake, a proxy's response, a request, a head with its
    interim responses) has one timeout as a whole; a body must bring `LIMITS.read_least` bytes
    within each timeout.

    Args:
        timeout: seconds.
        adjust: sets how long the next call may block, in seconds.
    """

    __slots__ = ("_adjust", "_come", "_in_body", "_is_short", "_timeout", "_waited", "calm")

    def __init__(self, timeout: float, adjust: Callable[[float], None]) -> None:
        self._timeout = timeout
        self._adjust = adjust
        self._in_body = self._is_short = False
        self._waited = 0.0
        self._come = 0
        self.calm = False
        """Whether nothing has been counted, so that a read of `LIMITS.read_least` bytes changes
        nothing."""

    def step(self, within: float | None = None) -> None:
        """Start a step, which must finish within one timeout.

        Args:
            within: seconds, if it has less than that.
        """
        self._in_body = False
        self._renew()
        if within is not None and within < self._timeout:
            # As if the rest of the timeout had already passed.
            self._waited = self._timeout - within
            self._adjust(within)
            self._is_short = True

    def body(self) -> None:
        """Start a body."""
        self._in_body = True
        self._renew()

    def spent(self, seconds: float, count: int) -> None:
        """Count the time that a call took, and the bytes that it brought.

        Args:
            seconds: its duration.
            count: bytes; none at the end of the connection.

        Raises:
            Stalled: it was too slow.
        """
        self._waited += seconds
        self._come += count
        if self._in_body and self._come >= LIMITS.read_least:
            self._renew()
            return
        self.calm = False
        left = self._timeout - self._waited
        if left <= 0 and count:
            raise self.stalled()
        if self._waited > self._timeout * _EXACT:
            self._adjust(max(left, 0.001))
            self._is_short = True

    def stalled(self) -> Stalled:
        """The exception if nothing came in time."""
        return Stalled(self._timeout, in_body=self._in_body)

    def _renew(self) -> None:
        self._waited = 0.0
        self._come = 0
        self.calm = self._in_body
        if self._is_short:
            self._is_short = False
            self._adjust(self._timeout)
