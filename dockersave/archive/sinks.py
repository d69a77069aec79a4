"""Where an archive goes: a file or a directory, filled at any place and in any order.

Both are written under the name `NAME.part`, and get their own name when all of it is there and
on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from ..errors import OutputError
from .members import Blob, Content, Link, Member
from .partfile import PartFile
from .partmap import Extent, PartMap, Range
from .place import FilePlace, check_room, check_whole, copy, reserve, write_all, writing
from .strangers import MAP, remove_members
from .tar import Entry, Plan, fixed_parts

Slot = tuple[Entry, FilePlace, list[Range]]
"""A blob's entry, its place, and the ranges that an earlier run wrote there."""


class ArchiveFile:
    """A tar file that is filled in any order.

    Args:
        path: its name.
    """

    def __init__(self, path: str) -> None:
        self.file = PartFile(path)
        self._size = self._whole = 0

    def lay(self, plan: Plan) -> list[Slot]:
        """Write all that is no blob, and find what an earlier run has left of the blobs.

        Args:
            plan: the archive.

        Raises:
            OutputError: it cannot be written.
        """
        self._size = plan.size
        self.file.open()
        try:
            return self._lay(plan)
        except BaseException:
            if self.file.is_new:
                self.file.discard()
            raise

    def _lay(self, plan: Plan) -> list[Slot]:
        file = self.file
        entries = [entry for entry in plan.entries if isinstance(entry.member.data, Blob)]
        extents = [_extent(entry, entry.offset) for entry in entries]
        with writing(file.part):
            self._whole = PartMap.planned(file.fd, plan.size, extents).whole
            old = PartMap.load(file.fd)
            if old is not None and (old.offset, old.extents) == (plan.size, tuple(extents)):
                check_room(file.fd, file.path, self._whole, allocated(file.fd))
                partmap = old
            elif old is None and os.fstat(file.fd).st_size == plan.size:
                # All of it was there, the map was cut off, and then it could not be published.
                partmap = PartMap.create(file.fd, plan.size, extents)
                partmap.fill()
            else:
                partmap = self._renew(old, plan, extents)
            reserve(file.fd, self._whole)
            have = [partmap.present(extent) for extent in extents]
            for offset, body in fixed_parts(plan):
                write_all(file.fd, body, offset)
        return [
            (
                entry,
                FilePlace(file.part, file.fd, entry.offset, partmap, extent, self._whole),
                ranges,
            )
            for entry, extent, ranges in zip(entries, extents, have, strict=True)
        ]

    def _renew(self, old: PartMap | None, plan: Plan, extents: Sequence[Extent]) -> PartMap:
        """Begin anew, with the blobs that were in the old file at other places."""
        file = self.file
        freed = allocated(file.fd)
        check_room(file.fd, file.path, self._whole, freed)
        if file.is_new:
            return PartMap.create(file.fd, plan.size, extents)
        old_fd = file.renew()
        try:
            known = old.by_digest() if old else {}
            try:
                check_room(file.fd, file.path, self._whole)
            except OutputError:
                # There is room for one of them.
                os.ftruncate(old_fd, 0)
                known = {}
            partmap = PartMap.create(file.fd, plan.size, extents)
            reserve(file.fd, self._whole)
            for extent in extents:
                source = known.get(extent.digest)
                if old is None or source is None or source.size != extent.size:
                    continue
                for start, stop in old.present(source):
                    copied = copy(
                        old_fd,
                        source.offset + start,
                        file.fd,
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
            check_whole(self.file.fd, self.file.part, self._whole)
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

    def __init__(self, path: str) -> None:
        self.file = PartFile(path, directory=True)
        self._fds: list[int] = []
        self._expected: dict[str, tuple[int, int, int] | None] = {}

    def lay(self, plan: Plan, keep: AbstractSet[str] = frozenset()) -> list[Slot]:
        """As `ArchiveFile.lay`.

        Args:
            plan: what the directory is to hold.
            keep: the paths of what else may stay if it is there.
        """
        self.file.open()
        try:
            return self._lay(plan, keep)
        except BaseException:
            if self.file.is_new:
                self.file.discard()
            raise

    def _lay(self, plan: Plan, keep: AbstractSet[str]) -> list[Slot]:
        with writing(self.file.part):
            entries = [entry for entry in plan.entries if isinstance(entry.member.data, Blob)]
            extents = [_extent(entry, 0) for entry in entries]
            needed = sum(entry.size for entry in plan.entries)
            self.check_room(needed)
            map_fd = self._open(MAP)
            old = PartMap.load(map_fd)
            known = old.by_digest() if old else {}
            present = {
                digest: old.present(extent) for digest, extent in known.items() if old is not None
            }
            if old is None:
                # All of it was there, the map was removed, and then it could not be published.
                present = {extent.digest: [(0, extent.size)] for extent in extents}
            self._remove_others(keep | {entry.member.path for entry in plan.entries})
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
                reserve(fd, entry.size)
                self.expect(entry.member.path, fd)
                for start, stop in present.get(extent.digest, ()):
                    partmap.record(extent, start, stop)
                name = self._name(entry.member.path)
                place = FilePlace(name, fd, 0, partmap, extent, entry.size)
                slots.append((entry, place, partmap.present(extent)))
            return slots

    def check_room(self, needed: int, *, least: bool = False) -> None:
        """Make sure that there is room for files of `needed` bytes in all.

        Args:
            least: whether more than that may be needed.

        Raises:
            OutputError: there is not.
        """
        kept = 0
        for folder, _, names in os.walk(self.file.part):
            kept += sum(512 * os.lstat(os.path.join(folder, name)).st_blocks for name in names)
        check_room(self.file.fd, self.file.path, needed, kept, least=least)

    def expect(self, path: str, fd: int) -> None:
        """Note that a member is the file that is open, with the size that it has now."""
        status = os.fstat(fd)
        self._expected[path] = (status.st_dev, status.st_ino, status.st_size)

    def _name(self, path: str) -> str:
        return os.path.join(self.file.part, path)

    def open(self, path: str) -> int:
        """Open one member's file, which is empty if it was not there.

        Raises:
            OutputError: it cannot be.
        """
        with writing(self._name(path)):
            return self._open(path)

    def _open(self, path: str) -> int:
        name = self._name(path)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self._fds.append(fd)
        return fd

    def create(self, member: Member) -> int:
        """Create one member, with its content where that is here.

        Returns:
            The file that a blob goes to, to be released; -1 where there is nothing to write.

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
                self._expected[member.path] = None
                return -1
            fd = self._open(member.path)
            os.ftruncate(fd, 0)
            if isinstance(member.data, Content):
                write_all(fd, member.data.body, 0)
                self.expect(member.path, fd)
                self.release(fd)
                return -1
            return fd

    def release(self, fd: int) -> None:
        """Close a member's file: nobody writes it any more."""
        self._fds.remove(fd)
        os.close(fd)

    def _remove_others(self, wanted: AbstractSet[str]) -> None:
        """Remove what an earlier run for another image has left."""
        remove_members(self.file.part, wanted | {MAP})

    def publish(self) -> None:
        """Remove the map, and give the directory its name."""
        with writing(self.file.part):
            self.file.check_is_here()
            self._check_members()
            os.unlink(self._name(MAP))
            for folder, _, names in os.walk(self.file.part, topdown=False):
                for name in names:
                    _sync(os.path.join(folder, name))
                if not os.listdir(folder):
                    os.rmdir(folder)
        self.file.publish()

    def _check_members(self) -> None:
        """Make sure that the files are those that were written, and that nobody has cut them."""
        found = set()
        for folder, _, names in os.walk(self.file.part):
            found |= {os.path.relpath(os.path.join(folder, name), self.file.part) for name in names}
        for path in sorted(found - self._expected.keys() - {MAP}):
            raise OutputError(
                f"cannot write {self.file.path}: {self._name(path)} was put there meanwhile",
                "take it away, and run the same command again",
            )
        for path, expected in self._expected.items():
            status = os.lstat(self._name(path))
            if expected not in (None, (status.st_dev, status.st_ino, status.st_size)):
                raise OutputError(
                    f"cannot write {self.file.path}: {self._name(path)} was changed meanwhile",
                    "run the same command again, and let nothing else touch that directory",
                )

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
            self._drop_other_name()
        except OSError:
            return None
        return [
            (entry, FilePlace(self._path, self._fd, entry.offset), [(0, entry.size)])
            for entry in plan.entries
            if isinstance(entry.member.data, Blob)
        ]

    def _drop_other_name(self) -> None:
        """A run that was killed while it published may have left the file its first name, too."""
        part = f"{self._path}.part"
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._fd), os.lstat(part)):
                os.unlink(part)

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def allocated(fd: int) -> int:
    """What a file takes on the disk, in bytes."""
    return 512 * os.fstat(fd).st_blocks


def _sync(path: str) -> None:
    if not os.path.islink(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _extent(entry: Entry, offset: int) -> Extent:
    blob = entry.member.data
    assert isinstance(blob, Blob)
    return Extent(blob.stored.digest, entry.size, offset)
