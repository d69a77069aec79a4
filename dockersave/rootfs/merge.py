"""Layers, applied one above the other to a virtual file system. No content is touched.

Source: OCI image specification, layer.md, "Applying Changesets" and "Whiteouts". Where it leaves
something open, this does as containerd and umoci do:

- A directory above a directory changes its attributes; anything else above anything is replaced,
  also a directory above a symbolic link to one.
- Whiteouts and opaque directories hide lower layers only, wherever in the layer they stand.
- The way to a member follows symbolic links, which never leave the root.
- A hard link is another name of the file that has the name at that moment, of any layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from ..archive.read.headers import DIRECTORY, HARD_LINK, SYMBOLIC_LINK
from ..archive.tar import BLOCK, padding
from ..errors import ContentError, NotFoundError, shown
from ..limits import LIMITS
from .headers import Content, Headers, Member
from .nodes import EMPTY_DIRECTORY, IMPLICIT, KIND, LAYER, OFFSET, ROOT, UNLISTED, Entry, Nodes
from .owners import owned

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_AUFS_LINKS = b".wh..wh.plnk"
"""What is in it is only for hard links of the same layer, as in Docker and containerd."""
_STEPS_BETWEEN = 4096
"""How many steps are between two checks."""
_NEAR = 4096
"""How many bytes to read for the headers of one member."""


class Tree(Nodes):
    """A file system made of layers.

    Args:
        layers: bottom first.
        check: called now and then; may raise to stop.
        members: the members of the layer with that number, each with the offset of its headers; by
            default, what its headers say.

    Raises:
        ContentError: they are not what layers are, or exceed a limit.
    """

    def __init__(
        self,
        layers: Sequence[Content],
        check: Callable[[], object] = lambda: None,
        members: Callable[[int], Iterable[tuple[int, Member]]] | None = None,
    ) -> None:
        super().__init__()
        self._layers = layers
        self._check = check
        self._near = [Headers(layer, _NEAR) for layer in layers]
        self._shared: set[int] = set()
        """Places of files with several names."""
        self._number = self._steps = self._headers = 0
        self._is_sparse = False
        self._pruned: set[int] = set()
        self.owners: Sequence[tuple[int, int, int]] = ()
        """Who stands for the owners, as in `owners.owned`; by default, they do themselves."""
        self._wanted: set[int] = {ROOT}
        self._above: set[int] = set()
        self._last: tuple[bytes, int] | None = None
        members = members or (lambda number: Headers(layers[number]))
        for number in range(len(layers)):
            self._apply(number, members(number))
        del self._pruned

    # Reading

    def select(self, paths: Sequence[str]) -> None:
        """From now on, `entries` has only these paths, all that is in them, and their parents.

        Args:
            paths: from the root. Links on the way are followed; the last name is not.

        Raises:
            NotFoundError: there is no such path.
        """
        self._wanted, self._above = set(), set()
        for path in paths:
            node = self._node(os.fsencode(path), follow=False)
            if node is None:
                raise NotFoundError(
                    f"the image has no {shown(path)}",
                    "write the path as in the image, such as etc/os-release",
                )
            self._wanted.add(node)
            while node != ROOT:
                node = self._parent[node]
                self._above.add(node)

    def provide(self, paths: Iterable[str]) -> None:
        """Add directories, if nothing is there. Links are followed, and never leave the root.

        Args:
            paths: from the root.

        Raises:
            ContentError: they have too long names, too many names or links.
        """
        for path in paths:
            self._walk(_parts(path.encode()), create=True)

    def entries(self) -> Iterator[Entry]:
        """All paths, each directory before what is in it, and names in the order of their bytes.

        Raises:
            ContentError: a path is too long or too deep.
        """
        self._steps = 0
        first: dict[int, int] = {}
        if self.owners or not self._place[ROOT] & IMPLICIT:
            yield Entry(b"", 0, self._place[ROOT], b"", partial(self._owned, ROOT))
        stack = [(b"", self._sorted(ROOT), ROOT in self._wanted)]
        while stack:
            prefix, nodes, is_whole = stack[-1]
            if not nodes:
                stack.pop()
                continue
            node = nodes.pop()
            is_whole = is_whole or node in self._wanted
            if not is_whole and node not in self._above:
                continue
            place = self._place[node]
            path = prefix + self._name(node)
            if len(path) >= LIMITS.path or len(stack) > LIMITS.rootfs_depth:
                raise ContentError(f"{_shown(path)} is too long or too deep a path")
            same, is_shared = b"", place in self._shared
            if is_shared:
                known = first.setdefault(place, node)
                same = self._path(known) if known != node else b""
            read = partial(self._owned, node)
            yield Entry(path, len(stack) - 1, place, same, read, is_shared=is_shared)
            if place & KIND == DIRECTORY:
                stack.append((path + b"/", self._sorted(node), is_whole))

    def find(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """What is at a path, the links on its way followed; None if that has no entry.

        Args:
            path: from the root.
            follow: whether its last name is followed, too.
        """
        self._steps = 0
        node = self._node(path, follow=follow)
        if node is None or not self._is_selected(node):
            return None
        found = self._path(node)
        return Entry(found, found.count(b"/"), self._place[node], b"", partial(self._owned, node))

    def _is_selected(self, node: int) -> bool:
        above = node
        while above != ROOT and above not in self._wanted:
            above = self._parent[above]
        return above in self._wanted or node in self._above

    def _node(self, path: bytes, *, follow: bool) -> int | None:
        *parts, name = _parts(path) or [b".."]
        if follow or name == b"..":
            return self._walk([*parts, name], create=False)
        above = self._walk(parts, create=False)
        node = 0 if above is None else self._find(above, name)
        return node if node and self._place[node] else None

    @property
    def holes(self) -> int:
        """How much of the files' content are holes, in bytes."""
        if not self._is_sparse:
            return 0
        members = (entry.member for entry in self.entries() if not entry.same)
        return sum(member.size - member.stored for member in members)

    @property
    def content(self) -> int:
        """How much content the files have together, each rounded up to blocks of 512, in bytes."""
        return sum(BLOCK + size + padding(size) for size in self._sizes())

    @property
    def size(self) -> int:
        """How much content the files have together, without holes, in bytes."""
        return sum(self._sizes())

    def _sizes(self) -> Iterator[int]:
        if ROOT not in self._wanted:
            yield from (entry.member.stored for entry in self.entries() if not entry.same)
            return
        seen: set[int] = set()
        for place, size in zip(self._place, self._size, strict=True):
            if place and place not in seen:
                yield size
                if place in self._shared:
                    seen.add(place)

    def _owned(self, node: int) -> Member:
        member = self._member(node)
        return owned(member, self._path(node), self.owners) if self.owners else member

    def _member(self, node: int) -> Member:
        place = self._place[node]
        if place & IMPLICIT:
            return EMPTY_DIRECTORY
        offset = place & OFFSET
        member = self._near[place >> LAYER].at(offset)
        if member is None:
            raise ContentError("a layer was changed in the meantime")
        self._step((member.content - offset) // BLOCK + len(member.pieces))
        return member

    def _step(self, count: int = 1) -> None:
        """Count what takes time: names that are followed, blocks of headers that are read again.

        Raises:
            ContentError: it is too much.
        """
        before = self._steps
        self._steps += count
        if self._steps > LIMITS.rootfs_steps:
            raise ContentError("the layers take too many steps to apply")
        if before // _STEPS_BETWEEN != self._steps // _STEPS_BETWEEN:
            self._check()

    # Applying a layer

    def _apply(self, number: int, headers: Iterable[tuple[int, Member]]) -> None:
        self._number = number
        self._pruned.clear()
        self._last = None
        for offset, member in headers:
            self._headers += 1
            self._step()
            if self._headers > LIMITS.rootfs_headers:
                raise ContentError(f"the layers have more than {LIMITS.rootfs_headers} members")
            self._add(offset, member)
        if node := self._find(ROOT, _AUFS_LINKS):
            self._remove(node)

    def _add(self, offset: int, member: Member) -> None:
        parts = _parts(member.name)
        if b".." in parts or len(member.name) > LIMITS.path:
            raise ContentError(f"a layer has a member with an unsafe name: {_shown(member.name)}")
        place = self._number << LAYER | offset | member.kind
        if not parts:
            if member.kind == DIRECTORY:
                self._place[ROOT] = place
            return
        name = parts.pop()
        if name.startswith(_WHITEOUT):
            self._hide(parts, name)
            return
        is_inside = b"/.wh." in member.name or member.name.startswith(_WHITEOUT)
        if is_inside and parts != [_AUFS_LINKS]:
            # Nothing is in a whiteout.
            return
        size = member.stored
        self._is_sparse |= member.sparse_map is not None
        if member.kind == HARD_LINK:
            place, size = self._linked(member)
        self._put(self._directory(parts), name, place, size)

    def _directory(self, parts: list[bytes]) -> int:
        """The directory of a member, made if it does not exist."""
        path = b"/".join(parts)
        if self._last is None or self._last[0] != path:
            node = self._walk(parts, create=True)
            if node is None:
                raise ContentError(f"{_shown(path)} is no directory, but a layer has files in it")
            self._last = path, node
        return self._last[1]

    def _linked(self, member: Member) -> tuple[int, int]:
        """The place and size of what a hard link refers to."""
        parts = _parts(member.target)
        name = parts.pop() if parts else b""
        directory = self._walk(parts, create=False)
        node = self._find(directory, name) if directory is not None else 0
        place = self._place[node] if node else 0
        if not place or place & KIND == DIRECTORY:
            raise ContentError(
                f"{_shown(member.name)} is a hard link to {_shown(member.target)}, which is no file"
            )
        self._shared.add(place)
        return place, self._size[node]

    def _hide(self, parts: list[bytes], name: bytes) -> None:
        """Apply a whiteout."""
        if name.startswith(_AUFS) and name != _OPAQUE:
            return
        if (hidden := name[len(_WHITEOUT) :]) in (b"", b".", b".."):
            raise ContentError(f"a layer has a whiteout of nothing: {_shown(name)}")
        directory = self._walk(parts, create=False)
        if directory is None:
            return
        self._last = None
        if name == _OPAQUE:
            self._prune(directory)
            return
        node = self._find(directory, hidden)
        if not node or not self._place[node]:
            return
        if self._touched[node] == self._number + 1:
            self._prune(node)
        else:
            self._remove(node)

    def _prune(self, directory: int) -> None:
        """Remove what lower layers have in a directory."""
        pending = [directory]
        while pending:
            directory = pending.pop()
            if directory in self._pruned or self._place[directory] & KIND != DIRECTORY:
                continue
            self._pruned.add(directory)
            kept = 0
            for node in self._listed(directory):
                if self._place[node] and self._touched[node] == self._number + 1:
                    self._next[node], kept = kept, node
                    pending.append(node)
                else:
                    self._remove(node)
                    self._next[node] = UNLISTED
            self._child[directory] = kept

    def _walk(self, parts: list[bytes], *, create: bool) -> int | None:
        """Follow a path, and the symbolic links on it.

        Args:
            parts: its names.
            create: whether to make what is missing, and mark all as touched by this layer.

        Returns:
            Its node; None if there is none, or if it is not a directory but should be made.

        Raises:
            ContentError: there are too many links.
        """
        pending = parts[::-1]
        node, links = ROOT, 0
        while pending:
            self._step()
            name = pending.pop()
            if name == b"..":
                node = self._parent[node]
                continue
            if self._place[node] & KIND != DIRECTORY:
                return None
            inner = self._find(node, name)
            place = self._place[inner] if inner else 0
            if place & KIND == SYMBOLIC_LINK:
                links += 1
                if links > LIMITS.rootfs_links:
                    raise ContentError(f"{_shown(b'/'.join(parts))} has too many symbolic links")
                target = self._member(inner).target
                node = ROOT if target.startswith(b"/") else node
                pending += _parts(target)[::-1]
                continue
            if not place:
                if not create:
                    return None
                inner = self._put(node, name, self._number << LAYER | IMPLICIT | DIRECTORY, 0)
            node = inner
            if create:
                self._touched[node] = self._number + 1
        if create and self._place[node] & KIND != DIRECTORY:
            return None
        return node

    def _put(self, directory: int, name: bytes, place: int, size: int) -> int:
        """Give a name to what is at a place, instead of what has it now.

        Returns:
            Its node.
        """
        node = self._table[slot := self._slot(directory, name)] or self._new(directory, name, slot)
        before = self._place[node]
        if before and not before & KIND == place & KIND == DIRECTORY:
            if before & KIND in (DIRECTORY, SYMBOLIC_LINK):
                self._last = None
            if before & KIND == DIRECTORY:
                self._remove(node)
        if self._next[node] == UNLISTED:
            self._next[node], self._child[directory] = self._child[directory], node
        self._place[node], self._size[node] = place, size
        self._touched[node] = self._number + 1
        return node


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def _shown(path: bytes) -> str:
    return shown(path.decode("utf-8", "replace"))
