"""How large the pieces are that a blob is fetched in, and which one is worth being shared. Pure.

Pieces are large, so that a connection is not idle for a round trip between many small ones. That
the last ones end together is seen to by splitting: a connection that has nothing to do takes over
half of what would be the last to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..limits import LIMITS
from .blobs import Lease
from .spans import Span


def piece_of(gap: Span, share: int, most: int) -> Span:
    """The part of a gap that one connection is to fetch.

    Args:
        gap: what is missing.
        share: bytes that are each connection's part of all that is missing.
        most: bytes that may be asked for at once.
    """
    start, stop = gap
    amount = max(LIMITS.piece_least, min(most, share - share % LIMITS.granule))
    return start, stop if stop - start < amount + LIMITS.piece_least else start + amount


_FIRST_WINDOW = 14_600
"""Bytes that come before the first of them is acknowledged, ten segments (RFC 6928)."""
WARM = 0.2
"""Seconds that a connection may idle before it begins slowly again (RFC 5681, section 4.1)."""


def most_behind(
    leases: Iterable[Lease], latency: float, now: float, *, is_warm: bool = True
) -> tuple[Lease, int] | None:
    """The lease that will be the last to end, and how many bytes of it to take over.

    Its reader stops earlier, and so loses its connection: that must be worth it.

    Args:
        leases: those that can be split.
        latency: seconds that pass before the first byte of a lease comes.
        now: seconds from a fixed moment.
        is_warm: whether there is a connection for it that was used a moment ago.

    Returns:
        None where nothing would be won.
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
    """Seconds until a connection that begins has brought so much: its window doubles each time."""
    return latency * (1 + math.log2(1 + amount / _FIRST_WINDOW))
