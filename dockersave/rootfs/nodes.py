"""The names of a file system, by their directories: compact, and found by hashing. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from ..archive.read.headers import DIRECTORY
from ..errors import ContentError, shown
from ..limits import LIMITS
from .headers import Member

ROOT = 0
UNLISTED = 0xFFFFFFFF
"""The next sibling of a node that is not in its directory's list."""
LAYER = 40
KIND = 0xFF
IMPLICIT = 0x100
OFFSET = (1 << LAYER) - 1 - 0x1FF
"""A place is one number: a layer, the offset of a header, which is a multiple of 512, and in its
low bits the kind, or that there is no header: a directory that no layer describes."""
EMPTY_DIRECTORY = Member(b"", DIRECTORY, 0o755, 0, 0, 0, b"", 0, 0, (0, 0), {})
"""The attributes of such a directory."""


class Entry:
    """A path of the merged file system.

    Args:
        path: from the root, without a slash at either end.
        depth: how many directories it is in.
        place: see `LAYER`.
        same: an earlier path of the same file, or empty.
        read: reads its headers, when they are needed.
        is_shared: whether there may be other paths of the same file.
    """

    __slots__ = (
        *("_member", "_read", "depth", "is_shared"),
        *("kind", "layer", "offset", "path", "same"),
    )

    def __init__(
        self,
        path: bytes,
        depth: int,
        place: int,
        same: bytes,
        read: Callable[[], Member],
        *,
        is_shared: bool = False,
    ) -> None:
        self.path = path
        self.depth = depth
        self.layer = place >> LAYER
        self.offset = place & OFFSET
        self.kind = place & KIND
        self.same = same
        self.is_shared = is_shared
        self._read = read
        self._member: Member | None = None

    @property
    def member(self) -> Member:
        """What it is."""
        if self._member is None:
            self._member = self._read()
        return self._member


class Nodes:
    """All names, and in which directory each is.

    A node is a name in a directory. Nodes are numbers, and their fields are in arrays: some 50
    bytes each. They are never removed: one that is absent has no place.
    """

    def __init__(self) -> None:
        self._parent = array("I", [ROOT])
        self._start = array("I", [0])
        self._length = array("B", [0])
        self._place = array("Q", [IMPLICIT | DIRECTORY])
        self._size = array("Q", [0])
        self._touched = array("H", [0])
        """The number of the last layer that has it, or something in it, counted from one."""
        self._child = array("I", [0])
        self._next = array("I", [0])
        self._names = bytearray()
        self._table = array("I", bytes(4 << 10))
        """Nodes by directory and name: open addressing, never more than half full."""

    def _name(self, node: int) -> bytes:
        start = self._start[node]
        return bytes(self._names[start : start + self._length[node]])

    def _path(self, node: int) -> bytes:
        parts = []
        while node != ROOT:
            parts.append(self._name(node))
            node = self._parent[node]
        return b"/".join(reversed(parts))

    def _sorted(self, directory: int) -> list[int]:
        """What is in a directory, last name first."""
        nodes = [node for node in self._listed(directory) if self._place[node]]
        nodes.sort(key=self._name, reverse=True)
        return nodes

    def _listed(self, directory: int) -> Iterator[int]:
        node = self._child[directory]
        while node:
            # The caller may take it out of the list.
            following = self._next[node]
            yield node
            node = following

    def _remove(self, node: int) -> None:
        """Make a node and everything in it absent."""
        pending = [node]
        while pending:
            node = pending.pop()
            self._place[node] = 0
            for inner in self._listed(node):
                self._next[inner] = UNLISTED
                pending.append(inner)
            self._child[node] = 0

    def _slot(self, directory: int, name: bytes) -> int:
        """Where a node is in the table, or would be."""
        table, mask = self._table, len(self._table) - 1
        names, length = self._names, len(name)
        slot = hash((directory, name)) & mask
        while node := table[slot]:
            if self._parent[node] == directory and self._length[node] == length:
                start = self._start[node]
                if names[start : start + length] == name:
                    break
            slot = (slot + 1) & mask
        return slot

    def _find(self, directory: int, name: bytes) -> int:
        """The node of a name, present or absent; 0 if there never was one."""
        return self._table[self._slot(directory, name)]

    def _new(self, directory: int, name: bytes, slot: int) -> int:
        """Make a node, for a name that has none, and whose slot is that."""
        if len(name) > LIMITS.rootfs_name:
            raise ContentError(f"{shown(name.decode('utf-8', 'replace'))} is too long a name")
        node = len(self._parent)
        if node >= LIMITS.rootfs_entries:
            raise ContentError(f"the layers have more than {LIMITS.rootfs_entries} paths")
        if len(self._names) + len(name) > LIMITS.rootfs_names:
            raise ContentError(f"the layers' names have more than {LIMITS.rootfs_names} bytes")
        if 2 * node >= len(self._table):
            self._grow()
            slot = self._slot(directory, name)
        self._table[slot] = node
        self._parent.append(directory)
        self._start.append(len(self._names))
        self._length.append(len(name))
        self._names += name
        self._place.append(0)
        self._size.append(0)
        self._touched.append(0)
        self._child.append(0)
        self._next.append(UNLISTED)
        return node

    def _grow(self) -> None:
        self._table = array("I", bytes(8 * len(self._table)))
        for node in range(1, len(self._parent)):
            self._table[self._slot(self._parent[node], self._name(node))] = node
