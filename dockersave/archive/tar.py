"""Deterministic tar headers, and the plan of where every byte of an archive will be. Pure.

Source: POSIX.1-2017, pax, "ustar Interchange Format"; where that is too small (a member above 8
GiB, a sha512 digest in a name), GNU tar's extensions, which every reader supports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from ..values import dataclass
from .members import Document, Layer

BLOCK = 512
END = bytes(2 * BLOCK)


M = TypeVar("M", Document, Layer)


@dataclass(frozen=True, slots=True)
class Entry(Generic[M]):
    """A member and its place.

    Args:
        member: the member.
        header: its header blocks, which end at `offset`.
        offset: where its content starts, in bytes from the start of the archive.
    """

    member: M
    header: bytes
    offset: int

    @property
    def start(self) -> int:
        """Where its header begins, in bytes from the start of the archive."""
        return self.offset - len(self.header)

    @property
    def size(self) -> int:
        """How much content it has, in bytes."""
        return self.member.size

    @property
    def end(self) -> int:
        """Where the next header starts."""
        return self.offset + self.size + padding(self.size)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a whole archive.

    Args:
        layers: the first members.
        documents: the members after them.
        size: the archive's size in bytes, including its end.
    """

    layers: tuple[Entry[Layer], ...]
    documents: tuple[Entry[Document], ...]
    size: int

    @property
    def content(self) -> int:
        """How much content all its members have together, in bytes."""
        layers = sum(entry.size for entry in self.layers)
        return layers + sum(entry.size for entry in self.documents)


def padding(size: int) -> int:
    """Padding after content of `size` bytes."""
    return -size % BLOCK


def header(member: Document | Layer, size: int) -> bytes:
    """The header of a member, the same on every machine at any time.

    Args:
        member: the member.
        size: of its content, in bytes.
    """
    import tarfile

    info = tarfile.TarInfo(member.path)
    info.mode = 0o644
    info.size = size
    if member.target:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.target, 0o777
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError:
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def lay_out(layers: Iterable[Layer], documents: Iterable[Document], start: int = 0) -> Plan:
    """Plan an archive, or the rest of one.

    Args:
        layers: all with a known size.
        documents: what follows them.
        start: where the first header goes, in bytes.
    """
    first = tuple(_in_a_row(layers, start))
    start = first[-1].end if first else start
    others = tuple(_in_a_row(documents, start))
    end = others[-1].end if others else start
    return Plan(first, others, end + len(END))


def _in_a_row(members: Iterable[M], start: int) -> Iterator[Entry[M]]:
    for member in members:
        head = header(member, member.size)
        entry = Entry(member, head, start + len(head))
        yield entry
        start = entry.end


def fixed_parts(plan: Plan) -> Sequence[tuple[int, bytes]]:
    """Everything of an archive that is not a layer's content, as (offset, bytes)."""
    parts: list[tuple[int, bytes]] = []
    for layer in plan.layers:
        end = layer.offset + layer.size
        parts += [(layer.start, layer.header), (end, bytes(padding(layer.size)))]
    for entry in plan.documents:
        # Apart: a config may have 8 MiB, and put together it would be there twice.
        parts += [(entry.start, entry.header), (entry.offset, entry.member.body)]
        parts.append((entry.offset + entry.size, bytes(padding(entry.size))))
    return [*parts, (plan.size - len(END), END)]
