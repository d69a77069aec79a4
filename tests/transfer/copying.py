"""Copies of a ledger and what belongs to it, many times as fast as `copy.deepcopy`."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from dockersave.transfer.blobs import Blob, Hashing, Lease

_Any = TypeVar("_Any")


class Copying:
    """Copies what changes, keeps what does not.

    Parameters:
        kinds: what changes, beside blobs, leases, and lists.
    """

    def __init__(self, *kinds: type) -> None:
        self._changing = {list, set, dict, Hashing, Blob, Lease, *kinds}
        self._made: dict[int, object] = {}

    def of(self, value: _Any) -> _Any:
        """The copy of an object; always the same of the same."""
        made = self._made.get(id(value))
        if made is None:
            kind = type(value)
            self._made[id(value)] = made = kind.__new__(kind)
            if isinstance(value, Lease):
                for name in Lease.__slots__:
                    setattr(made, name, getattr(value, name))
                cast(Lease, made).blob = self.of(value.blob)
            else:
                vars(made).update(vars(value))
                for name, part in vars(value).items():
                    if type(part) in self._changing:
                        vars(made)[name] = self._part(part)
        return cast(_Any, made)

    def _part(self, part: Any) -> object:
        kind = type(part)
        if kind is list:
            return list(map(self.of, part)) if part and type(part[0]) in self._changing else part[:]
        if kind in (set, dict):
            return part.copy()
        if kind is Hashing:
            return Hashing(self.of(part.blob), part.start, part.stop)
        return self.of(part)
