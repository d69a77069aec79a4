"""A path of a merged file system."""

from __future__ import annotations

from collections.abc import Callable

from .headers import Member
from .nodes import KIND, LAYER, OFFSET


class Entry:
    """A path of the merged file system.

    Args:
        path: from the root, without a slash at either end.
        depth: how many directories it is in.
        place: as in `nodes`.
        same: an earlier path of the same file, or empty.
        read: reads its headers, when they are needed.
    """

    __slots__ = ("_member", "_read", "depth", "kind", "layer", "offset", "path", "same")

    def __init__(
        self, path: bytes, depth: int, place: int, same: bytes, read: Callable[[], Member]
    ) -> None:
        self.path = path
        self.depth = depth
        self.layer = place >> LAYER
        self.offset = place & OFFSET
        self.kind = place & KIND
        self.same = same
        self._read = read
        self._member: Member | None = None

    @property
    def member(self) -> Member:
        """What it is."""
        if self._member is None:
            self._member = self._read()
        return self._member
