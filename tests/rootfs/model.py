"""What layers make, applied one after another to dictionaries: slow and obvious.

Everything has an object of its own, and a hard link is the same object under another name. A
whiteout asks of each object which layer put it there.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.rootfs.layers import Item


class Refused(Exception):
    """No engine unpacks such a layer."""


@dataclass(eq=False)
class Thing:
    """A file, a link or a directory."""

    item: Item | None
    kids: dict[str, Thing] | None = None

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.item is not None and self.item.type == tarfile.SYMTYPE


@dataclass
class Model:
    """A file system."""

    root: Thing = field(default_factory=lambda: Thing(None, {}))
    upper: set[tuple[int, str]] = field(default_factory=set)
    """What the present layer has put there or passed: directories by identity, and names."""
    alive: list[Thing] = field(default_factory=list)

    def apply(self, items: Iterable[Item]) -> None:
        """Apply a layer."""
        self.upper = set()
        for item in items:
            *folders, name = [part for part in item.name.split("/") if part not in ("", ".")]
            if name.startswith(".wh."):
                self._whiteout(folders, name)
            else:
                self._put(folders, name, item)

    def _whiteout(self, folders: list[str], name: str) -> None:
        place = self._follow(folders)
        if place is None or place.kids is None:
            return
        if name == ".wh..wh..opq":
            self._lower_goes(place)
        elif not name.startswith(".wh..wh.") and (victim := place.kids.get(name[4:])):
            if (id(place), name[4:]) in self.upper:
                self._lower_goes(victim)
            else:
                del place.kids[name[4:]]

    def _lower_goes(self, place: Thing) -> None:
        for name, thing in list((place.kids or {}).items()):
            assert place.kids is not None
            if (id(place), name) not in self.upper:
                del place.kids[name]
            else:
                self._lower_goes(thing)

    def _put(self, folders: list[str], name: str, item: Item) -> None:
        place = self._follow(folders, make=True)
        if place is None or place.kids is None:
            raise Refused
        before = place.kids.get(name)
        if item.type == tarfile.LNKTYPE:
            *way, last = [part for part in item.target.split("/") if part]
            other = self._follow(way)
            thing = (other.kids or {}).get(last) if other else None
            if thing is None or thing.kids is not None:
                raise Refused
        elif item.type == tarfile.DIRTYPE:
            is_directory = before is not None and before.kids is not None
            thing = before if before is not None and is_directory else Thing(None, {})
            thing.item = item
        else:
            thing = Thing(item)
        self.alive.append(thing)
        place.kids[name] = thing
        self.upper.add((id(place), name))

    def _follow(self, parts: list[str], make: bool = False) -> Thing | None:
        stack, pending, links = [self.root], list(parts), 0
        while pending:
            part = pending.pop(0)
            if part == "..":
                stack = stack[:-1] or stack
                continue
            here = stack[-1]
            if here.kids is None:
                return None
            thing = here.kids.get(part)
            if thing is None:
                if not make:
                    return None
                thing = here.kids[part] = Thing(None, {})
                self.alive.append(thing)
            if thing.is_link:
                assert thing.item is not None
                links += 1
                if links > 40:
                    raise Refused
                stack = [self.root] if thing.item.target.startswith("/") else stack
                pending = [p for p in thing.item.target.split("/") if p not in ("", ".")] + pending
                continue
            if make:
                self.upper.add((id(here), part))
            stack.append(thing)
        return stack[-1]

    def seen(self) -> dict[str, tuple[str, object]]:
        """Return what is at each path, as `layers.seen` does."""
        found: dict[str, tuple[str, object]] = {}
        first: dict[int, str] = {}

        def list_all(thing: Thing, prefix: str) -> None:
            for name in sorted(thing.kids or {}):
                assert thing.kids is not None
                inner, path = thing.kids[name], f"{prefix}{name}"
                item = inner.item
                if inner.kids is not None:
                    found[path] = ("5", "")
                elif id(inner) in first:
                    found[path] = ("link", first[id(inner)])
                else:
                    assert item is not None
                    first[id(inner)] = path
                    is_link = item.type == tarfile.SYMTYPE
                    found[path] = ("2", item.target) if is_link else ("file", item.data.decode())
                list_all(inner, f"{path}/")

        list_all(self.root, "")
        return found
