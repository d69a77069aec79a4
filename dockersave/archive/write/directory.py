"""An archive's members as files in a directory, filled in any order or layer by layer."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress

from ...errors import OutputError
from ...spelling import argument
from ..disk import FileWriter, allocated, check_room, check_whole, reserve, sync, write_all, writing
from ..members import Document, Layer
from ..partmap import PartMap
from ..read.partial import is_there
from ..tar import Plan, lay_out
from . import Movable, Slot, extent_of, least_room, room_to_leave
from .ownership import MAP, remove_members
from .partfile import PartFile


class DirectoryTree:
    """The members as files in a directory.

    Args:
        path: its name.
    """

    in_order = False

    def __init__(self, path: str) -> None:
        self._size = self.unreserved = 0
        self.file = PartFile(path, directory=True)
        self._fds: list[int] = []
        self._expected: dict[str, tuple[int, int, int] | None] = {}

    def lay(self, plan: Plan, keep: AbstractSet[str] = frozenset()) -> list[Slot]:
        """Fill its files in any order.

        Args:
            plan: the directory's planned content.
            keep: paths of other files that may stay.
        """
        self.file.open()
        try:
            return self._lay(plan, keep)
        except BaseException:
            if self.file.is_new:
                self.file.discard()
            raise

    def _lay(self, plan: Plan, keep: AbstractSet[str]) -> list[Slot]:
        with _holding_many(), writing(self.file.part):
            extents = [extent_of(entry, 0) for entry in plan.layers]
            self._size = plan.content
            self._check_room(self._size)
            map_fd = self._open(MAP)
            old = PartMap.load(map_fd)
            known = old.by_digest() if old else {}
            present = {
                digest: old.present(extent) for digest, extent in known.items() if old is not None
            }
            if old is None:
                # An earlier run completed it and removed the map, but could not publish it.
                present = {extent.digest: [(0, extent.size)] for extent in extents}
            layers = {entry.member.path for entry in plan.layers}
            documents = {entry.member.path for entry in plan.documents}
            self._remove_others(keep | layers | documents)
            partmap = PartMap.create(map_fd, 0, extents)
            for document in plan.documents:
                self._create(document.member)
            slots: list[Slot] = []
            for entry, extent in zip(plan.layers, extents, strict=True):
                fd = self._open(entry.member.path)
                if os.fstat(fd).st_size != entry.size:
                    os.ftruncate(fd, entry.size)
                    if old is None:
                        present.pop(extent.digest, None)
                reserve(fd, entry.size)
                self._expect(entry.member.path, fd)
                for start, stop in present.get(extent.digest, ()):
                    partmap.record(extent, start, stop)
                name = self._name(entry.member.path)
                place = FileWriter(name, fd, 0, partmap, extent, entry.size)
                slots.append((entry, place, partmap.present(extent)))
            self.unreserved = max(0, self._size - allocated(self.file.part))
            return slots

    def _check_room(self, needed: int, *, least: bool = False) -> None:
        """Check that there is space for files of `needed` bytes in total.

        Args:
            least: whether more may be needed.

        Raises:
            OutputError: there is not enough.
        """
        kept = allocated(self.file.part)
        check_room(self.file.fd, self.file.path, needed, kept, least=least)

    def _expect(self, path: str, fd: int) -> None:
        """Record that a member is the open file, with its current size."""
        status = os.fstat(fd)
        self._expected[path] = (status.st_dev, status.st_ino, status.st_size)

    def _name(self, path: str) -> str:
        return os.path.join(self.file.part, path)

    def _open_member(self, path: str) -> int:
        """Open one member's file; a new one is empty.

        Raises:
            OutputError: it cannot be written.
        """
        with writing(self._name(path)):
            return self._open(path)

    def _open(self, path: str) -> int:
        name = self._name(path)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self._fds.append(fd)
        return fd

    def _create(self, document: Document) -> None:
        """Write one document.

        Raises:
            OutputError: it cannot be created.
        """
        name = self._name(document.path)
        with writing(name):
            if document.target:
                os.makedirs(os.path.dirname(name), exist_ok=True)
                with suppress(FileNotFoundError):
                    os.unlink(name)
                os.symlink(document.target, name)
                self._expected[document.path] = None
                return
            fd = self._open(document.path)
            os.ftruncate(fd, 0)
            write_all(fd, document.body, 0)
            self._expect(document.path, fd)
            self._release(fd)

    def _release(self, fd: int) -> None:
        """Close a member's file after its last write."""
        self._fds.remove(fd)
        os.close(fd)

    def _remove_others(self, wanted: AbstractSet[str]) -> None:
        """Remove what an earlier run left for another image."""
        remove_members(self.file.part, wanted | {MAP})

    def begin(self, layers: Sequence[Layer], check: Callable[[], object]) -> Mapping[str, int]:
        """Keep files that are complete layers."""
        self.lay(lay_out((), ()), {layer.path for layer in layers})
        kept: dict[str, int] = {}
        for layer in layers:
            fd = self._open_member(layer.path)
            with writing(layer.path):
                size = os.fstat(fd).st_size
                if is_there(fd, 0, size, layer.digest, check):
                    kept[layer.path] = size
                    self._expect(layer.path, fd)
            self._release(fd)
        self._size = sum(kept.values())
        missing = [layer for layer in layers if layer.path not in kept]
        try:
            self._check_room(self._size + least_room(missing), least=True)
        except OutputError:
            if self.file.is_new:
                self.file.discard()
            raise
        self.unreserved = room_to_leave(missing)
        return kept

    def append(self, layer: Layer, size: int, content: Movable) -> None:
        """Append a layer."""
        self._size += size
        fd, name = self._open_member(layer.path), layer.path

        def write(offset: int, data: bytes) -> None:
            check_whole(fd, name, size)
            write_all(fd, data, offset)

        with writing(name):
            os.ftruncate(fd, 0)
            os.ftruncate(fd, size)
            content.move(write, backwards=True)
            self._expect(name, fd)
            check_whole(fd, name, size)
        self._release(fd)

    def commit(self, documents: Iterable[Document] | None = None) -> int:
        """Write the rest, remove the map, and give the directory its name."""
        for document in documents or ():
            self._create(document)
            self._size += document.size
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
        return self._size

    def write(self, data: bytes) -> None:
        """It is not written in order."""
        raise NotImplementedError

    def _check_members(self) -> None:
        """Check that the files are those that were written, and not truncated."""
        found = set()
        for folder, _, names in os.walk(self.file.part):
            found |= {os.path.relpath(os.path.join(folder, name), self.file.part) for name in names}
        for path in sorted(found - self._expected.keys() - {MAP}):
            raise OutputError(
                f"cannot write {self.file.path}: {self._name(path)} appeared in the meantime",
                f"remove it, and {argument('again')}",
            )
        for path, expected in self._expected.items():
            status = os.lstat(self._name(path))
            if expected not in (None, (status.st_dev, status.st_ino, status.st_size)):
                raise OutputError(
                    f"cannot write {self.file.path}: {self._name(path)} was changed in "
                    "the meantime",
                    f"{argument('again')}, and keep other programs away from that directory",
                )

    def close(self) -> None:
        """Close it."""
        while self._fds:
            os.close(self._fds.pop())
        self.file.close()


@contextmanager
def _holding_many() -> Iterator[None]:
    """Explain the limit on open files: there is one for each layer."""
    try:
        yield
    except OutputError as failure:
        cause = failure.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.EMFILE:
            failure.hint = "raise the limit on open files (ulimit -n), or write an archive instead"
        raise


def _sync(path: str) -> None:
    if not os.path.islink(path):
        sync(path, os.O_NOFOLLOW)
