"""What a file lacks, because this process may not have it: other owners, devices, attributes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from ..values import dataclass
from .headers import Member

SETUID = stat.S_ISUID | stat.S_ISGID


@dataclass(slots=True)
class Missing:
    """What could not be had.

    Args:
        owners: how many files belong to this user instead of their owners.
        devices: how many devices were not created.
        xattrs: how many extended attributes were not set.
        setuid: how many setuid and setgid bits were dropped, because the owner is another one.
    """

    owners: int = 0
    devices: int = 0
    xattrs: int = 0
    setuid: int = 0

    @property
    def packed(self) -> int:
        """What one file lacks, as a number."""
        return self.owners | self.setuid << 1 | self.xattrs << 2

    @classmethod
    def of(cls, packed: int) -> Missing:
        """What such a number means."""
        return cls(owners=packed & 1, setuid=packed >> 1 & 1, xattrs=packed >> 2)

    def add(self, other: Missing) -> None:
        """Count what another one counted, too."""
        self.owners += other.owners
        self.devices += other.devices
        self.xattrs += other.xattrs
        self.setuid += other.setuid


def lacking(
    member: Member, status: os.stat_result, xattr: Callable[[bytes], bytes | None]
) -> Missing:
    """What a file lacks.

    Args:
        member: what it should be.
        status: its state.
        xattr: reads an extended attribute of it; None if there is none.
    """
    return Missing(
        owners=(status.st_uid, status.st_gid) != (member.uid, member.gid),
        setuid=bool(member.mode & SETUID & ~status.st_mode),
        xattrs=sum(xattr(key) != value for key, value in member.xattrs.items()),
    )
