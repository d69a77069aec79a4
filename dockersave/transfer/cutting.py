"""The size of the pieces of a blob, and when it is worth splitting one. Pure.

Pieces are large, so that connections are not idle for a round trip between many small ones.
Splitting makes the last ones end together: an idle connection takes over half of the lease that
would end last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..limits import LIMITS
from .blobs import Lease
from .spans import Span


def piece_of(gap: Span, share: int, most: int) -> Span:
    """The part of a gap that one connection should fetch.

    Args:
        gap: the missing range.
        share: each connection's share of all missing bytes.
        most: the largest range of one request, in bytes.
    """
    start, stop = gap
    amount = max(LIMITS.piece_least, min(most, share - share % LIMITS.granule))
    return start, stop if stop - start < amount + LIMITS.piece_least else start + amount


_FIRST_WINDOW = 14_600
"""Bytes that come before the first of them is acknowledged, ten segments (RFC 6928)."""
_HANDSHAKES = 2
"""Round trips before a connection's first request: of TCP and of TLS (RFC 8446, section 2)."""
WARM = 0.2
"""Seconds that a connection may idle before it begins slowly again (RFC 5681, section 4.1)."""


def most_behind(
    leases: Iterable[Lease], latency: float, now: float, *, is_warm: bool = True
) -> tuple[Lease, int] | None:
    """The lease that will end last, and how many bytes of it to take over.

    Its reader stops early and loses its connection, so it must be worth it.

    Args:
        leases: those that can be split.
        latency: seconds before the first byte of a lease arrives.
        now: seconds from a fixed moment.
        is_warm: whether there is a connection for it that was used a moment ago.

    Returns:
        None if it is not worth it.
    """
    leases = list(leases)
    rates = [rate for lease in leases if (rate := lease.rate(now))]
    usual = sum(rates) / len(rates) if rates else 0.0
    best: tuple[float, Lease, int] | None = None
    for lease in leases:
        left = lease.stop - max(lease.position, lease.claimed)
        rate = lease.rate(now) or usual
        lasts = left / rate if rate else math.inf
        share = _share_of(left, rate, latency, is_warm=is_warm)
        if share < (LIMITS.split_least if rate else LIMITS.piece_least):
            continue
        if share < rate * max(LIMITS.split_saves, latency):
            continue
        if best is None or lasts > best[0]:
            best = lasts, lease, share
    return best and best[1:]


def _share_of(left: int, rate: float, latency: float, *, is_warm: bool) -> int:
    """What another connection can bring while the first one, which goes on, brings the rest."""
    share = int(left - latency * rate) // 2
    if not is_warm:
        while share >= LIMITS.split_least and share > left - rate * _slow_start(share, latency):
            share -= share // 4
    return share - share % LIMITS.granule


def _slow_start(amount: int, latency: float) -> float:
    """Seconds until a new connection has brought so much: its window doubles each round trip."""
    return latency * (_HANDSHAKES + 1 + math.log2(1 + amount / _FIRST_WINDOW))
