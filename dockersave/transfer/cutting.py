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


def most_behind(leases: Iterable[Lease], latency: float, now: float) -> tuple[Lease, int] | None:
    """The lease that will end last, and how many bytes of it to take over.

    Its reader stops early and loses its connection, so it must be worth it.

    Args:
        leases: those that can be split.
        latency: seconds before the first byte of a lease arrives.
        now: seconds from a fixed moment.

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
        # While the other part is waited for, this one continues.
        share = int(left - latency * rate) // 2
        share -= share % LIMITS.granule
        if share < (LIMITS.split_least if rate else LIMITS.piece_least):
            continue
        if share < rate * max(LIMITS.split_saves, latency):
            continue
        if best is None or lasts > best[0]:
            best = lasts, lease, share
    return best and best[1:]
