"""A place in a file, and what to say when it cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import OutputError
from ..limits import LIMITS
from ..verify import Buffer
from .partmap import Extent, PartMap

_HINTS = {
    errno.ENOSPC: "make room and run the same command again: it goes on where it stopped",
    errno.EDQUOT: "make room and run the same command again: it goes on where it stopped",
    errno.EACCES: "choose another place with --output or --working-dir",
    errno.EPERM: "choose another place with --output or --working-dir",
    errno.EROFS: "choose another place with --output or --working-dir",
    errno.ENOENT: "create the directory first, or choose another with --working-dir",
    errno.ENOTDIR: "choose another place with --output or --working-dir",
    errno.EISDIR: "remove that directory, or choose another name with --output",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another file system",
    errno.EIO: "the disk reports an error; choose another place with --output or --working-dir",
    errno.EBADF: "redirect it to a file or a program that takes it",
    errno.EMFILE: "raise the limit on open files (ulimit -n), or write an archive instead",
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


class FilePlace:
    """A blob's place in a file.

    Args:
        path: the file's name, for messages.
        fd: the file.
        offset: where the blob begins in it, in bytes.
        partmap, extent: where to remember what was written; None where nobody will ask.
    """

    def __init__(
        self,
        path: str,
        fd: int,
        offset: int,
        partmap: PartMap | None = None,
        extent: Extent | None = None,
    ) -> None:
        self._path = path
        self._fd = fd
        self._offset = offset
        self._map = partmap
        self._extent = extent

    def write(self, position: int, data: Buffer) -> None:
        """Put bytes there."""
        try:
            write_all(self._fd, data, self._offset + position)
        except OSError as failure:
            raise output_error(failure, self._path) from failure

    def read(self, position: int, amount: int) -> bytes:
        """Read back what was put there."""
        with writing(self._path):
            data = os.pread(self._fd, amount, self._offset + position)
        if not data:
            raise OutputError(f"{self._path} has become shorter", "is another program writing it?")
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
