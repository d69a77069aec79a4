"""Ranges of bytes: sorted lists of (start, stop), stop exclusive, that never touch. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same bytes in as few sorted ranges as possible."""
    result: list[Span] = []
    for start, stop in sorted(spans):
        if start >= stop:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        else:
            result.append((start, stop))
    return result


def gaps(spans: Iterable[Span], size: int) -> list[Span]:
    """The parts of `size` bytes that are in none of the ranges."""
    result: list[Span] = []
    position = 0
    for start, stop in merged(spans):
        if start >= size:
            break
        if start > position:
            result.append((position, start))
        position = max(position, stop)
    if position < size:
        result.append((position, size))
    return result


def total(spans: Iterable[Span]) -> int:
    """Their total size in bytes."""
    return sum(stop - start for start, stop in spans)
