"""An existing archive."""

from __future__ import annotations

import os
from contextlib import suppress

from ..place import FilePlace
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
            (entry, FilePlace(self._path, self._fd, entry.offset), [(0, entry.size)])
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
