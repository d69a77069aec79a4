"""The steps of a save, once its images are resolved: plan and fill, or stream, or unpack and
append; then commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from ..archive.formats import format_named
from ..archive.members import Layer
from ..archive.tar import Plan, lay_out
from ..errors import ContentError, DockersaveError
from ..limits import LIMITS
from ..model.image import Image
from ..model.options import Options
from ..progress import Progress, Transfer
from ..resolving.session import Session
from ..spelling import argument
from ..transfer.blobs import Blob, Source
from ..transfer.download import BlobDownload, Download
from ..transfer.gauge import Gauge
from ..transfer.run_cache import RunCache
from ..transfer.sources import LocalStore

if TYPE_CHECKING:
    from ..archive.write import Output
    from ..archive.write.existing import ExistingArchive, ExistingTree
    from ..resolving.offline import ArchivedImage
    from ..transfer.unpacking import UnpackedLayer
    from ..transfer.workers import WorkerPool
    from .lockfile import Lock


class Job:
    """One call to `save`.

    Args:
        options: what to save, and how.
        working_dir: directory for unnamed temporary files.
        session: the run's session.
        progress: watches the run.
        local: blobs on this machine's disk.
        archived: the image, if it is in an archive; then no registry is asked.
        lock: what exactly is to be saved, if a lock file says so.
    """

    def __init__(
        self,
        options: Options,
        working_dir: str,
        session: Session,
        progress: Progress,
        local: LocalStore,
        archived: ArchivedImage | None = None,
        lock: Lock | None = None,
    ) -> None:
        self.options = options
        self.working_dir = working_dir
        self.session = session
        self.progress = progress
        self.local = local
        self.archived = archived
        self.format = format_named(options.format)
        self.lock = lock
        self.cache = RunCache(
            options.cache_dir, options.cache_size, session.notify, session.cancellation.wait
        )
        self.room_after = 0
        """Disk space that later outputs need, in bytes."""
        self.size = self.fetched = self.reused = 0
        self._counted = False
        self._needed: Sequence[Transfer] = ()

    @property
    def has_begun(self) -> bool:
        """Whether layers, or parts of them, are where they are to be."""
        return any(transfer.present for transfer in self._needed)

    def plan(self, images: Sequence[Image]) -> Plan:
        """The complete plan of an archive whose layers' sizes are known."""
        return lay_out(self.format.layers(images), self.format.documents(images))

    def _unknown_sizes(self, images: Sequence[Image]) -> list[str]:
        return [layer.digest for layer in self.format.layers(images) if layer.size < 0]

    def with_known_sizes(self, images: Sequence[Image]) -> list[Image] | None:
        """The images, if the sizes of all layers are known, or None.

        They are known if nothing has to be unpacked, or if everything was unpacked before, judging
        by what is on this machine. What layers make as a file system is never known.
        """
        if self.format.is_file_system:
            return None
        sizes = {digest: self.local.size_of(digest) for digest in self._unknown_sizes(images)}
        if -1 in sizes.values():
            return None
        return [image.with_sizes(sizes) for image in images]

    def is_unchanged(self, plan: Plan, existing: ExistingArchive | ExistingTree) -> bool:
        """Whether an output exists already; it is read and hashed completely."""
        with closing(existing):
            slots = existing.lay(plan)
            if slots is None:
                return False
            downloads = [
                BlobDownload(Blob(entry.member.digest, entry.size, (), have), place)
                for entry, place, have in slots
            ]
            workers = self._workers([each.blob for each in downloads], downloads)
            try:
                self._run(workers, needed=False)
            except DockersaveError:
                self.session.cancellation.check()
                return False
        return True

    def write(self, images: Sequence[Image], output: Output) -> Sequence[Image]:
        """Fetch all blobs, write them to an output, and publish it.

        Returns:
            The images; if layers were unpacked, with manifests that match.
        """
        from ..archive.write import beginning_anew

        anew = beginning_anew() if output.in_order else nullcontext()
        with closing(output), anew:
            documents = None
            if self._unknown_sizes(images):
                images = self._append(images, output)
                documents = self.format.documents(images)
            else:
                # If all layers were uncompressed already, only media types may be wrong.
                images = [image.with_sizes({}) for image in images]
                (self._stream if output.in_order else self._fill)(images, output)
            self.progress.phase("publishing")
            self.size = output.commit(documents)
        return images

    def leave_room(self, amount: int) -> None:
        """Keep the cache out of the room that an output, and those after it, may still need."""
        self.cache.leave_room(self.working_dir, amount + self.room_after)

    def _fill(self, images: Sequence[Image], output: Output) -> None:
        """All sizes are known, and the output can seek."""
        downloads = []
        slots = output.lay(self.plan(images))
        self.leave_room(output.unreserved)
        # The largest first: at the end, less is left to share.
        for entry, place, have in sorted(slots, key=lambda slot: -slot[0].size):
            digest, size = entry.member.digest, entry.size
            blob = Blob(digest, size, self.sources(images, entry.member), have)
            downloads.append(BlobDownload(blob, place, self.cache.writer(digest, size, have)))
        self._run(self._workers([each.blob for each in downloads], downloads))

    def _stream(self, images: Sequence[Image], output: Output) -> None:
        """All sizes are known, and the output is written in order, through a window."""
        from ..transfer.window import Emitter, Window, WindowWriter, is_restartable

        plan = self.plan(images)
        output.lay(plan)
        self.leave_room(output.unreserved)
        others = output.unreserved + self.room_after
        with closing(Window(self.working_dir, plan.size, others)) as window:
            downloads = []
            for entry in plan.layers:
                digest, size = entry.member.digest, entry.size
                blob = Blob(
                    digest,
                    size,
                    self.sources(images, entry.member),
                    base=entry.offset,
                    restartable=is_restartable(size, window),
                )
                place = WindowWriter(window, entry.offset)
                downloads.append(BlobDownload(blob, place, self.cache.writer(digest, size)))
            blobs = [each.blob for each in downloads]
            most = window.size // (2 * self.session.network.most_jobs)
            workers = self._workers(blobs, downloads, piece_most=most)
            emitter = Emitter(plan, blobs, window, output.write, workers.grant_room)
            self._run(workers, emitter.advance)

    def _append(self, images: Sequence[Image], output: Output) -> list[Image]:
        """Sizes are known only after unpacking: layers are written one after another."""
        from ..transfer.unpacking import Appender

        self.progress.phase("checking")
        members = self.format.layers(images)
        sizes = output.begin(members, self.session.cancellation.check)
        self.leave_room(output.unreserved)
        layers: list[UnpackedLayer] = []
        missing: list[tuple[Layer, UnpackedLayer]] = []
        for member in members:
            layer = self._unpacking(images, member, len(missing))
            layers.append(layer)
            if member.path in sizes:
                layer.found(sizes[member.path])
            else:
                missing.append((member, layer))
        workers, threads = self._unpackers([layer for _, layer in missing])
        # Keep one more layer ready than are unpacked at once.
        appender = Appender(missing, output.append, workers, ahead=threads + 1)
        self._run(workers, appender.advance, watched=layers)
        found = {layer.diff_id: layer.unpacked_size for layer in layers}
        return [image.with_sizes(found) for image in images]

    @contextmanager
    def unpacked(
        self, images: Sequence[Image], digests: Collection[str]
    ) -> Iterator[Mapping[str, int]]:
        """Layers, unpacked and verified: the descriptors of unnamed files, by diff_ids.

        Args:
            images: the images that have them.
            digests: their diff_ids.
        """
        members = [each for each in self.format.layers(images) if each.digest in digests]
        layers = [self._unpacking(images, member, number) for number, member in enumerate(members)]
        files: dict[str, int] = {}

        def take() -> bool:
            for layer in layers:
                if layer.done and layer.diff_id not in files:
                    files[layer.diff_id] = layer.take()
            return len(files) == len(layers)

        try:
            if layers:
                workers, _ = self._unpackers(layers)
                workers.grant_room(len(layers))
                self._run(workers, take, watched=layers)
            yield files
        finally:
            for file in files.values():
                os.close(file)

    def _unpacking(self, images: Sequence[Image], member: Layer, number: int) -> UnpackedLayer:
        """Prepare to unpack a layer, the `number`-th of those that are."""
        from ..transfer.unpacking import UnpackedLayer

        served = member.served
        sources = self.sources(images, member)
        blob = Blob(served.digest, served.size, sources, base=number, sequential=True)
        cache = partial(self.cache.writer, served.digest, served.size)
        return UnpackedLayer(blob, member.digest, self.working_dir, cache)

    def _unpackers(self, layers: Sequence[UnpackedLayer]) -> tuple[WorkerPool, int]:
        """Make what unpacks layers, and say how many it unpacks at once."""
        threads = min(self.session.network.most_jobs, len(os.sched_getaffinity(0)) + 1)
        gauge = Gauge(threads, threads, threads, first=threads)
        workers = self._workers([each.blob for each in layers], layers, gauge=gauge)
        for layer in layers:
            layer.claim = workers.claim
        return workers, threads

    def sources(self, images: Sequence[Image], layer: Layer) -> list[Source]:
        """The sources of a layer, the nearest first."""
        digests = dict.fromkeys((layer.stored.digest, layer.served.digest))
        here: list[Source] = [
            *(source for digest in digests for source in self.local.find(digest)),
            *self.cache.find(layer.served.digest),
        ]
        if self.archived:
            if not here:
                raise ContentError(
                    f"{self.options.from_archive} does not hold the layer {layer.served.digest}",
                    f"{argument('check', self.options.from_archive)} lists all that is missing",
                )
            return here
        reference = images[layer.image].reference
        registry = self.session.registry(reference.registry)
        source = registry.source(reference.repository, layer.served, foreign=self.options.foreign)
        return [*here, source]

    def _workers(
        self,
        blobs: Sequence[Blob],
        downloads: Sequence[Download],
        *,
        gauge: Gauge | None = None,
        piece_most: int = LIMITS.piece_most,
    ) -> WorkerPool:
        """Make what fetches blobs.

        Args:
            blobs, downloads: the blobs, and where their bytes go.
            gauge: decides how many connections are worthwhile.
            piece_most: the largest range of one request, in bytes.
        """
        from ..transfer.ledger import Ledger
        from ..transfer.workers import WorkerPool

        session = self.session
        usual, most = session.network.usual_jobs, session.network.most_jobs
        latency = max((each.distance for each in session.registries), default=0.0)
        return WorkerPool(
            Ledger(blobs, session.policy, most=most, piece_most=piece_most, tell=session.trace.say),
            downloads,
            gauge=gauge or Gauge(usual, most, len(os.sched_getaffinity(0)), latency),
            throttle=session.throttle,
            cancellation=session.cancellation,
        )

    def _run(
        self,
        workers: WorkerPool,
        advance: Callable[[], bool] | None = None,
        *,
        watched: Sequence[Transfer] | None = None,
        needed: bool = True,
    ) -> None:
        """Fetch the blobs of a pool of workers.

        Args:
            workers: closed at the end.
            advance: called on this thread until it returns that everything is done; by default, it
                is when the blobs are there.
            watched: what to show; by default the blobs.
            needed: whether the run fails if one of them fails.
        """
        transfers = workers.blobs if watched is None else watched
        self._needed = transfers if needed else ()
        self.progress.start(transfers)
        with closing(workers), self._ending_all() if needed else nullcontext():
            workers.run(advance or workers.is_done, self.progress.tick)
        self.progress.tick()
        for blob in workers.blobs:
            self.cache.settle(blob.digest, was_fetched=blob.reused < blob.size)
        self._count(transfers)

    @contextmanager
    def _ending_all(self) -> Iterator[None]:
        """Wake all threads when one has failed: their work is no longer needed."""
        try:
            yield
        except BaseException:
            self.session.cancellation.cancel()
            raise

    def _count(self, transfers: Sequence[Transfer]) -> None:
        if self._counted and not self.format.is_file_system:
            # The second output is made from the first.
            return
        self._counted = True
        self.reused += sum(transfer.reused for transfer in transfers)
        self.fetched += sum(transfer.size - transfer.reused for transfer in transfers)
