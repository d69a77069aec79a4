"""Other owners than those of the image. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError, shown
from ..spelling import argument
from .headers import Member

_CAPABILITY = b"security.capability"
_REVISION, _WITH_OWNER = 2, 3
_SIZE = 20


def owned(member: Member, path: bytes, ranges: Sequence[tuple[int, int, int]]) -> Member:
    """A member with the owners that stand for its own.

    Capabilities of a file are for the user namespace in which its root is the one that stands for
    root (capabilities(7), "File capability extended attribute versioning").

    Args:
        member: the member.
        path: for messages.
        ranges: the first owner inside, the first one outside, and how many there are.

    Raises:
        UsageError: nobody stands for its owner, or its group.
    """
    uid, gid = (_outside(each, ranges) for each in (member.uid, member.gid))
    if uid is None or gid is None:
        name = shown(path.decode("utf-8", "replace"))
        raise UsageError(
            f"{name or '/'} belongs to {member.uid}:{member.gid}, which {argument('owner_map')} "
            "does not have",
            f"add a range, as in {argument('owner_map', '0:100000:65536')}",
        )
    member = member._replace(uid=uid, gid=gid)
    value = member.xattrs.get(_CAPABILITY, b"")
    root = _outside(0, ranges)
    if len(value) == _SIZE and value[3] == _REVISION and root is not None:
        # The revision is the last byte of the first number; root's owner follows the capabilities
        # (include/uapi/linux/capability.h, `vfs_ns_cap_data`).
        value = value[:3] + bytes([_WITH_OWNER]) + value[4:] + root.to_bytes(4, "little")
        member = member._replace(xattrs={**member.xattrs, _CAPABILITY: value})
    return member


def _outside(owner: int, ranges: Sequence[tuple[int, int, int]]) -> int | None:
    for inside, outside, count in ranges:
        if inside <= owner < inside + count:
            return outside + owner - inside
    return None
