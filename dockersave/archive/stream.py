"""An archive that is written in order: to standard output, or through a compressor.

Blobs are fetched into a window, a file without a name that is used as a ring. The last bytes
of a blob are held back until all of it is verified: what was written is never a whole archive
that has a wrong blob in it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from ..arrival import Arrival
from ..errors import OutputError
from ..limits import LIMITS
from ..verify import Buffer
from .members import Blob, Content
from .place import write_all, writing
from .tar import END, Plan, padding

Write = Callable[[bytes], object]


def spool(directory: str) -> int:
    """A file without a name, for what is too large for memory.

    Args:
        directory: where there is room.

    Raises:
        OutputError: it cannot be created.
    """
    directory = directory or "."
    with suppress(OSError):
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    # Some file systems have none without a name.
    with writing(directory):
        fd, name = tempfile.mkstemp(prefix=".dockersave-", dir=directory)
        os.unlink(name)
    return fd


class Window:
    """The part of the output between what has been written and what may be fetched.

    Args:
        directory: where its file may lie; where none may, it lies in memory and is smaller.
    """

    def __init__(self, directory: str) -> None:
        self.written = 0
        self.size = LIMITS.window
        try:
            self.fd = spool(directory)
        except OutputError:
            self.fd = os.memfd_create("dockersave", os.MFD_CLOEXEC)
            self.size = LIMITS.window_in_memory

    @property
    def horizon(self) -> int:
        """Up to which offset of the output there is room."""
        return self.written + self.size

    def write(self, offset: int, data: Buffer) -> None:
        """Put bytes at an offset of the output, which must be before the horizon."""
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
        """Put bytes there."""
        self._window.write(self._base + position, data)

    def read(self, position: int, amount: int) -> bytes:
        """Read back what was put there."""
        return self._window.read(self._base + position, amount)

    def record(self, start: int, stop: int) -> None:
        """A stream cannot be taken up again: nothing to remember."""

    def forget(self) -> None:
        """Nothing was remembered."""


def emit(
    plan: Plan,
    arrivals: dict[str, Arrival],
    window: Window,
    write: Write,
    wait: Callable[[Callable[[], bool]], None],
    moved: Callable[[], None],
) -> None:
    """Write a planned archive while its blobs arrive.

    Args:
        plan: the archive.
        arrivals: the blobs, by the path of their member.
        window: where they arrive.
        write: takes the archive's bytes.
        wait: returns when what it is given says true.
        moved: is told when there is more room in the window.
    """
    for entry in plan.entries:
        write(entry.header)
        if isinstance(entry.member.data, Content):
            write(entry.member.data.body)
        elif isinstance(entry.member.data, Blob):
            arrival = arrivals[entry.member.path]
            position = 0
            while position < entry.size:
                wait(partial(_is_ready, arrival, position))
                stop = min(_ready(arrival), position + LIMITS.read)
                data = window.read(entry.offset + position, stop - position)
                write(data)
                position += len(data)
                window.written = entry.offset + position
                moved()
        write(bytes(padding(entry.size)))
        window.written = entry.end
    write(END)


def _is_ready(arrival: Arrival, position: int) -> bool:
    return _ready(arrival) > position


def _ready(arrival: Arrival) -> int:
    """Up to which position a blob may be written."""
    if arrival.done:
        return arrival.size
    # What fits into the window can still be fetched again, as long as nothing has been written.
    if arrival.restartable:
        return 0
    return min(arrival.hashed, arrival.size - LIMITS.granule)
