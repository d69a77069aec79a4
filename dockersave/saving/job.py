"""The steps of a save: resolve; then plan and fill, or stream, or unpack and append; commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from ..archive.formats import format_named
from ..archive.members import Layer
from ..archive.tar import Plan, lay_out
from ..errors import DockersaveError, SaveFailures
from ..limits import LIMITS
from ..model.image import Image, check_names, foreign_layers, notes
from ..model.manifests import Manifest
from ..model.options import HOST_POLICY, Options
from ..model.platforms import ALL_PLATFORMS, Platform
from ..model.reference import Reference
from ..parallel import in_parallel
from ..progress import Progress, Transfer
from ..resolving.resolver import Resolver
from ..resolving.session import Session
from ..transfer.blobs import Blob, Source
from ..transfer.download import BlobDownload, Download
from ..transfer.gauge import FAR, Gauge
from ..transfer.run_cache import RunCache
from ..transfer.sources import LocalStore
from ..values import replace

if TYPE_CHECKING:
    from ..archive.write import Output
    from ..archive.write.existing import ExistingArchive, ExistingTree
    from ..resolving.trust import Trust
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
        lock: what exactly is to be saved, if a lock file says so.
    """

    def __init__(
        self,
        options: Options,
        working_dir: str,
        session: Session,
        progress: Progress,
        local: LocalStore,
        lock: Lock | None = None,
    ) -> None:
        self.options = options
        self.working_dir = working_dir
        self.session = session
        self.progress = progress
        self.local = local
        self.format = format_named(options.format)
        self.lock = lock
        self.trust = _trust(options)
        self.cache = RunCache(
            options.cache_dir, options.cache_size, session.notify, session.cancellation.wait
        )
        self.room_after = 0
        """Disk space that later outputs need, in bytes."""
        self.size = self.fetched = self.reused = 0
        self._counted = False

    def resolve(self, references: Sequence[Reference]) -> list[Image]:
        """Find the images, several in parallel.

        Raises:
            UsageError: one password for two registries.
            SaveFailures: several images failed.
            DockersaveError: one image failed.
        """
        for reference in references:
            # Check all registries and keys before the first one is asked.
            self.session.registry(reference.registry)
            if self.trust:
                self.trust.check(reference)
        images, failed = in_parallel(
            references,
            self._resolve,
            self.session.network.usual_jobs,
            DockersaveError,
            self.session.cancellation.cancel,
        )
        self.session.cancellation.check()
        failures = [failure.about(str(reference)) for reference, failure in failed]
        if failures:
            raise SaveFailures(failures) if len(failures) > 1 else failures[0]
        check_names(images)
        for image in images:
            for line in (*notes(image), *self.format.notes(image)):
                self.session.notify(line)
        return images

    def _resolve(self, reference: Reference) -> Image:
        registry = self.session.registry(reference.registry)

        def expect(manifest: Manifest) -> None:
            # On slow networks, open connections while the config is being fetched.
            if registry.distance > FAR:
                pieces = sum(1 + each.size // LIMITS.piece_least for each in manifest.layers)
                registry.warm(min(pieces, self.session.network.usual_jobs))

        copies = self.format.config_copies
        resolver = Resolver(registry, reference, self.local.read, expect=expect, copies=copies)
        wanted = self.lock[reference].platform if self.lock else self.options.platform
        if wanted == ALL_PLATFORMS:
            image = resolver.all_platforms()
        else:
            image = resolver.image(Platform.parse(wanted) if wanted else None)
        absent = frozenset() if self.options.foreign else foreign_layers(image)
        image = replace(image, unpacked=self.options.gunzip, absent=absent, asked=resolver.asked)
        if self.lock:
            self.lock[reference].check(image)
        if self.trust:
            digests = (image.asked, image.root.digest)
            signers = self.trust.signers(self.session, reference, digests)
            image = replace(image, signers=signers)
        if self.options.carries:
            from ..resolving.companions import Companions

            everything = self.options.with_referrers
            image = Companions(self.session, resolver, reference, everything=everything).of(image)
        return image

    def plan(self, images: Sequence[Image]) -> Plan:
        """The complete plan of an archive whose layers' sizes are known."""
        return lay_out(self.format.layers(images), self.format.documents(images))

    def _unknown_sizes(self, images: Sequence[Image]) -> list[str]:
        return [layer.digest for layer in self.format.layers(images) if layer.size < 0]

    def with_known_sizes(self, images: Sequence[Image]) -> list[Image] | None:
        """The images, if the sizes of all layers are known, or None.

        They are known if nothing has to be unpacked, or if everything was unpacked before, judging
        by what is on this machine.
        """
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

    def _leave_room(self, output: Output) -> None:
        self.cache.leave_room(self.working_dir, output.unreserved + self.room_after)

    def _fill(self, images: Sequence[Image], output: Output) -> None:
        """All sizes are known, and the output can seek."""
        downloads = []
        slots = output.lay(self.plan(images))
        self._leave_room(output)
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
        self._leave_room(output)
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
        from ..transfer.unpacking import Appender, UnpackedLayer

        self.progress.phase("checking")
        members = self.format.layers(images)
        sizes = output.begin(members, self.session.cancellation.check)
        self._leave_room(output)
        layers: list[UnpackedLayer] = []
        missing: list[tuple[Layer, UnpackedLayer]] = []
        for member in members:
            served = member.served
            blob = Blob(
                served.digest,
                served.size,
                self.sources(images, member),
                base=len(missing),
                sequential=True,
            )
            cache = partial(self.cache.writer, served.digest, served.size)
            layer = UnpackedLayer(blob, member.digest, self.working_dir, cache)
            layers.append(layer)
            if member.path in sizes:
                layer.found(sizes[member.path])
            else:
                missing.append((member, layer))
        waiting = [layer for _, layer in missing]
        threads = min(self.session.network.most_jobs, len(os.sched_getaffinity(0)) + 1)
        gauge = Gauge(threads, threads, threads, first=threads)
        workers = self._workers([each.blob for each in waiting], waiting, gauge=gauge)
        # Keep one more layer ready than are unpacked at once.
        appender = Appender(missing, output.append, workers, ahead=threads + 1)
        self._run(workers, appender.advance, watched=layers)
        found = {layer.diff_id: layer.unpacked_size for layer in layers}
        return [image.with_sizes(found) for image in images]

    def sources(self, images: Sequence[Image], layer: Layer) -> list[Source]:
        """The sources of a layer, the nearest first."""
        reference = images[layer.image].reference
        registry = self.session.registry(reference.registry)
        digests = dict.fromkeys((layer.stored.digest, layer.served.digest))
        return [
            *(source for digest in digests for source in self.local.find(digest)),
            *self.cache.find(layer.served.digest),
            registry.source(reference.repository, layer.served, foreign=self.options.foreign),
        ]

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
            Ledger(
                blobs, session.attempts, most=most, piece_most=piece_most, tell=session.trace.say
            ),
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
        if self._counted:
            # The second output is made from the first.
            return
        self._counted = True
        self.reused += sum(transfer.reused for transfer in transfers)
        self.fetched += sum(transfer.size - transfer.reused for transfer in transfers)


def _trust(options: Options) -> Trust | None:
    """Whose signatures images need; None if nobody asks for any."""
    if options.verify_keys or options.policy or os.path.lexists(HOST_POLICY):
        from ..resolving.trust import Trust
        from ..signatures.policy import policies_of

        return Trust(policies_of(options, of_host=True))
    return None
