"""Where bytes go: files that outlive their process, and layers that are unpacked."""

from __future__ import annotations

import random

from dockersave.compression import zstd
from dockersave.errors import OutputError
from dockersave.model.digest import Buffer
from dockersave.transfer.blobs import Blob
from dockersave.transfer.spans import merged
from dockersave.transfer.unpacking import UnpackedLayer
from tests.simulation.machine import Machine

WINDOW = 1024
"""The largest window that each thread may have."""
_WINDOWS = (10, 12)
"""Of frames, as powers of two: a small one, and one of which only one may be had at a time."""
_LAST = 200
"""Bytes at a layer's end that are read at once: a window may be needed when all has come."""


class Disk:
    """A blob's place in a file that outlives its process, and the map of what is there."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.there: list[tuple[int, int]] = []
        self.machine: Machine
        self.is_full = False

    def write(self, position: int, data: Buffer) -> None:
        """Put bytes there.

        Raises:
            OutputError: there is no room.
        """
        self.machine.step_aside()
        if self.is_full and position + len(data) > len(self.data) // 2:
            raise OutputError("the disk is full")
        if not self.machine.is_dead:
            assert position + len(data) <= len(self.data), "written beyond the blob's end"
            self.data[position : position + len(data)] = data
        self.machine.step_aside()

    def read(self, position: int, amount: int) -> bytes:
        """Read it back."""
        return bytes(self.data[position : position + amount])

    def record(self, start: int, stop: int) -> None:
        """Remember that it is there."""
        if not self.machine.is_dead:
            self.there = merged([*self.there, (start, stop)])

    def forget(self) -> None:
        """Remember that nothing is."""
        self.there = []


def packed(plain: bytes, dice: random.Random) -> bytes:
    """A layer as it is served: as it is, or in frames with windows of any size."""
    if dice.random() < 0.2:
        return plain
    last = max(0, len(plain) - _LAST)
    cuts = sorted(
        dice.randint(dice.choice([0, last]), len(plain)) for _ in range(dice.randint(0, 2))
    )
    frames = []
    for start, stop in zip([0, *cuts], [*cuts, len(plain)], strict=True):
        options = {zstd().CompressionParameter.window_log: dice.choice(_WINDOWS)}
        packer = zstd().ZstdCompressor(options=options)
        frames.append(packer.compress(plain[start:stop]) + packer.flush())
    return b"".join(frames)


class WatchedLayer(UnpackedLayer):
    """A layer that others may come before at each step of its unpacking.

    Parameters:
        blob, diff_id: see `UnpackedLayer`.
        machine: where it is unpacked.
        large: the layers of this process that have a large window.
        is_full: whether the disk has no room for all of it.
    """

    def __init__(
        self,
        blob: Blob,
        diff_id: str,
        machine: Machine,
        large: set[WatchedLayer],
        is_full: bool,
    ) -> None:
        super().__init__(blob, diff_id, "", lambda: None)
        self._machine = machine
        self._large = large
        self._is_full = is_full
        self._is_busy = False

    def _may_have(self, window: int) -> bool:
        has = super()._may_have(window)
        if has and window > WINDOW:
            self._large.add(self)
            assert len(self._large) == 1, "two large windows at once"
        return has

    def hash(self, data: Buffer) -> int:
        """Unpack, with nobody else at it."""
        assert not self._is_busy, "two threads unpack one layer"
        self._is_busy = True
        try:
            return super().hash(data)
        finally:
            self._is_busy = False

    def _store(self, data: bytes) -> None:
        self._machine.wait(self._machine.dice.choice([0.0, 0.01, 0.1]))
        if self._is_full:
            raise OutputError("the disk is full")
        super()._store(data)

    def _forget(self) -> None:
        self._large.discard(self)
        super()._forget()
