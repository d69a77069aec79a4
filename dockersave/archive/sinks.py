"""Where an archive goes: a file or a directory. The only code that writes the output.

Both are filled under the name `NAME.part`, at any place and in any order, and get their own
name when all of it is there and on the disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from ..errors import OutputError
from ..limits import LIMITS
from ..verify import Buffer
from .members import Blob, Content, Link, Member
from .partmap import Extent, PartMap, Range
from .tar import Entry, Plan, fixed_parts

Slot = tuple[Entry, "FilePlace", list[Range]]
"""A blob's entry, its place, and the ranges that an earlier run wrote there."""

_HINTS = {
    errno.ENOSPC: "make room and run the same command again: it goes on where it stopped",
    errno.EDQUOT: "make room and run the same command again: it goes on where it stopped",
    errno.EACCES: "choose another place with --output or --working-dir",
    errno.EPERM: "choose another place with --output or --working-dir",
    errno.EROFS: "choose another place with --output or --working-dir",
    errno.ENOENT: "create the directory first, or choose another with --working-dir",
    errno.ENOTDIR: "choose another place with --output or --working-dir",
    errno.EISDIR: "remove that directory, or choose another name with --output",
    errno.EFBIG: "the file system holds no files of that size; choose another place",
    errno.EIO: "the disk reports an error; choose another place with --output or --working-dir",
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


class PartFile:
    """`NAME.part`, locked, which becomes `NAME`.

    Args:
        path: the final name.
        directory: whether it is a directory rather than a file.
    """

    def __init__(self, path: str, *, directory: bool = False) -> None:
        self.path = path
        self.part = f"{path}.part"
        self._directory = directory
        self.fd = -1

    def open(self) -> None:
        """Create it, or take up what an earlier run left.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """
        for name in (self.path, self.part):
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
                "remove it, or choose another name with --output",
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
            old = f"{self.path}.old"
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


class ArchiveFile:
    """A tar file that is filled in any order.

    Args:
        path: its name.
    """

    def __init__(self, path: str) -> None:
        self.file = PartFile(path)
        self._size = 0

    def lay(self, plan: Plan) -> list[Slot]:
        """Write all that is no blob, and find what an earlier run has left of the blobs.

        Args:
            plan: the archive.

        Raises:
            OutputError: it cannot be written.
        """
        self._size = plan.size
        file = self.file
        file.open()
        entries = [entry for entry in plan.entries if isinstance(entry.member.data, Blob)]
        extents = [_extent(entry, entry.offset) for entry in entries]
        with writing(file.part):
            old = PartMap.load(file.fd)
            if old is not None and (old.offset, old.extents) == (plan.size, tuple(extents)):
                partmap = old
            elif old is None and os.fstat(file.fd).st_size == plan.size:
                # All of it was there, the map was cut off, and then it could not be published.
                partmap = PartMap.create(file.fd, plan.size, extents)
                partmap.fill()
            else:
                partmap = self._renew(old, plan, extents)
            have = [partmap.present(extent) for extent in extents]
            for offset, body in fixed_parts(plan):
                write_all(file.fd, body, offset)
        return [
            (entry, FilePlace(file.part, file.fd, entry.offset, partmap, extent), ranges)
            for entry, extent, ranges in zip(entries, extents, have, strict=True)
        ]

    def _renew(self, old: PartMap | None, plan: Plan, extents: Sequence[Extent]) -> PartMap:
        """Begin anew, with the blobs that were in the old file at other places."""
        old_fd = self.file.renew()
        try:
            partmap = PartMap.create(self.file.fd, plan.size, extents)
            known = old.by_digest() if old else {}
            for extent in extents:
                source = known.get(extent.digest)
                if old is None or source is None or source.size != extent.size:
                    continue
                for start, stop in old.present(source):
                    copied = copy(
                        old_fd,
                        source.offset + start,
                        self.file.fd,
                        extent.offset + start,
                        stop - start,
                    )
                    partmap.record(extent, start, start + copied)
            return partmap
        finally:
            os.close(old_fd)

    def publish(self) -> None:
        """Cut off the map, and give the file its name."""
        with writing(self.file.part):
            os.ftruncate(self.file.fd, self._size)
        self.file.publish()

    def close(self) -> None:
        """Let go of it."""
        self.file.close()


class DirectoryTree:
    """The members as files of a directory.

    Args:
        path: its name.
    """

    _MAP = ".map"

    def __init__(self, path: str) -> None:
        self.file = PartFile(path, directory=True)
        self._fds: list[int] = []

    def lay(self, plan: Plan) -> list[Slot]:
        """As `ArchiveFile.lay`."""
        self.file.open()
        with writing(self.file.part):
            entries = [entry for entry in plan.entries if isinstance(entry.member.data, Blob)]
            extents = [_extent(entry, 0) for entry in entries]
            map_fd = self._open(self._MAP)
            old = PartMap.load(map_fd)
            known = old.by_digest() if old else {}
            present = {
                digest: old.present(extent) for digest, extent in known.items() if old is not None
            }
            if old is None:
                # All of it was there, the map was removed, and then it could not be published.
                present = {extent.digest: [(0, extent.size)] for extent in extents}
            self._remove_strangers({entry.member.path for entry in plan.entries})
            partmap = PartMap.create(map_fd, 0, extents)
            for entry in plan.entries:
                if not isinstance(entry.member.data, Blob):
                    self.create(entry.member)
            slots: list[Slot] = []
            for entry, extent in zip(entries, extents, strict=True):
                fd = self._open(entry.member.path)
                if os.fstat(fd).st_size != entry.size:
                    os.ftruncate(fd, entry.size)
                    if old is None:
                        present.pop(extent.digest, None)
                for start, stop in present.get(extent.digest, ()):
                    partmap.record(extent, start, stop)
                place = FilePlace(self._name(entry.member.path), fd, 0, partmap, extent)
                slots.append((entry, place, partmap.present(extent)))
            return slots

    def _name(self, path: str) -> str:
        return os.path.join(self.file.part, path)

    def _open(self, path: str) -> int:
        name = self._name(path)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self._fds.append(fd)
        return fd

    def create(self, member: Member) -> int:
        """Create one member, with its content where that is here.

        Returns:
            The file that its content goes to; -1 if it is none.

        Raises:
            OutputError: it cannot be created.
        """
        name = self._name(member.path)
        with writing(name):
            if member.is_directory:
                os.makedirs(name, exist_ok=True)
                return -1
            if isinstance(member.data, Link):
                os.makedirs(os.path.dirname(name), exist_ok=True)
                with suppress(FileNotFoundError):
                    os.unlink(name)
                os.symlink(member.data.target, name)
                return -1
            fd = self._open(member.path)
            os.ftruncate(fd, 0)
            if isinstance(member.data, Content):
                write_all(fd, member.data.body, 0)
            return fd

    def _remove_strangers(self, wanted: set[str]) -> None:
        """Remove what an earlier run for another image has left."""
        for folder, _, names in os.walk(self.file.part):
            for name in names:
                path = os.path.join(folder, name)
                inside = os.path.relpath(path, self.file.part)
                if inside not in wanted and inside != self._MAP:
                    os.unlink(path)

    def publish(self) -> None:
        """Remove the map, and give the directory its name."""
        with writing(self.file.part):
            for fd in self._fds:
                os.fsync(fd)
            os.unlink(self._name(self._MAP))
            for folder, _, _ in os.walk(self.file.part, topdown=False):
                if not os.listdir(folder):
                    os.rmdir(folder)
        self.file.publish()

    def close(self) -> None:
        """Let go of it."""
        while self._fds:
            os.close(self._fds.pop())
        self.file.close()


class ExistingArchive:
    """An archive that is on the disk already, to see whether it is what it should be.

    Args:
        path: its name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def lay(self, plan: Plan) -> list[Slot] | None:
        """Its blobs, to be verified, if all the rest is just as planned; else None.

        Args:
            plan: what it should be.
        """
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if os.fstat(self._fd).st_size != plan.size:
                return None
            for offset, body in fixed_parts(plan):
                if os.pread(self._fd, len(body), offset) != body:
                    return None
        except OSError:
            return None
        return [
            (entry, FilePlace(self._path, self._fd, entry.offset), [(0, entry.size)])
            for entry in plan.entries
            if isinstance(entry.member.data, Blob)
        ]

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


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


def _extent(entry: Entry, offset: int) -> Extent:
    blob = entry.member.data
    assert isinstance(blob, Blob)
    return Extent(blob.stored.digest, entry.size, offset)
