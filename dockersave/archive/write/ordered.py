"""An archive that is written in order, to standard output or through a compressor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from ...pipes import await_reader
from ..disk import check_whole, writing
from ..members import Document, Layer
from ..tar import Plan, header, padding
from . import Movable, Slot, rest_of, room_to_leave
from .compressors import compressor
from .partfile import PartFile


class Target(Protocol):
    """Writes bytes in order."""

    takes_room: bool
    """Whether the output takes space on a disk of this machine."""

    def open(self) -> None:
        """Prepare it."""

    def write(self, data: bytes) -> None:
        """Write the next bytes."""

    def commit(self) -> None:
        """Finish."""

    def close(self) -> None:
        """Close it."""


class StandardOutput:
    """Standard output, whatever reads it."""

    takes_room = False

    def open(self) -> None:
        """Already open."""
        self._fd = sys.stdout.fileno()

    def write(self, data: bytes) -> None:
        """Write everything, however long that takes."""
        with writing("standard output"):
            _write(self._fd, data)

    def commit(self) -> None:
        """Nothing to publish."""

    def close(self) -> None:
        """Left open for the parent process."""


class SequentialFile:
    """A file that is not resumed: an earlier run's part is useless.

    Args:
        path: its name.
    """

    takes_room = True

    def __init__(self, path: str) -> None:
        self._file = PartFile(path)
        self._size = 0

    def open(self) -> None:
        """Start again."""
        self._file.open()
        if not self._file.is_new:
            os.close(self._file.renew())

    def write(self, data: bytes) -> None:
        """Append bytes."""
        with writing(self._file.path):
            self._check()
            _write(self._file.fd, data)
        self._size += len(data)

    def _check(self) -> None:
        check_whole(self._file.fd, self._file.part, self._size)

    def commit(self) -> None:
        """Give it its final name, unless it was truncated in the meantime."""
        self._check()
        self._file.publish()

    def close(self) -> None:
        """Remove it if it is incomplete."""
        self._file.discard()
        self._file.close()


class OrderedOutput:
    """A tar stream.

    Args:
        target: where to write it.
        compression: `gzip`, `zstd`, `xz`, or empty for none.
    """

    in_order = True

    def __init__(self, target: Target, compression: str = "") -> None:
        self._target = target
        self._compressor = compressor(compression, self._put) if compression else None
        self._write: Callable[[bytes], object] = (
            self._compressor.write if self._compressor else self._put
        )
        self._position = self._written = self.unreserved = 0

    def lay(self, plan: Plan) -> list[Slot]:
        """It has no places."""
        self._target.open()
        # Incompressible data becomes slightly larger.
        self.unreserved = plan.size + plan.size // 64 if self._target.takes_room else 0
        return []

    def begin(self, layers: Sequence[Layer], check: Callable[[], object]) -> Mapping[str, int]:
        """Nothing of a stream is kept."""
        self._target.open()
        # A stream's layers are also on the disk until it is their turn.
        self.unreserved = room_to_leave(layers)
        return {}

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        self._write(data)
        self._position += len(data)

    def _put(self, data: bytes) -> None:
        self._target.write(data)
        self._written += len(data)

    def append(self, layer: Layer, size: int, content: Movable) -> None:
        """Append a layer."""
        self.write(header(layer, size))
        content.move(lambda offset, data: self.write(data), backwards=False)
        self.write(bytes(padding(size)))

    def commit(self, documents: Iterable[Document] | None = None) -> int:
        """Write the rest, if layers were appended, and give it its final name.

        Returns:
            Its size in bytes, as it was written.
        """
        if documents is not None:
            self.write(rest_of(documents, self._position))
        if self._compressor:
            self._compressor.finish()
        self._target.commit()
        return self._written

    def close(self) -> None:
        """Close it."""
        if self._compressor:
            self._compressor.close()
        self._target.close()


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await_reader(fd)
