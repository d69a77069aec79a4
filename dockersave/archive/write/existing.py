"""An existing archive or directory."""

from __future__ import annotations

import os
from contextlib import suppress

from ..disk import FileWriter
from ..members import Document
from ..tar import Plan, fixed_parts
from . import Slot
from .partfile import unmark


class ExistingArchive:
    """An existing archive on the disk, to check whether it is already correct.

    Args:
        path: its name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def lay(self, plan: Plan) -> list[Slot] | None:
        """Its blobs, to be verified, if everything else matches the plan, or None.

        Args:
            plan: the expected content.
        """
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if os.fstat(self._fd).st_size != plan.size:
                return None
            for offset, body in fixed_parts(plan):
                if os.pread(self._fd, len(body), offset) != body:
                    return None
            self._complete()
        except OSError:
            return None
        return [
            (entry, FileWriter(self._path, self._fd, entry.offset), [(0, entry.size)])
            for entry in plan.layers
        ]

    def _complete(self) -> None:
        """Finish the work of a run that was killed while publishing."""
        part = f"{self._path}.part"
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._fd), os.lstat(part)):
                os.unlink(part)
        with suppress(OSError):
            unmark(self._fd)

    def close(self) -> None:
        """Close it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class ExistingTree:
    """An existing directory with an image, to check whether it is already correct.

    Args:
        path: its name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fds: list[int] = []

    def seems_to_be(self, plan: Plan) -> bool:
        """Whether it has files of the right names and sizes, and nothing else.

        Args:
            plan: the expected content.
        """
        expected = {each.member.path: each.size for each in plan.layers}
        expected |= {each.member.path: each.size for each in plan.documents}
        found: dict[str, int] = {}
        with suppress(OSError):
            for folder, _, names in os.walk(self._path):
                for path in (os.path.join(folder, name) for name in names):
                    size = 0 if os.path.islink(path) else os.lstat(path).st_size
                    found[os.path.relpath(path, self._path)] = size
        # The same run may have been killed while it replaced the directory.
        return found == expected and not os.path.lexists(f"{self._path}.part")

    def lay(self, plan: Plan) -> list[Slot] | None:
        """As `ExistingArchive.lay`."""
        try:
            if not self.seems_to_be(plan) or os.path.islink(self._path):
                return None
            if not all(self._has(entry.member) for entry in plan.documents):
                return None
            unmark(self._open(self._path, os.O_DIRECTORY))
            return [
                (entry, FileWriter(self._name(entry.member.path), fd, 0), [(0, entry.size)])
                for entry in plan.layers
                for fd in [self._open(self._name(entry.member.path))]
            ]
        except OSError:
            return None

    def _has(self, document: Document) -> bool:
        name = self._name(document.path)
        if document.target:
            return os.readlink(name) == document.target
        fd = self._open(name)
        is_same = os.read(fd, document.size + 1) == document.body
        os.close(self._fds.pop())
        return is_same

    def _name(self, path: str) -> str:
        return os.path.join(self._path, path)

    def _open(self, name: str, flags: int = 0) -> int:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | flags)
        self._fds.append(fd)
        return fd

    def close(self) -> None:
        """Close it."""
        while self._fds:
            os.close(self._fds.pop())
