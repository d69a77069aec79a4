"""What stands for the owners of a file, wherever it names them."""

from __future__ import annotations

import struct

import pytest

from dockersave.errors import UsageError
from dockersave.rootfs.owners import owned
from tests.rootfs.states import NOTHING

RANGES = [(0, 100_000, 1000), (1000, 500, 1)]
RIGHTS = b"\0\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0"
NOBODY = 0xFFFF_FFFF


def attribute(key: bytes, value: bytes) -> bytes:
    """Return what becomes of an extended attribute."""
    member = NOTHING._replace(uid=7, gid=1000, xattrs={key: value, b"user.a": value})
    found = owned(member, b"a", RANGES)
    assert (found.uid, found.gid, found.xattrs[b"user.a"]) == (100_007, 500, value)
    return found.xattrs[key]


def capability(owner: int | None) -> bytes:
    """Return a file's capabilities, of the revision that names the owner that is root or not."""
    if owner is None:
        return b"\1\0\0\2" + RIGHTS
    return b"\1\0\0\3" + RIGHTS + owner.to_bytes(4, "little")


def acl(user: int, group: int) -> bytes:
    """Return an access control list with a user and a group."""
    entries = [
        *((0x01, 6, NOBODY), (0x02, 6, user), (0x04, 4, NOBODY)),
        *((0x08, 4, group), (0x10, 6, NOBODY), (0x20, 0, NOBODY)),
    ]
    return b"\2\0\0\0" + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize(
    ("before", "root"), [(None, 100_000), (0, 100_000), (5, 100_005), (1000, 500)]
)
def test_capabilities_are_for_the_root_that_stands_for_root(before: int | None, root: int) -> None:
    assert attribute(b"security.capability", capability(before)) == capability(root)


@pytest.mark.parametrize("key", [b"system.posix_acl_access", b"system.posix_acl_default"])
def test_access_control_lists_name_the_owners_outside(key: bytes) -> None:
    assert attribute(key, acl(7, 1000)) == acl(100_007, 500)


@pytest.mark.parametrize(
    ("key", "value", "owner"),
    [
        (b"security.capability", capability(1001), 1001),
        (b"system.posix_acl_access", acl(1002, 0), 1002),
        (b"system.posix_acl_access", acl(0, 1003), 1003),
    ],
)
def test_who_has_rights_must_have_a_range(key: bytes, value: bytes, owner: int) -> None:
    with pytest.raises(UsageError, match=f"a has rights of {owner}, which owner_map= does not"):
        attribute(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"security.capability", b""),
        (b"security.capability", capability(None)[:-1]),
        (b"security.capability", capability(5)[:-1]),
        (b"security.capability", b"\1\0\0\1" + RIGHTS),
        (b"system.posix_acl_access", b""),
        (b"system.posix_acl_access", b"\3" + acl(7, 7)[1:]),
        (b"system.posix_acl_access", acl(7, 7)[:-1]),
        (b"security.selinux", acl(7, 7)),
    ],
)
def test_what_names_no_owners_stays(key: bytes, value: bytes) -> None:
    # The kernel refuses what is malformed.
    assert attribute(key, value) == value


def test_an_empty_list_names_nobody() -> None:
    assert attribute(b"system.posix_acl_access", b"\2\0\0\0") == b"\2\0\0\0"
