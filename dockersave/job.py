"""The steps of a save: resolve, plan, fill or stream or unpack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from .archive.formats import FORMATS, Format
from .archive.members import Blob
from .archive.partmap import Range
from .archive.sinks import ExistingArchive, Slot
from .archive.tar import Entry, Plan, lay_out
from .arrival import Arrival, Place, Source
from .cache import Keeper
from .errors import DockersaveError, SaveFailures
from .fetch import Fetcher
from .image import Image, check_names, foreign_layers, notes
from .options import Options
from .parallel import in_parallel
from .platforms import Platform
from .progress import Progress, Transfer
from .reference import Reference
from .resolve import Resolver
from .session import Session
from .sources import ForeignBlob, LocalStore, RemoteBlob

if TYPE_CHECKING:
    from .archive.append import Appender
    from .archive.stream import Window
    from .unpack import UnpackedLayer, UnpackPool

ALL_PLATFORMS = "all"


class Output(Protocol):
    """What `ArchiveFile` and `DirectoryTree` have in common."""

    def lay(self, plan: Plan) -> list[Slot]:
        """Prepare, and tell where the blobs go and what of them is there."""

    def publish(self) -> None:
        """Give it its name."""

    def close(self) -> None:
        """Let go of it."""


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
        self.format: Format = FORMATS[options.format]()
        self.keeper = Keeper(options.cache_dir, options.cache_size, session.notify)
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
        results = in_parallel(references, self._resolve, self.session.network.jobs, DockersaveError)
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
            for line in notes(image, self.options.format):
                self.session.notify(line)
        return images

    def _resolve(self, reference: Reference) -> Image:
        registry = self.session.registry(reference.registry)
        resolver = Resolver(registry, reference, self.local.read)
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

    def has_to_unpack(self, images: Sequence[Image]) -> bool:
        """Whether there are layers whose size nobody knows before they are unpacked."""
        return bool(self._unknown_sizes(images))

    def _unknown_sizes(self, images: Sequence[Image]) -> list[str]:
        blobs = [member.data for member in self.format.layers(images)]
        return [
            blob.stored.digest for blob in blobs if isinstance(blob, Blob) and blob.stored.size < 0
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
        with closing(ExistingArchive(path)) as existing:
            slots = existing.lay(plan)
            if slots is None:
                return False
            try:
                self._fetch([_arrival(slot, ()) for slot in slots], needed=False)
            except DockersaveError:
                self.session.cancellation.check()
                return False
        self.size = plan.size
        return True

    def fill(self, images: Sequence[Image], plan: Plan, output: Output) -> None:
        """Fetch all blobs into their places, in any order, and publish."""
        with closing(output):
            slots = output.lay(plan)
            arrivals = [
                _arrival(self._kept(slot), self._sources(images, slot[0].member.data))
                for slot in slots
            ]
            self._fetch(sorted(arrivals, key=lambda arrival: -arrival.size))
            self.progress.phase("publishing")
            output.publish()
        self.size = plan.size

    def stream(self, images: Sequence[Image], plan: Plan, write: Callable[[bytes], object]) -> None:
        """Fetch all blobs into a window, and write the archive in order."""
        from .archive.stream import Window, WindowPlace, emit

        with closing(Window(self.working_dir)) as window:
            arrivals: dict[str, Arrival] = {}
            for entry in plan.entries:
                if isinstance(blob := entry.member.data, Blob):
                    arrivals[entry.member.path] = Arrival(
                        blob.stored.digest,
                        entry.size,
                        self.keeper.place(
                            WindowPlace(window, entry.offset), blob.stored.digest, entry.size
                        ),
                        self._sources(images, blob),
                        base=entry.offset,
                        restartable=entry.size <= window.size // 2,
                    )

            def write_in_order(fetcher: Fetcher) -> None:
                def wait(ready: Callable[[], bool]) -> None:
                    fetcher.wait(ready, lambda: self._look(arrivals.values()))

                emit(plan, arrivals, window, write, wait, fetcher.notify)

            self._fetch(list(arrivals.values()), window, write_in_order)
        self.size = plan.size

    def unpack(self, images: Sequence[Image], appender: Appender) -> list[Image]:
        """Fetch and unpack all layers, append them in order, and publish.

        Returns:
            The images, whose manifests name the unpacked layers.
        """
        from .unpack import UnpackedLayer

        members = self.format.layers(images)
        self.progress.phase("checking")
        with closing(appender):
            sizes = dict(appender.begin(members, self.session.cancellation.check))
            layers = {
                member.path: UnpackedLayer(
                    blob,
                    self._sources(images, blob),
                    self.working_dir,
                    partial(self.keeper.begin, blob.served.digest, blob.served.size),
                )
                for member in members
                if isinstance(blob := member.data, Blob)
            }
            for path, size in sizes.items():
                layers[path].found(size)
            self.progress.start(list(layers.values()))
            missing = [member for member in members if member.path not in sizes]
            waiting = [layers[member.path] for member in missing]
            with closing(self._unpacking(waiting)) as pool, self._ending_all():
                for member in missing:
                    layer = pool.take(self._tick)
                    sizes[member.path] = layer.unpacked_size
                    appender.append(member, layer.unpacked_size, layer)
            found = [
                image.with_sizes({layers[each].diff_id: size for each, size in sizes.items()})
                for image in images
            ]
            self.progress.phase("publishing")
            self.size = appender.finish(self.format.documents(found))
        self._count(list(layers.values()))
        return found

    def _unpacking(self, layers: Sequence[UnpackedLayer]) -> UnpackPool:
        from .unpack import UnpackPool

        session = self.session
        return UnpackPool(
            layers,
            threads=min(session.network.jobs, len(os.sched_getaffinity(0)) + 1),
            work=lambda layer, stopping: layer.fetch(session.retry, session.flow, stopping),
            cancellation=session.cancellation,
        )

    def _kept(self, slot: Slot) -> tuple[Entry, Place, list[Range]]:
        entry, place, have = slot
        blob = entry.member.data
        assert isinstance(blob, Blob)
        return entry, self.keeper.place(place, blob.stored.digest, entry.size, have), have

    def _sources(self, images: Sequence[Image], blob: object) -> list[Source]:
        """Where a blob may come from, the nearest first."""
        assert isinstance(blob, Blob)
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
        arrivals: Sequence[Arrival],
        window: Window | None = None,
        meanwhile: Callable[[Fetcher], None] = lambda fetcher: None,
        *,
        needed: bool = True,
    ) -> None:
        fetcher = Fetcher(
            arrivals,
            jobs=self.session.network.jobs,
            retry=self.session.retry,
            flow=self.session.flow,
            cancellation=self.session.cancellation,
            horizon=(lambda: window.horizon) if window else None,
            window=window.size if window else 0,
        )
        self.progress.start(arrivals)
        with (
            self.keeper.keeping(arrivals),
            closing(fetcher),
            self._ending_all() if needed else nullcontext(),
        ):
            fetcher.start()
            meanwhile(fetcher)
            fetcher.wait(lambda: fetcher.is_done, lambda: self._look(arrivals))
        self.progress.tick()
        self._count(arrivals)

    def _look(self, arrivals: Iterable[Arrival]) -> None:
        self.progress.tick()
        self.keeper.keep(arrivals)

    @contextmanager
    def _ending_all(self) -> Iterator[None]:
        """Wake all threads when one has failed: whatever they wait for, it is of no use now."""
        try:
            yield
        except BaseException:
            self.session.cancellation.cancel()
            raise

    def _tick(self) -> None:
        self.session.flow.watch()
        self.progress.tick()

    def _count(self, transfers: Sequence[Transfer]) -> None:
        if self._counted:
            # A second output is made of what the first one has fetched.
            return
        self._counted = True
        self.reused += sum(transfer.reused for transfer in transfers)
        self.fetched += sum(transfer.size - transfer.reused for transfer in transfers)


def _arrival(slot: tuple[Entry, Place, list[Range]], sources: Sequence[Source]) -> Arrival:
    entry, place, have = slot
    blob = entry.member.data
    assert isinstance(blob, Blob)
    usable = [source for source in sources if source.size in (-1, entry.size)]
    return Arrival(blob.stored.digest, entry.size, place, usable, have)
