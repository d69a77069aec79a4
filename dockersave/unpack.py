"""Layers that are stored without compression: fetched, unpacked and hashed twice in one pass.

How large a layer is unpacked, nobody knows before it is. So each is unpacked into a file
without a name, several at once, and moved behind the one before it when that is in its place.
Moving frees what has been moved: at no time is there more on the disk than the result and one
chunk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from .archive.members import Blob
from .archive.place import write_all, writing
from .archive.stream import spool
from .arrival import Source
from .cache import Entry
from .cancellation import Cancellation
from .compression import Decompressor
from .crew import Crew, Shed
from .errors import ContentError, NetworkError
from .fetch import Retrier
from .flow import Flow, Reader
from .limits import LIMITS
from .verify import Verifier

_TRIES = 2


class UnpackedLayer:
    """One layer on its way from its registry into a file without a name.

    Args:
        blob: what the registry has, and what is stored.
        sources: where the unpacked layer may lie, then where the served one does.
        directory: where there is room.
        keep: begins to keep the served layer for other runs.
    """

    def __init__(
        self,
        blob: Blob,
        sources: Sequence[Source],
        directory: str,
        keep: Callable[[], Entry | None] = lambda: None,
    ) -> None:
        self._keep = keep
        self.digest = blob.served.digest
        self.size = blob.served.size
        self.diff_id = blob.stored.digest
        self.present = 0
        self.reused = 0
        self.done = False
        self.unpacked_size = 0
        self.fd = -1
        self._sources = sources
        self._directory = directory

    def found(self, size: int) -> None:
        """It is in its place already.

        Args:
            size: unpacked, in bytes.
        """
        self.unpacked_size = size
        self.present = self.reused = self.size
        self.done = True

    def fetch(self, retry: Retrier, flow: Flow, stopping: Callable[[], bool]) -> None:
        """Fetch and unpack it.

        Raises:
            DockersaveError: it cannot be had, is not what it should be, or cannot be written.
        """
        strikes = 0
        for source in self._sources:
            while True:
                try:
                    self._once(source, retry, flow, stopping)
                    return
                except (ContentError, OSError) as failure:
                    if source.is_local:
                        break
                    if not isinstance(failure, ContentError):
                        raise
                    strikes += 1
                    if strikes == _TRIES:
                        raise

    def _once(
        self, source: Source, retry: Retrier, flow: Flow, stopping: Callable[[], bool]
    ) -> None:
        kept = None if source.is_local else self._keep()
        try:
            self._receive(source, retry, flow, stopping, kept)
            if self.done and kept:
                kept.commit()
        finally:
            if kept:
                kept.close()

    def _receive(
        self,
        source: Source,
        retry: Retrier,
        flow: Flow,
        stopping: Callable[[], bool],
        kept: Entry | None,
    ) -> None:
        self.close()
        self.fd = spool(self._directory)
        self.present = self.unpacked_size = 0
        name = f"layer {self.digest}"
        # A local source may hold the layer unpacked: then it has its diff_id's digest.
        raw = Verifier(None if source.is_local else self.digest, None, name)
        plain = Verifier(self.diff_id, None, f"{name}, unpacked,")

        def take(data: bytes) -> None:
            self.unpacked_size += len(data)
            if self.unpacked_size > LIMITS.unpacked_layer:
                raise ContentError(
                    f"{name} is larger than {LIMITS.unpacked_layer >> 30} GiB when unpacked"
                )
            plain.update(data)
            with writing(self._directory or "."):
                write_all(self.fd, data, self.unpacked_size - len(data))

        decompressor = Decompressor(name)

        def feed(data: bytes) -> None:
            if kept:
                kept.write(raw.seen, data)
            raw.update(data)
            for piece in decompressor.feed(data):
                take(piece)

        def attempt() -> None:
            stream = source.open(self.present, self.size)
            with flow.reading(stream, free=source.is_local) as reader:
                self._read(reader, source, feed, stopping)

        retry.call(attempt, position=lambda: self.present)
        if stopping():
            return
        for piece in decompressor.finish():
            take(piece)
        raw.finish()
        plain.finish()
        self.done = True
        if source.is_local:
            # It may have been smaller or larger there than it is served.
            self.reused = self.present = self.size

    def _read(
        self,
        reader: Reader,
        source: Source,
        feed: Callable[[bytes], None],
        stopping: Callable[[], bool],
    ) -> None:
        skip = self.present - reader.stream.start
        while not stopping():
            data = bytes(reader.read(LIMITS.read))
            if not data:
                if not source.is_local and self.present < self.size:
                    raise NetworkError("the connection ended early", transient=True)
                return
            if skip:
                data, skip = data[skip:], max(0, skip - len(data))
            if not source.is_local and self.present + len(data) > self.size:
                raise ContentError(f"layer {self.digest} is longer than its {self.size} bytes")
            feed(data)
            self.present += len(data)

    def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
        """Give the unpacked layer away, chunk by chunk, freeing each.

        Args:
            write: takes an offset in the layer, and the bytes there.
            backwards: the last chunk first, so that space is freed as it goes.
        """
        chunk = 8 * LIMITS.read
        starts = range(0, self.unpacked_size, chunk)
        for start in reversed(starts) if backwards else starts:
            write(start, os.pread(self.fd, chunk, start))
            if backwards:
                os.ftruncate(self.fd, start)
        self.close()

    def close(self) -> None:
        """Free its space."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class UnpackPool:
    """Unpacks layers on several threads, in order, not too far ahead of who takes them.

    Args:
        layers: in the order in which they are wanted.
        threads: at most; one more layer than that is unpacked ahead of the one that is wanted.
        work: unpacks one.
        cancellation: ends it.
    """

    def __init__(
        self,
        layers: Sequence[UnpackedLayer],
        *,
        threads: int,
        work: Callable[[UnpackedLayer, Callable[[], bool]], None],
        cancellation: Cancellation,
    ) -> None:
        self._layers = layers
        self._ahead = threads + 1
        self._work_on = work
        self._cancellation = cancellation
        self._waiting = list(range(len(layers)))
        self._taken = 0
        self._crew = Crew(self._work, threads, "unpack")
        self._crew.grow(len(layers))

    def take(self, tick: Callable[[], None]) -> UnpackedLayer:
        """The next layer, unpacked.

        Args:
            tick: called ten times a second while waiting.

        Raises:
            DockersaveError: a layer cannot be had.
        """
        layer, crew = self._layers[self._taken], self._crew
        if not crew.size:
            self._work_on(layer, lambda: crew.stopping)
        while True:
            with crew.changed:
                # What has been unpacked before another layer failed is kept for the next run.
                if layer.done:
                    self._taken += 1
                    crew.changed.notify_all()
                    return layer
                if crew.failure is not None:
                    raise crew.failure
                crew.changed.wait(0.1)
            self._cancellation.check()
            tick()

    def _work(self) -> None:
        crew = self._crew
        while (number := self._next_layer()) is not None:
            try:
                self._work_on(self._layers[number], lambda: crew.stopping)
            except NetworkError as failure:
                # Some servers refuse one connection more than they like: the others go on.
                if not (failure.transient or failure.unreachable) or not crew.shed():
                    raise
                with crew.changed:
                    self._waiting = sorted([number, *self._waiting])
                raise Shed from failure
            crew.notify()

    def _next_layer(self) -> int | None:
        """A layer to unpack, or None once all are: until then, a thread may give one back."""
        crew = self._crew
        with crew.changed:
            while not crew.stopping and not all(layer.done for layer in self._layers):
                if self._waiting and self._waiting[0] < self._taken + self._ahead:
                    return self._waiting.pop(0)
                crew.changed.wait(1.0)
            return None

    def close(self) -> None:
        """Stop, wait for the threads, and free all space.

        Those that wait for a connection wake when the run's cancellation is set.
        """
        self._crew.stop()
        self._crew.join()
        for layer in self._layers:
            layer.close()
