"""A place in a file, and messages for when it cannot be written."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain

from ..errors import OutputError
from ..limits import LIMITS
from ..model.digest import Buffer
from ..spelling import argument
from ..units import in_bytes
from .partmap import Extent, PartMap

_ELSEWHERE = f"choose another place with {argument('output')} or {argument('working_dir')}"
_RENAME = f"choose another name with {argument('output')}"
_CONTINUE = f"free some space and {argument('again')}: it continues where it stopped"
_HINTS = {
    errno.ENOSPC: _CONTINUE,
    errno.EDQUOT: _CONTINUE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.ENOENT: f"create the directory first, or {_ELSEWHERE}",
    errno.ENOTDIR: _ELSEWHERE,
    errno.EISDIR: f"remove that directory, or {_RENAME}",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another file system",
    errno.EIO: f"the disk reports an error; {_ELSEWHERE}",
    errno.EBADF: "redirect it to a file, or pipe it into a program that reads it",
    errno.EMFILE: f"raise the limit on open files (ulimit -n), or use fewer {argument('jobs')}",
    errno.EPIPE: "the program that reads it has ended: what does it say?",
    errno.ELOOP: f"it is a symbolic link: remove it, or {_RENAME}",
}


def output_error(failure: OSError, path: str) -> OutputError:
    """The error for when `path` cannot be written."""
    cause = os.strerror(failure.errno) if failure.errno else str(failure)
    return OutputError(f"cannot write {path}: {cause}", _HINTS.get(failure.errno or 0, ""))


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an `OSError` about `path` into an `OutputError`."""
    try:
        yield
    except OSError as failure:
        raise output_error(failure, path) from failure


def sync(path: str, flags: int = 0) -> None:
    """Bring a file, or the names in a directory, to the disk.

    Args:
        path: of the file or the directory.
        flags: to open it with, beside the usual ones.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def free_room(fd: int) -> int | None:
    """Free space of a file system in bytes; None if unknown.

    Args:
        fd: a file or directory on it.
    """
    status = os.fstatvfs(fd)
    # root may use the reserved blocks.
    free = status.f_bfree if os.geteuid() == 0 else status.f_bavail
    return free * status.f_frsize if status.f_blocks else None


def allocated(path: str) -> int:
    """Disk space of a file, or of a directory with its content, in bytes; 0 if there is none.

    Files in a directory that have a second name do not count: when they are removed, that may stay.
    Another run may publish or remove any of it meanwhile.
    """
    taken = 0
    inside = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    for each in chain([path], inside):
        with suppress(FileNotFoundError):
            status = os.lstat(each)
            if each is path or status.st_nlink == 1:
                taken += 512 * status.st_blocks
    return taken


def check_room(
    fd: int, path: str, needed: int, kept: int = 0, *, least: bool = False, beside: str = ""
) -> None:
    """Check that there is enough space before the first byte is fetched.

    Args:
        fd: the file or directory to write.
        path: its final name, for messages.
        beside: the name of another output that needs space, too.
        needed: bytes in total.
        kept: of these, bytes that are already on the disk, or will be freed first.
        least: whether more may be needed.

    Raises:
        OutputError: there is not enough.
    """
    free = free_room(fd)
    missing = needed - kept
    if free is not None and missing > free:
        folder = os.path.dirname(path) or "."
        more = " more" if kept > needed // 100 else ""
        amount = f"{'at least ' if least else ''}{in_bytes(missing)}{more}"
        raise OutputError(
            f"cannot write {path}{beside and f' and {beside}'}: needs {amount}, but only "
            f"{in_bytes(free)} is free in {folder}",
            f"free some space there, or {_ELSEWHERE}",
        )


def reserve(fd: int, size: int) -> None:
    """Reserve a file's space, if the file system supports it.

    Otherwise, glibc's `posix_fallocate` writes a byte to each block, except for files opened for
    appending, which it refuses.

    Args:
        fd: the file; no other process may be writing to it.
        size: in bytes.

    Raises:
        OSError: there is not enough space.
    """
    if not size:
        return
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_APPEND)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as failure:
        if failure.errno not in _NO_RESERVING:
            raise
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)


_NO_RESERVING = (errno.EBADF, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV)


class FileWriter:
    """A blob's place in a file.

    Args:
        path: the file's name, for messages.
        fd: the file.
        offset: where the blob starts in it, in bytes.
        partmap, extent: where to record what was written; None for nowhere.
        whole: the size of the file while it is being written, in bytes: truncating it would leave a
            hole instead of verified bytes.
    """

    def __init__(
        self,
        path: str,
        fd: int,
        offset: int,
        partmap: PartMap | None = None,
        extent: Extent | None = None,
        whole: int = 0,
    ) -> None:
        self._path = path
        self._whole = whole
        self._fd = fd
        self._offset = offset
        self._map = partmap
        self._extent = extent

    def write(self, position: int, data: Buffer) -> None:
        """Write bytes."""
        try:
            check_whole(self._fd, self._path, self._whole)
            write_all(self._fd, data, self._offset + position)
        except OSError as failure:
            raise output_error(failure, self._path) from failure

    def read(self, position: int, amount: int) -> bytes:
        """Read bytes back."""
        with writing(self._path):
            data = os.pread(self._fd, amount, self._offset + position)
        if not data:
            raise shortened(self._path)
        return data

    def record(self, start: int, stop: int) -> None:
        """Record for later runs that these bytes are there."""
        if self._map is not None and self._extent is not None:
            try:
                self._map.record(self._extent, start, stop)
            except OSError as failure:
                raise output_error(failure, self._path) from failure

    def forget(self) -> None:
        """Record that nothing is there."""
        if self._map is not None and self._extent is not None:
            with writing(self._path):
                self._map.forget(self._extent)


def check_whole(fd: int, path: str, size: int) -> None:
    """Check that a file was not truncated.

    Args:
        fd: the file.
        path: its name, for messages.
        size: its minimum size in bytes.

    Raises:
        OutputError: it is smaller.
        OSError: its size cannot be read.
    """
    if os.fstat(fd).st_size < size:
        raise shortened(path)


def shortened(path: str) -> OutputError:
    """The error for a file that was truncated while it was being written."""
    return OutputError(
        f"{path} was truncated while it was being written",
        f"{argument('again')}, and keep other programs away from that file",
    )


def write_all(fd: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at an offset; a full disk may accept only a part at first.

    Raises:
        OSError: it cannot be written.
    """
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)


def copy(
    source: int,
    source_offset: int,
    target: int,
    target_offset: int,
    amount: int,
) -> int:
    """Copy bytes from file to file.

    Returns:
        The number of bytes copied, at most `amount`.

    Raises:
        OSError: one cannot be read, or the other cannot be written.
    """
    done = 0
    while done < amount:
        data = os.pread(source, min(LIMITS.read, amount - done), source_offset + done)
        if not data:
            break
        write_all(target, data, target_offset + done)
        done += len(data)
    return done
