"""Ranges of bytes, against the sets of bytes that they are."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dockersave.transfer.spans import Span, gaps, merged, total

SIZE = 24
RANGES = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)), max_size=6)


def bytes_of(spans: list[Span]) -> set[int]:
    return {at for start, stop in spans for at in range(start, stop)}


@given(RANGES)
def test_merged_ranges_are_the_same_bytes(spans: list[Span]) -> None:
    result = merged(spans)
    assert bytes_of(result) == bytes_of(spans)
    assert total(result) == len(bytes_of(spans))
    assert all(start < stop for start, stop in result)
    assert all(one[1] < other[0] for one, other in pairwise(result))


@given(RANGES, st.integers(0, SIZE))
def test_gaps_are_all_other_bytes(spans: list[Span], size: int) -> None:
    result = gaps(spans, size)
    assert bytes_of(result) == set(range(size)) - bytes_of(spans)
    assert result == merged(result)


def test_nothing() -> None:
    assert merged([]) == merged([(5, 5), (7, 3)]) == []
    assert gaps([], 0) == []
    assert gaps([], 3) == [(0, 3)]
    assert total([]) == 0
