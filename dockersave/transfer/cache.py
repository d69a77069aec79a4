"""Cached blobs for other runs, in a directory shared by any number of processes.

    DIR/blobs/sha256/<hex>   a blob, complete, named like in an OCI layout
    DIR/tmp/…                incomplete blobs; locked by their writers
    DIR/lock                 held while counting and making room

A cached blob is a source like an archive on disk: it is hashed whenever it is used; if it is wrong,
it is removed and fetched. A cache that cannot be written fails no run. Because old blobs are
removed, only caches are accepted as directory; anything in it that is not a blob (a pipe, a link, a
name that is not a digest) is ignored.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .. import locks
from ..archive.disk import free_room, reserve, write_all
from ..errors import UsageError, shown
from ..model.digest import Buffer, is_digest
from ..spelling import argument
from .sources import LocalFile

_PATIENCE = 5.0
_HINT = "name an empty directory, or one that does not exist yet"
_ON_THEIR_WAY = re.compile(r"[0-9a-f]{64,128}\.[0-9]+\.[0-9]+")


class Cache:
    """The cache. All methods are thread-safe.

    Args:
        directory: its path; created with the first blob.
        most: its maximum size in bytes, including incomplete blobs. The least recently used are
            removed first.
        notify: gets one line if it cannot be written.
        wait: waits so many seconds; raises if the run is stopped.

    Raises:
        UsageError: the directory is something else.
    """

    def __init__(
        self,
        directory: str,
        most: int,
        notify: Callable[[str], None],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._is_ours = _is_cache(directory)
        """Whether dockersave created it. Blobs of other programs are used, but not changed."""
        self._directory = directory
        self._most = most
        self._notify = notify
        self._wait = wait
        self._writable = self._is_ours
        self._left: tuple[str, int] | None = None
        self._said_full = False
        if not self._is_ours:
            notify(
                f"{shown(directory)} was not created by {argument('cache_dir')}: nothing is kept "
                "or removed there"
            )

    def find(self, digest: str) -> list[LocalFile]:
        """Look up a blob, and mark it as used."""
        path = self.path_of(digest)
        size = _size(path)
        if size < 0:
            return []
        if self._is_ours:
            with suppress(OSError):
                os.utime(path)
        return [LocalFile(path, size)]

    def drop(self, digest: str) -> None:
        """Remove a wrong blob."""
        with suppress(OSError):
            if self._is_ours and _size(self.path_of(digest)) >= 0:
                os.unlink(self.path_of(digest))

    def begin(self, digest: str, size: int) -> Entry | None:
        """Make room for a blob; None if there is no room, or it cannot be written.

        Args:
            digest: the blob's digest.
            size: its size in bytes.
        """
        if not self._writable or size > self._most:
            return None
        if os.path.lexists(self.path_of(digest)) and _size(self.path_of(digest)) < 0:
            return None
        try:
            folder = os.path.join(self._directory, "tmp")
            os.makedirs(folder, exist_ok=True)
            os.makedirs(os.path.dirname(self.path_of(digest)), exist_ok=True)
            with self._locked():
                if self._make_room(size):
                    if not self._has_room(size):
                        self._say_full()
                        return None
                    name = f"{digest.partition(':')[2]}.{os.getpid()}.{threading.get_ident()}"
                    return Entry(self, os.path.join(folder, name), self.path_of(digest), size)
        except OSError as failure:
            self.give_up(failure)
        return None

    def leave_room(self, folder: str, amount: int) -> None:
        """Leave room on a disk for others.

        Args:
            folder: a directory on that disk.
            amount: the bytes needed there, except those already reserved.
        """
        self._left = folder, amount

    def _has_room(self, size: int) -> bool:
        """Whether the disk has room for a blob and for what must stay free.

        Raises:
            OSError: it cannot be determined.
        """
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            free = free_room(fd)
            if self._left is not None:
                folder, amount = self._left
                if os.stat(folder or ".").st_dev == os.fstat(fd).st_dev:
                    size += amount
        finally:
            os.close(fd)
        # If space cannot be reserved, incomplete blobs will still need theirs.
        for _, status in _files(os.path.join(self._directory, "tmp")):
            size += max(0, status.st_size - 512 * status.st_blocks)
        return free is None or size <= free

    def _say_full(self) -> None:
        if not self._said_full:
            self._said_full = True
            self._notify(f"the cache {self._directory} keeps less: its disk is nearly full")

    def give_up(self, failure: OSError) -> None:
        """Stop caching in this run, and say why, once."""
        if self._writable:
            self._writable = False
            cause = os.strerror(failure.errno) if failure.errno else str(failure)
            self._notify(f"the cache {self._directory} cannot be written: {cause}")

    def path_of(self, digest: str) -> str:
        """The path of a blob."""
        if not is_digest(digest):
            raise ValueError(f"{digest!r} is not a digest")
        return os.path.join(self._directory, "blobs", *digest.split(":"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        name = os.path.join(self._directory, "lock")
        fd = locks.open_to_lock(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "its lock is not a regular file")
            until = time.monotonic() + _PATIENCE
            while not locks.lock(fd):
                if time.monotonic() > until:
                    raise OSError(errno.EBUSY, "another process holds its lock")
                self._wait(0.01)
            yield
        finally:
            locks.close(fd)

    def _make_room(self, size: int) -> bool:
        """Remove leftovers of killed runs, then the least recently used blobs."""
        taken = size
        for path, status in _files(os.path.join(self._directory, "tmp")):
            if _ON_THEIR_WAY.fullmatch(os.path.basename(path)) and not _is_abandoned(path):
                taken += status.st_size
        kept: list[tuple[str, os.stat_result]] = []
        for algorithm in ("sha256", "sha512"):
            files = _files(os.path.join(self._directory, "blobs", algorithm))
            kept += (
                each for each in files if is_digest(f"{algorithm}:{os.path.basename(each[0])}")
            )
        taken += sum(status.st_size for _, status in kept)
        for path, status in sorted(kept, key=lambda each: each[1].st_mtime_ns):
            if taken <= self._most:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            taken -= status.st_size
        return taken <= self._most


class Entry:
    """A blob that is being written to the cache.

    Args:
        cache: the cache.
        temporary: its name until it is complete.
        path: its final name.
        size: in bytes.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, cache: Cache, temporary: str, path: str, size: int) -> None:
        self._cache = cache
        self._temporary = temporary
        self._path = path
        self._lock = threading.Lock()
        self._fd = locks.open_to_lock(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        locks.lock(self._fd)
        try:
            os.ftruncate(self._fd, size)
            reserve(self._fd, size)
        except OSError:
            self._end()
            raise

    def write(self, position: int, data: Buffer) -> None:
        """Write bytes; if that fails, the blob is not cached."""
        with self._lock:
            if self._fd >= 0:
                try:
                    write_all(self._fd, data, position)
                except OSError as failure:
                    self._cache.give_up(failure)
                    self._end()

    def commit(self) -> None:
        """The blob is complete and verified."""
        with self._lock:
            if self._fd >= 0:
                try:
                    os.rename(self._temporary, self._path)
                except OSError as failure:
                    self._cache.give_up(failure)
                self._end()

    def close(self) -> None:
        """Discard an incomplete blob."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.unlink(self._temporary)
            locks.close(self._fd)
            self._fd = -1


def _is_cache(directory: str) -> bool:
    """Whether a directory is a cache of dockersave, or can become one.

    Raises:
        UsageError: it is something else.
    """
    try:
        with os.scandir(directory) as found:
            strangers = (entry.name for entry in found if entry.name not in _OWN)
            stranger = next(strangers, None)
    except OSError:
        # It does not exist yet, or writing to it will report the error.
        return True
    name = argument("cache_dir", shown(directory))
    if stranger is not None:
        raise UsageError(f"{name} holds {shown(stranger)}, which is not part of a cache", _HINT)
    for inside in _FOLDERS:
        folder = os.path.join(directory, inside)
        if os.path.islink(folder):
            raise UsageError(f"{name} holds {inside}, which is a symbolic link", _HINT)
    has_lock = os.path.lexists(os.path.join(directory, "lock"))
    return has_lock or not any(any(_files(os.path.join(directory, each))) for each in _FOLDERS)


_FOLDERS = ("tmp", "blobs", "blobs/sha256", "blobs/sha512")
_OWN = frozenset({"tmp", "blobs", "lock", "lost+found"})
"""The content of a cache; the last is present on the root of a file system."""


def _size(path: str) -> int:
    """The size of a file in bytes; -1 if it is missing or not a regular file."""
    try:
        status = os.lstat(path)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        for entry in found:
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    yield entry.path, entry.stat(follow_symlinks=False)


def _is_abandoned(path: str) -> bool:
    """Remove a file unless it is being written; returns whether it was removed."""
    try:
        fd = locks.open_to_lock(path, os.O_RDWR)
    except OSError:
        return False
    try:
        if not locks.lock(fd):
            return False
        os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        locks.close(fd)
