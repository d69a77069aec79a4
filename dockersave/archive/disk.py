"""A place in a file, and what to say when it cannot be written."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..errors import OutputError
from ..limits import LIMITS
from ..model.digest import Buffer
from ..units import in_bytes
from .partmap import Extent, PartMap

_HINTS = {
    errno.ENOSPC: "free some space and run the same command again: it continues where it stopped",
    errno.EDQUOT: "free some space and run the same command again: it continues where it stopped",
    errno.EACCES: "choose another place with --output or --working-dir",
    errno.EPERM: "choose another place with --output or --working-dir",
    errno.EROFS: "choose another place with --output or --working-dir",
    errno.ENOENT: "create the directory first, or choose another with --working-dir",
    errno.ENOTDIR: "choose another place with --output or --working-dir",
    errno.EISDIR: "remove that directory, or choose another name with --output",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another file system",
    errno.EIO: "the disk reports an error; choose another place with --output or --working-dir",
    errno.EBADF: "redirect it to a file, or pipe it into a program that reads it",
    errno.EMFILE: "raise the limit on open files (ulimit -n), or use fewer --jobs",
    errno.ELOOP: "it is a symbolic link: remove it, or choose another name with --output",
}


def output_error(failure: OSError, path: str) -> OutputError:
    """What to say when `path` cannot be written."""
    cause = os.strerror(failure.errno) if failure.errno else str(failure)
    return OutputError(f"cannot write {path}: {cause}", _HINTS.get(failure.errno or 0, ""))


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an operating system's error about `path` into an `OutputError`."""
    try:
        yield
    except OSError as failure:
        raise output_error(failure, path) from failure


def free_room(fd: int) -> int | None:
    """How much can be written to a file system, in bytes; None if it does not say.

    Args:
        fd: a file or directory on it.
    """
    status = os.fstatvfs(fd)
    # The superuser may use what is reserved.
    free = status.f_bfree if os.geteuid() == 0 else status.f_bavail
    return free * status.f_frsize if status.f_blocks else None


def allocated(path: str) -> int:
    """What a file, or a directory with all in it, takes on the disk, in bytes; 0 for none.

    Another run may publish or remove any of it meanwhile.
    """
    taken = 0
    inside = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    for each in (path, *inside):
        with suppress(FileNotFoundError):
            taken += 512 * os.lstat(each).st_blocks
    return taken


def check_room(
    fd: int, path: str, needed: int, kept: int = 0, *, least: bool = False, beside: str = ""
) -> None:
    """Make sure that there is room before the first byte is fetched.

    Args:
        fd: the file or directory that is to be written.
        path: its final name, for messages.
        beside: that of another one for which room is needed, too.
        needed: bytes in all.
        kept: bytes on the disk that are among them, or are freed first.
        least: whether more than that may be needed.

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
            "free some space there, or choose another place with --output or --working-dir",
        )


def reserve(fd: int, size: int) -> None:
    """Take a file's room, so that nobody else fills it meanwhile, if the file system can do that.

    Where it cannot, glibc's `posix_fallocate` writes a byte to each block instead; not to a file
    that is open for appending, which it refuses.

    Args:
        fd: the file; nobody else may be writing to it.
        size: in bytes.

    Raises:
        OSError: there is not enough room.
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
        offset: where the blob begins in it, in bytes.
        partmap, extent: where to remember what was written; None where nobody will ask.
        whole: the size that the file has for as long as it is written, in bytes: somebody who
            cuts it leaves a hole where bytes were that have been verified.
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
        """Put bytes there."""
        try:
            check_whole(self._fd, self._path, self._whole)
            write_all(self._fd, data, self._offset + position)
        except OSError as failure:
            raise output_error(failure, self._path) from failure

    def read(self, position: int, amount: int) -> bytes:
        """Read back what was put there."""
        with writing(self._path):
            data = os.pread(self._fd, amount, self._offset + position)
        if not data:
            raise shortened(self._path)
        return data

    def record(self, start: int, stop: int) -> None:
        """Remember, for a later run, that these bytes are there."""
        if self._map is not None and self._extent is not None:
            try:
                self._map.record(self._extent, start, stop)
            except OSError as failure:
                raise output_error(failure, self._path) from failure

    def forget(self) -> None:
        """Remember that nothing is."""
        if self._map is not None and self._extent is not None:
            with writing(self._path):
                self._map.forget(self._extent)


def check_whole(fd: int, path: str, size: int) -> None:
    """Make sure that nobody has cut a file.

    Args:
        fd: the file.
        path: its name, for messages.
        size: what it has to have at least, in bytes.

    Raises:
        OutputError: it has less.
        OSError: it cannot be asked.
    """
    if os.fstat(fd).st_size < size:
        raise shortened(path)


def shortened(path: str) -> OutputError:
    """What to say when somebody has cut a file that is being written."""
    return OutputError(
        f"{path} was truncated while it was being written",
        "run the same command again, and keep other programs away from that file",
    )


def write_all(fd: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at an offset; a disk that fills up may take a part first.

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
        How many there were, `amount` at most.

    Raises:
        OSError: one cannot be read, or the other not written.
    """
    done = 0
    while done < amount:
        data = os.pread(source, min(LIMITS.read, amount - done), source_offset + done)
        if not data:
            break
        write_all(target, data, target_offset + done)
        done += len(data)
    return done
