"""What is in a directory, and removing it. Nothing is followed, and no mount is entered."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ..limits import LIMITS

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
EMPTY = hashlib.sha256().hexdigest()
"""The fingerprint of a directory with nothing in it: of whomever it is, nothing is lost."""


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
    device = os.fstat(folder).st_dev
    opened: list[tuple[int, bytes, Iterator[bytes]]] = [(folder, b"", _names(folder))]
    try:
        while opened:
            folder, prefix, names = opened[-1]
            for name in names:
                path = prefix + name
                try:
                    status = os.lstat(name, dir_fd=folder)
                except PermissionError:
                    # Who may read a directory, but not enter it, knows names only.
                    yield Seen(path, None, path + b"\0")
                    continue
                mode, size, target = status.st_mode, status.st_size, b""
                is_directory = stat.S_ISDIR(mode)
                if is_directory:
                    size = 0
                elif stat.S_ISLNK(mode):
                    target = os.readlink(name, dir_fd=folder)
                facts = b"%b\0%d %d %d\0%b\0" % (path, mode, size, status.st_mtime_ns, target)
                if not is_directory:
                    yield Seen(path, status, facts)
                    continue
                if status.st_dev != device:
                    yield Seen(path, status, facts + b"mounted")
                    continue
                yield Seen(path, status, facts)
                if len(opened) > LIMITS.rootfs_depth:
                    # No save makes that.
                    yield Seen(path, None, b"deeper")
                    continue
                try:
                    inner = os.open(name, FOLDER, dir_fd=folder)
                except PermissionError:
                    # Its mode says so, and is a part of the digest.
                    continue
                opened.append((inner, path + b"/", _names(inner)))
                break
            else:
                opened.pop()
                if opened:
                    os.close(folder)
    finally:
        for inner, _, _ in opened[1:]:
            os.close(inner)


def changed_since(folder: int, moment: int) -> str:
    """Where something in a directory was perhaps changed, or is mounted; empty if nowhere.

    It goes by the times of inodes, which another name for a file changes, too. A directory says
    less than what is in it: it is changed by what is added or removed.

    Args:
        folder: the directory, open.
        moment: since when, in nanoseconds since 1970.

    Raises:
        OSError: it cannot be read.
    """
    device, above = os.fstat(folder).st_dev, ""
    for path, status, _ in look(folder):
        if status and (status.st_ctime_ns > moment or status.st_dev != device):
            if not stat.S_ISDIR(status.st_mode) or status.st_dev != device:
                return os.fsdecode(path)
            above = above or os.fsdecode(path)
    return above


def _names(folder: int) -> Iterator[bytes]:
    # Together, because there are many: no name has a slash.
    names = os.fsencode("/".join(os.listdir(folder)))
    return iter(sorted(names.split(b"/")) if names else ())


def remove(folder: int, name: str | bytes) -> None:
    """Remove a file, or a directory with all that is in it, if it exists.

    Args:
        folder: the directory that it is in, open.
        name: its name.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        # Linux says EISDIR of a directory, and POSIX lets others say EPERM.
        os.unlink(name, dir_fd=folder)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        status = os.lstat(name, dir_fd=folder)
        if not stat.S_ISDIR(status.st_mode):
            raise
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
