"""An archive that is written in order: to standard output, or through a compressor.

Blobs are fetched into a window, an unnamed file used as a ring buffer. The last bytes of a blob are
held back until all of it is verified, so that a complete archive never contains a wrong blob.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from ..archive.place import check_room, reserve, write_all, writing
from ..archive.tar import END, Plan, padding
from ..errors import OutputError
from ..limits import LIMITS
from ..model.digest import Buffer
from .blobs import Blob


def spool(directory: str) -> int:
    """An unnamed file, for data that is too large for memory.

    Args:
        directory: where to create the file.

    Raises:
        OutputError: it cannot be created.
    """
    directory = directory or "."
    with suppress(OSError):
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    # Some file systems do not support unnamed files.
    with writing(f"a temporary file in {directory}"):
        fd, name = tempfile.mkstemp(prefix=".dockersave-", dir=directory)
        os.unlink(name)
    return fd


def _with_room(fd: int, size: int, others: int) -> int:
    """Take a file's room, if that leaves enough for others.

    Raises:
        OutputError: there is not enough; the file is closed.
    """
    try:
        check_room(fd, "", size + others)
        with writing("the window of the stream"):
            reserve(fd, size)
    except OutputError:
        os.close(fd)
        raise
    return fd


class Window:
    """The part of the output that is fetched ahead of what has been written.

    Args:
        directory: where its file may lie; where none may, or there is no room for it, it lies in
            memory and is smaller.
        whole: the size of the output, in bytes: no more is needed.
        others: what else is to be written there, in bytes.
    """

    def __init__(self, directory: str, whole: int = LIMITS.window, others: int = 0) -> None:
        self.size = LIMITS.window
        try:
            self.fd = _with_room(spool(directory), min(whole, self.size), others)
        except OutputError:
            self.fd = os.memfd_create("dockersave", os.MFD_CLOEXEC)
            self.size = LIMITS.window_in_memory

    def write(self, offset: int, data: Buffer) -> None:
        """Write bytes at an offset of the output, less than `size` after the first byte still
        needed."""
        at = offset % self.size
        head = self.size - at
        with writing("the window of the stream"):
            write_all(self.fd, memoryview(data)[:head], at)
            if head < len(data):
                write_all(self.fd, memoryview(data)[head:], 0)

    def read(self, offset: int, amount: int) -> bytes:
        """Read bytes at an offset of the output, up to the end of the ring."""
        at = offset % self.size
        return os.pread(self.fd, min(amount, self.size - at), at)

    def close(self) -> None:
        """Free its space."""
        os.close(self.fd)


class WindowPlace:
    """A blob's place in a window.

    Args:
        window: the window.
        base: the blob's offset in the output.
    """

    def __init__(self, window: Window, base: int) -> None:
        self._window = window
        self._base = base

    def write(self, position: int, data: Buffer) -> None:
        """Write bytes."""
        self._window.write(self._base + position, data)

    def read(self, position: int, amount: int) -> bytes:
        """Read bytes back."""
        return self._window.read(self._base + position, amount)

    def record(self, start: int, stop: int) -> None:
        """A stream cannot be resumed: nothing to record."""

    def forget(self) -> None:
        """Nothing was recorded."""


class Emitter:
    """Writes a planned archive while its blobs arrive.

    Args:
        plan: the archive.
        blobs: of its layers, in their order.
        window: where they arrive.
        write: called with the archive's bytes.
        grant_room: called with the offset of the output up to which there is room.
    """

    def __init__(
        self,
        plan: Plan,
        blobs: Sequence[Blob],
        window: Window,
        write: Callable[[bytes], object],
        grant_room: Callable[[int], None],
    ) -> None:
        self._window = window
        self._write = write
        self._grant_room = grant_room
        self._steps = self._emit(plan, blobs)
        self._grant_room(window.size)

    def advance(self) -> bool:
        """Write as much as possible; returns whether everything is written."""
        return next(self._steps, True)

    def _emit(self, plan: Plan, blobs: Sequence[Blob]) -> Iterator[bool]:
        for entry, blob in zip(plan.layers, blobs, strict=True):
            self._write(entry.header)
            position = 0
            while position < entry.size:
                while (ready := _ready(blob)) <= position:
                    yield False
                stop = min(ready, position + LIMITS.read)
                data = self._window.read(entry.offset + position, stop - position)
                self._write(data)
                position += len(data)
                self._grant_room(entry.offset + position + self._window.size)
            while not blob.done:
                yield False
            self._write(bytes(padding(entry.size)))
            self._grant_room(entry.end + self._window.size)
        for document in plan.documents:
            self._write(document.header)
            self._write(document.member.body)
            self._write(bytes(padding(document.size)))
        self._write(END)


def is_restartable(size: int, window: Window) -> bool:
    """Whether a blob of `size` bytes is held back until all of it is verified."""
    return size <= window.size // 2


def _ready(blob: Blob) -> int:
    """Up to which position a blob may be written."""
    if blob.done:
        return blob.size
    # A blob that fits into the window can be fetched again, as long as nothing of it was written.
    if blob.restartable:
        return 0
    return min(blob.hashed, blob.size - LIMITS.granule)
