"""Other owners than those of the image. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial

from ..errors import UsageError, shown
from ..spelling import argument
from .headers import Member

_CAPABILITY = b"security.capability"
_REVISION, _WITH_OWNER = (20, 2), (24, 3)
"""Sizes and revisions."""
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_ACL = struct.Struct("<HHI")
_ACL_VERSION = b"\2\0\0\0"
_ACL_NAMES = (0x02, 0x08)
"""Tags of entries that name a user, or a group."""


def owned(member: Member, path: bytes, ranges: Sequence[tuple[int, int, int]]) -> Member:
    """A member with the owners that stand for its own.

    Capabilities of a file are for the user namespace in which its root is the one that stands for
    root (capabilities(7), "File capability extended attribute versioning"). Access control lists
    name owners, too (acl(5)). As they are, both would be for the host.

    Args:
        member: the member.
        path: for messages.
        ranges: the first owner inside, the first one outside, and how many there are.

    Raises:
        UsageError: nobody stands for one of its owners.
    """

    def outside(owner: int, whose: str) -> int:
        for inside, first, count in ranges:
            if inside <= owner < inside + count:
                return first + owner - inside
        name = shown(path.decode("utf-8", "replace"))
        raise UsageError(
            f"{name or '/'} {whose}, which {argument('owner_map')} does not have",
            f"add a range, as in {argument('owner_map', '0:100000:65536')}",
        )

    belongs = f"belongs to {member.uid}:{member.gid}"
    member = member._replace(uid=outside(member.uid, belongs), gid=outside(member.gid, belongs))
    if not member.xattrs:
        return member
    names = partial(_attribute, lambda owner: outside(owner, f"has rights of {owner}"))
    return member._replace(xattrs={key: names(key, member.xattrs[key]) for key in member.xattrs})


def _attribute(outside: Callable[[int], int], key: bytes, value: bytes) -> bytes:
    """What it says, for others."""
    if key == _CAPABILITY and (len(value), *value[3:4]) in (_REVISION, _WITH_OWNER):
        # The revision is the last byte of the first number; root's owner follows the capabilities
        # (include/uapi/linux/capability.h, `vfs_ns_cap_data`).
        end, _ = _REVISION
        owner = outside(int.from_bytes(value[end:], "little"))
        return value[:3] + bytes(_WITH_OWNER[1:]) + value[4:end] + owner.to_bytes(4, "little")
    if key in _ACLS and value.startswith(_ACL_VERSION) and len(value) % _ACL.size == 4:
        # include/uapi/linux/posix_acl_xattr.h
        rights = (
            (tag, rights, outside(owner) if tag in _ACL_NAMES else owner)
            for tag, rights, owner in _ACL.iter_unpack(value[4:])
        )
        return _ACL_VERSION + b"".join(_ACL.pack(*each) for each in rights)
    return value
