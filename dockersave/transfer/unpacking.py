"""Layers that are stored uncompressed: unpacked and hashed twice while they arrive.

The unpacked size of a layer is not known beforehand. So each is unpacked into an unnamed file,
several in parallel, and moved after the previous one when that is in place. Moving frees space as
it goes: the disk never holds more than the result and one chunk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from ..archive.disk import write_all, writing
from ..archive.members import Layer
from ..compression import Decompressor
from ..errors import ContentError
from ..limits import LIMITS
from ..model.digest import Buffer, Verifier
from .blobs import Blob
from .run_cache import CacheWriter
from .window import spool
from .workers import WorkerPool


class UnpackedLayer:
    """A layer that is unpacked from its source into an unnamed file.

    Args:
        blob: the ledger's record of it: sequential, in the source's form.
        diff_id: its expected digest when unpacked.
        directory: where to create the file.
        keep: starts to cache the layer as served.
    """

    def __init__(
        self, blob: Blob, diff_id: str, directory: str, keep: Callable[[], CacheWriter | None]
    ) -> None:
        self.blob = blob
        self.digest = blob.digest
        self.size = blob.size
        self.diff_id = diff_id
        self.unpacked_size = 0
        self._directory = directory
        self._keep = keep
        self._kept: CacheWriter | None = None
        self._fd = -1
        self._epoch = -1
        self._is_there = False
        self._held = b""
        self.claim: Callable[[Blob], bool] = lambda blob: True
        """Called before much memory is needed: see `WorkerPool.claim`."""

    def found(self, size: int) -> None:
        """It is already in place.

        Args:
            size: unpacked, in bytes.
        """
        self.unpacked_size = size
        self._is_there = True

    @property
    def done(self) -> bool:
        """Whether it is complete and verified."""
        return self._is_there or self.blob.done

    @property
    def present(self) -> int:
        """How many bytes, as served, have been unpacked."""
        # A local copy may be smaller or larger than the served one.
        return self.size if self.done else min(self.size, self.blob.present)

    @property
    def reused(self) -> int:
        """How many of them were already on this machine."""
        return self.present if self._is_there or self.blob.reused else 0

    def write(self, position: int, data: Buffer) -> None:
        """Accept bytes: they are unpacked when they are hashed."""
        if self._epoch != self.blob.epoch:
            self._begin()
        if self._kept:
            self._kept.write(position, data)

    def _begin(self) -> None:
        self.close()
        self._epoch = self.blob.epoch
        self._fd = spool(self._directory)
        self.unpacked_size = 0
        is_local = self.blob.sources[0].is_local
        self._kept = None if is_local else self._keep()
        name = f"layer {self.digest}"
        # A local source may have the layer unpacked: then its digest is the diff_id.
        self._raw = Verifier(None if is_local else self.digest, None, name)
        self._plain = Verifier(self.diff_id, None, f"{name}, unpacked,")
        self._held = b""
        # Layers of what is no image stay as they are: a Helm chart's is compressed.
        is_packed = self.diff_id != self.digest
        self._decompressor = Decompressor(name, self._may_have, is_packed=is_packed)

    def read(self, position: int, amount: int) -> bytes:
        """The bytes that could not be unpacked yet; others are not kept."""
        return self._held[:amount]

    def _may_have(self, window: int) -> bool:
        return window <= LIMITS.window_each or self.claim(self.blob)

    def hash(self, data: Buffer) -> int:
        """Unpack the next bytes.

        Returns:
            How many; fewer than all if there is no memory for the rest right now.

        Raises:
            ContentError: they cannot be unpacked, or are too large.
            OutputError: there is no space.
        """
        data = bytes(data)
        for piece in self._decompressor.feed(data):
            self._store(piece)
        taken = len(data) - self._decompressor.held
        self._raw.update(data[:taken])
        self._held = (self._held or data)[taken:]
        return taken

    def _store(self, data: bytes) -> None:
        self.unpacked_size += len(data)
        if self.unpacked_size > LIMITS.unpacked_layer:
            most = LIMITS.unpacked_layer >> 30
            raise ContentError(f"layer {self.digest} is larger than {most} GiB when unpacked")
        self._plain.update(data)
        with writing(self._directory or "."):
            write_all(self._fd, data, self.unpacked_size - len(data))

    def judge(self) -> None:
        """Verify the layer, once all of it has arrived.

        Raises:
            ContentError: it is wrong, as served or unpacked.
        """
        if self._epoch != self.blob.epoch:
            self._begin()
        for piece in self._decompressor.finish():
            self._store(piece)
        self._raw.finish()
        self._plain.finish()
        if self._kept:
            self._kept.commit(self.read)
        self._forget()

    def _forget(self) -> None:
        # Release the window: an image may have thousands of layers.
        self._epoch = -1
        del self._raw, self._plain, self._decompressor

    def renew(self) -> None:
        """The next bytes restart if the ledger has: see `write`. Release its window now."""
        if self._epoch not in (-1, self.blob.epoch):
            self.close()
            self._forget()

    def take(self) -> int:
        """Hand over the unnamed file that has it, and nothing else; the caller closes it."""
        fd, self._fd = self._fd, -1
        return fd

    def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
        """Pass on the unpacked layer chunk by chunk, freeing the space of each.

        Args:
            write: called with an offset in the layer and bytes.
            backwards: the last chunk first, so that space is freed as it goes.
        """
        chunk = 2 * LIMITS.read
        starts = range(0, self.unpacked_size, chunk)
        for start in reversed(starts) if backwards else starts:
            write(start, os.pread(self._fd, chunk, start))
            if backwards:
                os.ftruncate(self._fd, start)
        self.close()

    def close(self) -> None:
        """Free its space."""
        if self._kept:
            self._kept.close()
            self._kept = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Appender:
    """Appends layers to an output in their order, each as soon as it is unpacked.

    Args:
        layers: which, each with what unpacks it. How far `workers` may go is counted in layers, as
            the `base` of each one's blob is.
        append: takes a layer, its size in bytes, and its content.
        workers: unpack them.
        ahead: how many may be unpacked before they can be appended.
    """

    def __init__(
        self,
        layers: Sequence[tuple[Layer, UnpackedLayer]],
        append: Callable[[Layer, int, UnpackedLayer], object],
        workers: WorkerPool,
        ahead: int,
    ) -> None:
        self._append = append
        self._workers = workers
        self._ahead = ahead
        self._steps = self._appended(layers)
        workers.grant_room(ahead)

    def advance(self) -> bool:
        """Append what can be appended; returns whether that was all."""
        return next(self._steps, True)

    def _appended(self, layers: Sequence[tuple[Layer, UnpackedLayer]]) -> Iterator[bool]:
        for layer, unpacked in layers:
            while not unpacked.done:
                yield False
            self._append(layer, unpacked.unpacked_size, unpacked)
            self._workers.grant_room(unpacked.blob.base + self._ahead + 1)
