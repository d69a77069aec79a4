"""Deterministic tar headers, and the plan: where every byte of an archive will be. Pure.

Source: POSIX.1-2017, pax, "ustar Interchange Format"; where that has no room (a member
above 8 GiB, a sha512 digest in a name), GNU tar's form, which every reader of archives knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..values import dataclass
from .members import Content, Link, Member

BLOCK = 512
END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Entry:
    """A member at its place.

    Args:
        member: what it is.
        header: its header blocks, which lie before `offset`.
        offset: where its content begins, in bytes from the start of the archive.
        size: how much content it has, in bytes.
    """

    member: Member
    header: bytes
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.offset + self.size + padding(self.size)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole archive before its first byte.

    Args:
        entries: the members in order.
        size: the archive's size in bytes, its end included.
    """

    entries: tuple[Entry, ...]
    size: int


def padding(size: int) -> int:
    """How many zero bytes follow content of `size` bytes."""
    return -size % BLOCK


def header(member: Member, size: int) -> bytes:
    """The header of a member, the same on every machine and at any time.

    Args:
        member: what it is.
        size: how much content it has, in bytes.
    """
    import tarfile

    info = tarfile.TarInfo(member.path)
    info.mode = 0o644
    info.size = size
    if isinstance(member.data, Link):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.data.target, 0o777
    elif member.is_directory:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError:
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def lay_out(members: Iterable[Member], start: int = 0) -> Plan:
    """Plan an archive, or the rest of one.

    Args:
        members: all with a known size.
        start: where the first header goes, in bytes.
    """
    entries: list[Entry] = []
    for member in members:
        size = member.size
        head = header(member, size)
        entry = Entry(member, head, start + len(head), size)
        entries.append(entry)
        start = entry.end
    return Plan(tuple(entries), start + len(END))


def fixed_parts(plan: Plan, start: int = 0) -> Sequence[tuple[int, bytes]]:
    """Everything of an archive that is not a blob, as (offset, bytes).

    Args:
        plan: the archive.
        start: where the part of it that `plan` describes begins, in bytes.
    """
    parts: list[tuple[int, bytes]] = []
    position = start
    for entry in plan.entries:
        parts.append((position, entry.header))
        if isinstance(entry.member.data, Content):
            parts.append((entry.offset, entry.member.data.body))
        parts.append((entry.offset + entry.size, bytes(padding(entry.size))))
        position = entry.end
    parts.append((position, END))
    return parts
