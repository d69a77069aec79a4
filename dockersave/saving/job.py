"""The steps of a save: resolve; then plan and fill, or stream, or unpack and append; commit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from ..archive.formats import format_named
from ..archive.members import Blob as BlobMember
from ..archive.members import Member
from ..archive.tar import Entry, Plan, lay_out
from ..errors import DockersaveError, SaveFailures
from ..limits import LIMITS
from ..model.image import Image, check_names, foreign_layers, notes
from ..model.manifests import Manifest
from ..model.options import Options
from ..model.platforms import ALL_PLATFORMS, Platform
from ..model.reference import Reference
from ..parallel import in_parallel
from ..progress import Progress, Transfer
from ..resolving.resolver import Resolver
from ..resolving.session import Session
from ..transfer.cache import Keeper
from ..transfer.sources import ForeignBlob, LocalStore, RemoteBlob
from ..values import replace

if TYPE_CHECKING:
    from ..archive.write import Output
    from ..transfer.blobs import Blob, Source
    from ..transfer.download import Download
    from ..transfer.gauge import Gauge
    from ..transfer.unpacking import UnpackedLayer
    from ..transfer.workers import Workers


class Job:
    """One call of `save`.

    Args:
        options: what to save, and how.
        working_dir: where files without a name may lie.
        session: what the run shares.
        progress: is shown what happens.
        local: what is on this machine's disk already.
    """

    def __init__(
        self,
        options: Options,
        working_dir: str,
        session: Session,
        progress: Progress,
        local: LocalStore,
    ) -> None:
        self.options = options
        self.working_dir = working_dir
        self.session = session
        self.progress = progress
        self.local = local
        self.format = format_named(options.format)
        self.keeper = Keeper(options.cache_dir, options.cache_size, session.notify)
        self.room_after = 0
        """What outputs that follow the one that is written need on the disk, in bytes."""
        self.size = self.fetched = self.reused = 0
        self._counted = False

    def resolve(self, references: Sequence[Reference]) -> list[Image]:
        """Find the images, several at once.

        Raises:
            UsageError: one password was given for two registries.
            SaveFailures: several cannot be found.
            DockersaveError: one cannot be.
        """
        images: list[Image] = []
        failures: list[DockersaveError] = []
        for reference in references:
            # Whether all of them may be asked is known before the first is.
            self.session.registry(reference.registry)
        results = in_parallel(
            references,
            self._resolve,
            self.session.network.usual_jobs,
            DockersaveError,
            self.session.cancellation.cancel,
        )
        self.session.cancellation.check()
        for reference, result in zip(references, results, strict=True):
            if isinstance(result, DockersaveError):
                failures.append(result.about(str(reference)))
            elif isinstance(result, Image):
                images.append(result)
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
            from ..transfer.gauge import FAR

            # Connections shake hands while the config travels, where that takes a while.
            if registry.distance > FAR:
                pieces = sum(1 + each.size // LIMITS.piece_least for each in manifest.layers)
                registry.warm(min(pieces, self.session.network.usual_jobs))

        copies = LIMITS.legacy_copies if self.options.format == "legacy" else 1
        resolver = Resolver(registry, reference, self.local.read, expect=expect, copies=copies)
        wanted = self.options.platform
        if wanted == ALL_PLATFORMS:
            image = resolver.all_platforms()
        else:
            image = resolver.image(Platform.parse(wanted) if wanted else None)
        absent = frozenset() if self.options.foreign else foreign_layers(image)
        return replace(image, unpacked=self.options.gunzip, absent=absent)

    def plan(self, images: Sequence[Image]) -> Plan:
        """The whole archive of images whose layers' sizes are known."""
        return lay_out([*self.format.layers(images), *self.format.documents(images)])

    def _unknown_sizes(self, images: Sequence[Image]) -> list[str]:
        blobs = [member.data for member in self.format.layers(images)]
        return [
            blob.stored.digest
            for blob in blobs
            if isinstance(blob, BlobMember) and blob.stored.size < 0
        ]

    def with_known_sizes(self, images: Sequence[Image]) -> list[Image] | None:
        """The images, if the sizes of all layers are known; else None.

        They are where nothing has to be unpacked, and where all of it has been before: as far
        as what lies on this machine can be believed.
        """
        sizes = {digest: self.local.size_of(digest) for digest in self._unknown_sizes(images)}
        if -1 in sizes.values():
            return None
        return [image.with_sizes(sizes) for image in images]

    def is_unchanged(self, plan: Plan, path: str) -> bool:
        """Whether the archive is there already; all of it is read and hashed."""
        from ..archive.write.existing import ExistingArchive
        from ..transfer.download import BlobDownload

        with closing(ExistingArchive(path)) as existing:
            slots = existing.lay(plan)
            if slots is None:
                return False
            blobs = [self._blob(entry, (), have) for entry, _, have in slots]
            places = [place for _, place, _ in slots]
            downloads = [BlobDownload(*each) for each in zip(blobs, places, strict=True)]
            try:
                self._fetch(blobs, downloads, needed=False)
            except DockersaveError:
                self.session.cancellation.check()
                return False
        self.size = plan.size
        return True

    def write(self, images: Sequence[Image], output: Output) -> Sequence[Image]:
        """Fetch all blobs, put them into an output, and give it its name.

        Returns:
            The images; where layers were unpacked, with manifests that name what is stored.
        """
        from ..archive.write import beginning_anew

        anew = beginning_anew() if output.in_order else nullcontext()
        with closing(output), anew:
            documents = None
            if self._unknown_sizes(images):
                images = self._append(images, output)
                documents = self.format.documents(images)
            else:
                # Where nothing is packed that was to be unpacked, only labels may be wrong.
                images = [image.with_sizes({}) for image in images]
                (self._stream if output.in_order else self._fill)(images, output)
            self.progress.phase("publishing")
            self.size = output.commit(documents)
        return images

    def _leave_room(self, output: Output) -> None:
        self.keeper.leave_room(self.working_dir, output.unreserved + self.room_after)

    def _fill(self, images: Sequence[Image], output: Output) -> None:
        """All sizes are known, and any place can be written."""
        from ..transfer.download import BlobDownload

        blobs, downloads = [], []
        slots = output.lay(self.plan(images))
        self._leave_room(output)
        # The largest first: at the end there is less to be shared.
        for entry, place, have in sorted(slots, key=lambda slot: -slot[0].size):
            blob = self._blob(entry, self.sources(images, entry.member.data), have)
            cache = self.keeper.writer(blob.digest, blob.size, have)
            blobs.append(blob)
            downloads.append(BlobDownload(blob, place, cache))
        self._fetch(blobs, downloads)

    def _stream(self, images: Sequence[Image], output: Output) -> None:
        """All sizes are known, and what is written is written in order: through a window."""
        from ..transfer.download import BlobDownload
        from ..transfer.window import Emitter, Window, WindowPlace, is_restartable

        plan = self.plan(images)
        output.lay(plan)
        self._leave_room(output)
        with closing(Window(self.working_dir)) as window:
            blobs: dict[str, Blob] = {}
            for entry in plan.entries:
                if isinstance(member := entry.member.data, BlobMember):
                    blobs[entry.member.path] = self._blob(
                        entry,
                        self.sources(images, member),
                        base=entry.offset,
                        restartable=is_restartable(entry.size, window),
                    )
            downloads = [
                BlobDownload(
                    blob,
                    WindowPlace(window, blob.base),
                    self.keeper.writer(blob.digest, blob.size),
                )
                for blob in blobs.values()
            ]

            def emitting(workers: Workers) -> Callable[[], bool]:
                return Emitter(plan, blobs, window, output.write, workers.grant_room).advance

            most = window.size // (2 * self.session.network.most_jobs)
            self._fetch(list(blobs.values()), downloads, emitting, piece_most=most)

    def _append(self, images: Sequence[Image], output: Output) -> list[Image]:
        """Sizes are known when layers have been unpacked: they are put behind one another."""
        from ..transfer.gauge import Gauge

        members = self.format.layers(images)
        self.progress.phase("checking")
        sizes = dict(output.begin(members, self.session.cancellation.check))
        self._leave_room(output)
        layers = {member.path: self._unpacked(images, member) for member in members}
        for path, size in sizes.items():
            layers[path].found(size)
        missing = [member for member in members if member.path not in sizes]
        waiting = [layers[member.path] for member in missing]
        for number, layer in enumerate(waiting):
            layer.blob.base = number
        threads = min(self.session.network.most_jobs, len(os.sched_getaffinity(0)) + 1)

        def appending(workers: Workers) -> Callable[[], bool]:
            # One layer more than is unpacked at once lies ready for the one that is wanted.
            workers.grant_room(threads + 1)
            for layer in waiting:
                layer.claim = workers.claim

            def append() -> Iterator[bool]:
                for member in missing:
                    layer = layers[member.path]
                    while not layer.done:
                        yield False
                    sizes[member.path] = layer.unpacked_size
                    output.append(member, layer.unpacked_size, layer)
                    workers.grant_room(layer.blob.base + threads + 2)

            steps = append()
            return lambda: next(steps, True)

        self._fetch(
            [layer.blob for layer in waiting],
            waiting,
            appending,
            watched=list(layers.values()),
            gauge=Gauge(threads, threads, threads, first=threads),
        )
        found = {layers[path].diff_id: size for path, size in sizes.items()}
        return [image.with_sizes(found) for image in images]

    def _unpacked(self, images: Sequence[Image], member: Member) -> UnpackedLayer:
        from ..transfer.blobs import Blob
        from ..transfer.unpacking import UnpackedLayer

        data = member.data
        assert isinstance(data, BlobMember)
        served = data.served
        blob = Blob(served.digest, served.size, self.sources(images, data), sequential=True)
        cache = partial(self.keeper.writer, served.digest, served.size)
        return UnpackedLayer(blob, data.stored.digest, self.working_dir, cache)

    def _blob(
        self,
        entry: Entry,
        sources: Sequence[Source],
        have: Sequence[tuple[int, int]] = (),
        *,
        base: int = 0,
        restartable: bool = True,
    ) -> Blob:
        from ..transfer.blobs import Blob

        assert isinstance(entry.member.data, BlobMember)
        digest = entry.member.data.stored.digest
        return Blob(digest, entry.size, sources, have, base=base, restartable=restartable)

    def sources(self, images: Sequence[Image], blob: object) -> list[Source]:
        """Where a blob may come from, the nearest first."""
        assert isinstance(blob, BlobMember)
        reference = images[blob.image].reference
        registry = self.session.registry(reference.registry)
        digests = dict.fromkeys((blob.stored.digest, blob.served.digest))
        remote = ForeignBlob if self.options.foreign and blob.served.urls else RemoteBlob
        return [
            *(source for digest in digests for source in self.local.find(digest)),
            *self.keeper.find(blob.served.digest),
            remote(registry, reference.repository, blob.served),
        ]

    def _fetch(
        self,
        blobs: Sequence[Blob],
        downloads: Sequence[Download],
        meanwhile: Callable[[Workers], Callable[[], bool]] | None = None,
        *,
        watched: Sequence[Transfer] | None = None,
        gauge: Gauge | None = None,
        piece_most: int = LIMITS.piece_most,
        needed: bool = True,
    ) -> None:
        """Fetch blobs.

        Args:
            blobs, downloads: which, and what takes their bytes.
            meanwhile: makes what is called on this thread until it says that all is done.
            watched: what is shown; the blobs, if that is not given.
            gauge: says how many connections are worth it.
            piece_most: the largest range that is asked for at once, in bytes.
            needed: whether the run is over if one of them cannot be had.
        """
        from ..transfer.gauge import Gauge
        from ..transfer.ledger import Ledger
        from ..transfer.workers import Workers

        session = self.session
        usual, most = session.network.usual_jobs, session.network.most_jobs
        latency = max((each.distance for each in session.registries), default=0.0)
        ledger = Ledger(
            blobs, session.attempts, most=most, piece_most=piece_most, tell=session.trace.say
        )
        workers = Workers(
            ledger,
            downloads,
            gauge=gauge or Gauge(usual, most, len(os.sched_getaffinity(0)), latency),
            throttle=session.throttle,
            cancellation=session.cancellation,
        )
        transfers = blobs if watched is None else watched
        self.progress.start(transfers)
        with closing(workers), self._ending_all() if needed else nullcontext():
            is_done = meanwhile(workers) if meanwhile else lambda: ledger.is_done
            workers.run(is_done, self.progress.tick)
        self.progress.tick()
        for blob in blobs:
            self.keeper.settle(blob.digest, was_fetched=blob.reused < blob.size)
        self._count(transfers)

    @contextmanager
    def _ending_all(self) -> Iterator[None]:
        """Wake all threads when one has failed: whatever they wait for, it is of no use now."""
        try:
            yield
        except BaseException:
            self.session.cancellation.cancel()
            raise

    def _count(self, transfers: Sequence[Transfer]) -> None:
        if self._counted:
            # A second output is made of what the first one has fetched.
            return
        self._counted = True
        self.reused += sum(transfer.reused for transfer in transfers)
        self.fetched += sum(transfer.size - transfer.reused for transfer in transfers)
