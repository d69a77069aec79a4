"""What is in a directory, and removing it. Nothing is followed, and no mount is entered."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ..limits import LIMITS

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Seen(NamedTuple):
    """Something in a directory.

    Args:
        path: from that directory.
        status: its state; None if it cannot be told.
        facts: what its fingerprint is made of.
    """

    path: bytes
    status: os.stat_result | None
    facts: bytes


def fingerprint(folder: int) -> str:
    """A digest of what is in a directory: names, types, modes, sizes, times and targets of links.

    No save mounts anything. So a mount makes another digest, and is not entered.

    Args:
        folder: the directory, open.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    for seen in look(folder):
        digest.update(seen.facts)
    return digest.hexdigest()


def look(folder: int) -> Iterator[Seen]:
    """All that is in a directory, in the order of a tree's entries.

    Args:
        folder: the directory, open.

    Raises:
        OSError: it cannot be read.
    """
    yield from _look(folder, os.fstat(folder).st_dev, b"")


def _look(folder: int, device: int, prefix: bytes) -> Iterator[Seen]:
    if prefix.count(b"/") > LIMITS.rootfs_depth:
        # No save makes that.
        yield Seen(prefix, None, b"deeper")
        return
    for name in sorted(map(os.fsencode, os.listdir(folder))):
        path = prefix + name
        try:
            status = os.lstat(name, dir_fd=folder)
        except PermissionError:
            # Who may read a directory, but not enter it, knows names only.
            yield Seen(path, None, path + b"\0")
            continue
        is_directory = stat.S_ISDIR(status.st_mode)
        target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else b""
        size = 0 if is_directory else status.st_size
        facts = b"%d %d %d" % (status.st_mode, size, status.st_mtime_ns)
        facts = b"\0".join((path, facts, target, b""))
        is_mounted = is_directory and status.st_dev != device
        yield Seen(path, status, facts + b"mounted" if is_mounted else facts)
        if is_directory and not is_mounted:
            try:
                inner = os.open(name, FOLDER, dir_fd=folder)
            except PermissionError:
                # Its mode says so, and is a part of the digest.
                continue
            try:
                yield from _look(inner, device, path + b"/")
            finally:
                os.close(inner)


def remove(folder: int, name: str | bytes) -> None:
    """Remove a file, or a directory with all that is in it, if it exists.

    Args:
        folder: the directory that it is in, open.
        name: its name.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        status = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    if os.geteuid() and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        # Not followed: it is a directory, in a directory that only this user can enter.
        os.chmod(name, stat.S_IRWXU, dir_fd=folder)
    inner = os.open(name, FOLDER, dir_fd=folder)
    try:
        for each in os.listdir(inner):
            remove(inner, each)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)
