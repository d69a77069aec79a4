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


def most_behind(leases: Iterable[Lease], latency: float, now: float) -> tuple[Lease, int] | None:
    """The lease that will be the last to end, and how many bytes of it to take over.

    Its reader stops earlier, and so loses its connection: that must be worth it.

    Args:
        leases: those that can be split.
        latency: seconds that pass before the first byte of a lease comes.
        now: seconds from a fixed moment.

    Returns:
        None where nothing would be won.
    """
    leases = list(leases)
    rates = [rate for lease in leases if (rate := lease.rate(now))]
    usual = sum(rates) / len(rates) if rates else 0.0
    best: tuple[float, Lease, int] | None = None
    for lease in leases:
        left = lease.stop - max(lease.position, lease.kept)
        rate = lease.rate(now) or usual
        lasts = left / rate if rate else math.inf
        # While the other part is waited for, this one goes on.
        share = int(left - latency * rate) // 2
        share -= share % LIMITS.granule
        if share < (LIMITS.split_least if rate else LIMITS.piece_least):
            continue
        if share < rate * max(LIMITS.split_saves, latency):
            continue
        if best is None or lasts > best[0]:
            best = lasts, lease, share
    return best and best[1:]
