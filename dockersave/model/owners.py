"""Which owners of a host stand for the owners of an image. Pure.

Source: newuidmap(1), and user_namespaces(7), "User and group ID mappings": ranges, each with the
first id inside, the first id outside, and how many there are. No id is in two of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import UsageError, shown
from ..spelling import argument

_RANGE = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})")
_END = (1 << 32) - 1
"""The id after the largest one; it means none (chown(2))."""


class OwnerRange(NamedTuple):
    """Some owners.

    Args:
        inside: the first of them, in the image.
        outside: the one that stands for it.
        size: how many there are.
    """

    inside: int
    outside: int
    size: int

    def overlaps(self, other: OwnerRange) -> bool:
        """Whether an owner is in both of them, in the image or on the host."""
        return any(
            start < begin + other.size and begin < start + self.size
            for start, begin in ((self.inside, other.inside), (self.outside, other.outside))
        )


def parse_owner_map(ranges: Sequence[str]) -> tuple[OwnerRange, ...]:
    """Parse ranges of owners.

    Args:
        ranges: each `INSIDE:OUTSIDE:COUNT`.

    Raises:
        UsageError: one is malformed, or two of them have an id in common.
    """
    found: list[OwnerRange] = []
    for text in ranges:
        match = _RANGE.fullmatch(text)
        made = OwnerRange(*map(int, match.groups())) if match else OwnerRange(0, 0, 0)
        if not made.size or max(made.inside, made.outside) + made.size > _END:
            raise UsageError(
                f"{argument('owner_map', repr(shown(text)))} is not INSIDE:OUTSIDE:COUNT",
                f"write {argument('owner_map', '0:100000:65536')}, as for newuidmap",
            )
        if any(map(made.overlaps, found)):
            raise UsageError(
                f"{argument('owner_map', repr(text))} has an owner in common with another one",
                "each of them stands for one other",
            )
        found.append(made)
    return tuple(found)
