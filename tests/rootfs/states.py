"""Files that a save has placed, as they are seen afterwards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dockersave.rootfs.headers import Member

NOTHING = Member(b"", ord("0"), 0o644, 0, 0, 0, b"", 0, 0, (0, 0), {})
LATE = 1 << 60
"""A time after all others."""


def state(inode: int, changed: int, names: int = 1, mode: int = 0o100644) -> Any:
    """Return the state of a file."""
    return SimpleNamespace(st_mode=mode, st_ino=inode, st_ctime_ns=changed, st_nlink=names)
