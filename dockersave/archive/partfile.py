"""`NAME.part`: locked while it is written, and given its own name when all of it is there."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from contextlib import ExitStack, suppress

from ..errors import OutputError, shown
from .place import writing

MAP = ".map"
"""What remembers, in a directory that is not complete, what has been written."""

_MEMBER = re.compile(
    r"\.map|oci-layout|(index|manifest)\.json|repositories|blobs/sha(256|512)/[0-9a-f]+"
    r"|[0-9a-f]{64}\.json|[0-9a-f]{64}/(layer\.tar|json|VERSION)"
)
"""The files of an image, in every format."""


class PartFile:
    """`NAME.part`, locked, which becomes `NAME`.

    Args:
        path: the final name.
        directory: whether it is a directory rather than a file.
    """

    def __init__(self, path: str, *, directory: bool = False) -> None:
        self.path = path
        self.part = f"{path}.part"
        self._old = f"{path}.old" if directory else self.part
        self._directory = directory
        self.fd = -1

    def open(self) -> None:
        """Create it, or take up what an earlier run left.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """
        for name in (self.path, self.part, self._old):
            self._check_kind(name)
        with writing(self.part):
            while True:
                self.fd = self._open(self.part, os.O_RDWR | os.O_CREAT)
                self._lock(self.fd)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self.fd), os.stat(self.part)):
                        return
                # The run that held the lock has published the file under its final name.
                self.close()

    def _check_kind(self, name: str) -> None:
        """Refuse to replace what is something else: a device, a pipe, a directory."""
        right = os.path.isdir if self._directory else os.path.isfile
        if os.path.exists(name) and not right(name):
            kind = "no directory" if self._directory else "no file"
            if os.path.isdir(name):
                kind = "a directory"
            raise OutputError(
                f"cannot write {self.path}: {name} is {kind}",
                "remove it, or choose another name with --output"
                if os.path.isdir(name)
                else "choose another name with --output",
            )
        if self._directory and (stranger := _stranger(name)):
            raise OutputError(
                f"cannot write {self.path}: {name} {stranger}",
                "choose another name with --layers-dir",
            )

    def _open(self, name: str, flags: int) -> int:
        if not self._directory:
            return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        with suppress(FileExistsError):
            os.mkdir(name)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"another dockersave is writing {self.path}",
                "wait for it, or choose another name with --output",
            ) from None
        except OSError as failure:
            # File systems without locks (some network ones) are written without one.
            if failure.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise

    def renew(self) -> int:
        """Put an empty file in its place.

        Returns:
            The old one, open and without a name: its space is free when it is closed.

        Raises:
            OutputError: it cannot be written.
        """
        fresh = f"{self.part}~"
        with writing(self.part), ExitStack() as undo:
            fd = self._open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            undo.callback(os.close, fd)
            self._lock(fd)
            os.rename(fresh, self.part)
            undo.pop_all()
        old, self.fd = self.fd, fd
        return old

    def publish(self) -> None:
        """Put it on the disk, then under its final name, replacing what is there.

        Raises:
            OutputError: it cannot be.
        """
        with writing(self.path):
            os.fsync(self.fd)
            old = self._old
            replaced = self._directory and os.path.isdir(self.path)
            if replaced:
                # A directory cannot be renamed over another one.
                shutil.rmtree(old, ignore_errors=True)
                os.rename(self.path, old)
            try:
                os.rename(self.part, self.path)
            except OSError:
                if replaced:
                    os.rename(old, self.path)
                raise
            if replaced:
                shutil.rmtree(old)
            directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def discard(self) -> None:
        """Remove it: the next run could do nothing with it."""
        with suppress(OSError):
            if os.path.samestat(os.fstat(self.fd), os.stat(self.part)):
                os.unlink(self.part)

    def close(self) -> None:
        """Let go of it, whatever has become of it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _stranger(folder: str) -> str:
    """What is in a directory that is not an image's; empty if nothing is.

    What a save replaces, it removes: so nothing may be in there that a save has not written.
    """
    if os.path.islink(folder):
        return "is a symbolic link"
    for inside, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(inside, name))]
        for name in (*names, *links):
            path = os.path.relpath(os.path.join(inside, name), folder)
            if not _MEMBER.fullmatch(path):
                return f"holds {shown(path)}, which belongs to no image"
    return ""
