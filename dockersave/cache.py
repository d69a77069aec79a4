"""Blobs that are kept for other runs, in a directory that any number of processes share.

    DIR/blobs/sha256/<hex>   a blob, complete, named like in an OCI layout
    DIR/tmp/…                blobs on their way; locked by whoever writes them
    DIR/lock                 held for as long as it takes to count and to make room

What lies there is a source like an archive on disk is: it is hashed whenever it is used, and
what is not right is removed and fetched. A cache that cannot be written fails no run. A directory
that is something else is refused, since blobs make room for others; what is there and no blob (a
pipe, a link, a name that is no digest) is passed over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from .archive.place import write_all
from .arrival import Arrival, Place
from .errors import OutputError, UsageError, shown
from .limits import LIMITS
from .sources import LocalFile
from .verify import Buffer, is_digest

_PATIENCE = 5.0
_HINT = "name an empty directory, or one that is not there yet"
_ON_THEIR_WAY = re.compile(r"[0-9a-f]{64,128}\.[0-9]+\.[0-9]+")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Cache:
    """The directory. All methods may be called from any thread.

    Args:
        directory: its name; created when the first blob is kept.
        most: bytes that it may hold, blobs on their way included. What was used least recently
            makes room for others.
        notify: gets one line if it cannot be written.

    Raises:
        UsageError: the directory is something else.
    """

    def __init__(self, directory: str, most: int, notify: Callable[[str], None]) -> None:
        _check_is_cache(directory)
        self._directory = directory
        self._most = most
        self._notify = notify
        self._writable = True

    def find(self, digest: str) -> list[LocalFile]:
        """Where a blob is, if it is here; it counts as used now."""
        path = self.path_of(digest)
        size = _size(path)
        if size < 0:
            return []
        with suppress(OSError):
            os.utime(path)
        return [LocalFile(path, size)]

    def drop(self, digest: str) -> None:
        """Remove a blob that is not what it should be."""
        with suppress(OSError):
            if _size(self.path_of(digest)) >= 0:
                os.unlink(self.path_of(digest))

    def begin(self, digest: str, size: int) -> Entry | None:
        """Make room for a blob; None where there is none, or nothing can be written.

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
                    name = f"{digest.partition(':')[2]}.{os.getpid()}.{threading.get_ident()}"
                    return Entry(self, os.path.join(folder, name), self.path_of(digest), size)
        except OSError as failure:
            self.give_up(failure)
        return None

    def give_up(self, failure: OSError) -> None:
        """Keep nothing more in this run, and say why, once."""
        if self._writable:
            self._writable = False
            cause = os.strerror(failure.errno) if failure.errno else str(failure)
            self._notify(f"the cache {self._directory} cannot be written: {cause}")

    def path_of(self, digest: str) -> str:
        """Where a blob belongs."""
        assert is_digest(digest)
        return os.path.join(self._directory, "blobs", *digest.split(":"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        name = os.path.join(self._directory, "lock")
        fd = os.open(
            name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666
        )
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "its lock is no file")
            until = time.monotonic() + _PATIENCE
            while not _lock(fd):
                if time.monotonic() > until:
                    raise OSError(errno.EBUSY, "another process holds its lock")
                time.sleep(0.01)
            yield
        finally:
            os.close(fd)

    def _make_room(self, size: int) -> bool:
        """Remove what a killed run has left, then what was used least recently."""
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
    """A blob on its way into the cache.

    Args:
        cache: the cache.
        temporary: its name until it is complete.
        path: its name then.
        size: in bytes.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, cache: Cache, temporary: str, path: str, size: int) -> None:
        self._cache = cache
        self._temporary = temporary
        self._path = path
        self._lock = threading.Lock()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(temporary, flags, 0o644)
        _lock(self._fd)
        os.ftruncate(self._fd, size)

    def write(self, position: int, data: Buffer) -> None:
        """Put bytes there; where that fails, the blob is not kept."""
        with self._lock:
            if self._fd >= 0:
                try:
                    write_all(self._fd, data, position)
                except OSError as failure:
                    self._cache.give_up(failure)
                    self._end()

    def commit(self) -> None:
        """All of it was written, and is right."""
        with self._lock:
            if self._fd >= 0:
                try:
                    os.rename(self._temporary, self._path)
                except OSError as failure:
                    self._cache.give_up(failure)
                self._end()

    def close(self) -> None:
        """Give up what is not complete."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.unlink(self._temporary)
            os.close(self._fd)
            self._fd = -1


class KeptPlace:
    """A place whose blob is kept in the cache, too.

    Args:
        place: where the blob goes.
        cache: the cache.
        digest, size: of the blob.
        have: ranges that are in the place already.
    """

    def __init__(
        self,
        place: Place,
        cache: Cache,
        digest: str,
        size: int,
        have: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._place = place
        self._begin = partial(cache.begin, digest, size)
        self._have = have
        self._lock = threading.Lock()
        self._begun = False
        self._entry: Entry | None = None

    def write(self, position: int, data: Buffer) -> None:
        """Put bytes there."""
        self._place.write(position, data)
        with self._lock:
            if not self._begun:
                self._begun = True
                self._entry = self._begin()
        if self._entry is not None:
            self._entry.write(position, data)

    def read(self, position: int, amount: int) -> bytes:
        """Read back what was put there."""
        return self._place.read(position, amount)

    def record(self, start: int, stop: int) -> None:
        """Remember, for a later run, that these bytes are there."""
        self._place.record(start, stop)

    def forget(self) -> None:
        """Remember that nothing is."""
        self._place.forget()

    def keep(self) -> None:
        """The blob is complete, and right."""
        if not self._begun:
            # All of it was there already.
            self._begun = True
            self._entry = self._begin()
        if self._entry is None:
            return
        with suppress(OutputError):
            for start, stop in self._have:
                while start < stop:
                    data = self._place.read(start, min(stop - start, LIMITS.read))
                    self._entry.write(start, data)
                    start += len(data)
            self._entry.commit()
        self._entry = None

    def close(self) -> None:
        """Give up what is not complete."""
        if self._entry is not None:
            self._entry.close()
            self._entry = None


class Keeper:
    """Puts a run's blobs into the cache, if there is one.

    Args:
        directory, most, notify: see `Cache`; None for no cache.
    """

    def __init__(self, directory: str | None, most: int, notify: Callable[[str], None]) -> None:
        self._cache = Cache(directory, most, notify) if directory else None

    def find(self, digest: str) -> list[LocalFile]:
        """Where the cache has a blob."""
        return self._cache.find(digest) if self._cache else []

    def place(
        self, place: Place, digest: str, size: int, have: Sequence[tuple[int, int]] = ()
    ) -> Place:
        """The same place; what goes there is kept, if it is not already."""
        if self._cache is None or self._cache.find(digest):
            return place
        return KeptPlace(place, self._cache, digest, size, have)

    def begin(self, digest: str, size: int) -> Entry | None:
        """Begin to keep a blob that has to be fetched."""
        return self._cache.begin(digest, size) if self._cache else None

    def keep(self, arrivals: Iterable[Arrival]) -> None:
        """Keep the blobs that have arrived."""
        for arrival in arrivals:
            if arrival.done and isinstance(arrival.place, KeptPlace):
                arrival.place.keep()

    @contextmanager
    def keeping(self, arrivals: Sequence[Arrival]) -> Iterator[None]:
        """Keep, in the end, what has arrived, and forget what has not."""
        try:
            yield
        finally:
            self.keep(arrivals)
            for arrival in arrivals:
                if isinstance(arrival.place, KeptPlace):
                    arrival.place.close()
                elif self._cache and arrival.done and arrival.reused < arrival.size:
                    # It was here, and yet it had to be fetched.
                    self._cache.drop(arrival.digest)


def _check_is_cache(directory: str) -> None:
    """Refuse a directory that is something else: an image's, or anybody's.

    Raises:
        UsageError: it is.
    """
    try:
        with os.scandir(directory) as found:
            strangers = (entry.name for entry in found if entry.name not in _OWN)
            stranger = next(strangers, None)
    except OSError:
        # It is not there yet; or whoever writes to it says what is wrong.
        return
    name = f"--cache-dir {shown(directory)}"
    if stranger is not None:
        raise UsageError(f"{name} holds {shown(stranger)}, which belongs to no cache", _HINT)
    for inside in _FOLDERS:
        folder = os.path.join(directory, inside)
        if os.path.islink(folder):
            raise UsageError(f"{name} holds {inside}, which is a symbolic link", _HINT)
        if not os.path.lexists(os.path.join(directory, "lock")) and any(_files(folder)):
            raise UsageError(f"{name} holds {inside}, which no cache has put there", _HINT)


_FOLDERS = ("tmp", "blobs", "blobs/sha256", "blobs/sha512")
_OWN = frozenset({"tmp", "blobs", "lock", "lost+found"})
"""What a cache has; the last is on a file system of its own."""


def _size(path: str) -> int:
    """The size of a file in bytes; -1 if it is not there, or is no file."""
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
    """Whether nobody writes a file any more; then it is removed."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not _lock(fd):
            return False
        os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    """Lock a file, unless somebody else has."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as failure:
        if failure.errno not in _NO_LOCKS:
            raise
    return True
