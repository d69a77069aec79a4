"""How long a connection may keep its reader waiting. Pure, but for the socket's own timeout.

A socket's timeout is for each call: who sends a byte now and then is never found out by it. A pace
adds the waiting up, and every read and write of a connection goes through it, so that no way of
reading (a head, a chunk's size, a trailer, a proxy's answer) can forget it. Time that the caller
spends elsewhere, writing to a slow disk, is not counted.
"""

from __future__ import annotations

from collections.abc import Callable

from ..limits import LIMITS

_EXACT = 1 / 8
"""The part of a timeout by which it may be exceeded: fast reads need no system call more so."""


class Stalled(TimeoutError):
    """Next to nothing came.

    Args:
        seconds: that were waited for it.
        in_body: whether it had begun to come: what is left is the content itself.
    """

    def __init__(self, seconds: float, *, in_body: bool) -> None:
        super().__init__(f"almost no data for {seconds:g} seconds")
        self.seconds = seconds
        self.in_body = in_body


class Pace:
    """The pace of one connection, which one thread reads at a time.

    There are two: a step (a TLS handshake, a proxy's answer, a request, a head with all that comes
    before it) has one timeout as a whole; a body must bring `LIMITS.read_least` bytes in each.

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
        """Whether nothing is counted: a read of `LIMITS.read_least` bytes changes nothing then."""

    def step(self, within: float | None = None) -> None:
        """Something begins that is to be done with within one timeout.

        Args:
            within: seconds, where it has less than that.
        """
        self._in_body = False
        self._renew()
        if within is not None and within < self._timeout:
            # As if the rest had been waited for already.
            self._waited = self._timeout - within
            self._adjust(within)
            self._is_short = True

    def body(self) -> None:
        """A body begins."""
        self._in_body = True
        self._renew()

    def spent(self, seconds: float, count: int) -> None:
        """Count what a call has taken, and what it brought.

        Args:
            seconds: that it took.
            count: bytes; none at the end of the connection.

        Raises:
            Stalled: that was too slow.
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
        """What to raise where nothing came in time."""
        return Stalled(self._timeout, in_body=self._in_body)

    def _renew(self) -> None:
        self._waited = 0.0
        self._come = 0
        self.calm = self._in_body
        if self._is_short:
            self._is_short = False
            self._adjust(self._timeout)
