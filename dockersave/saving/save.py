"""The whole algorithm: resolve, plan, fetch and verify, publish.

What follows the first request is imported after it: a registry is asked 5 ms sooner.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from ..archive.members import Blob
from ..cancellation import Cancellation
from ..errors import CancelledError, DockersaveError
from ..model.image import Image
from ..model.options import Network, Options
from ..model.platforms import Platform
from ..model.reference import Reference
from ..progress import Progress
from ..resolving.session import Session
from ..trace import Trace
from ..transfer.sources import LocalStore
from ..values import dataclass, replace
from .destination import STDOUT, Destination
from .job import Job
from .places import check_places

if TYPE_CHECKING:
    from ..archive.write.room import Room


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image that is in the archive.

    Args:
        reference: what was asked for.
        digest: of the manifest, or of the index where all platforms were saved.
        platform: of the image that engines without indexes load.
        platforms: of all its images, that one first.
    """

    reference: Reference
    digest: str
    platform: Platform
    platforms: tuple[Platform, ...]

    @classmethod
    def of(cls, image: Image) -> SavedImage:
        """What is to be said of an image."""
        return cls(image.reference, image.root.digest, image.platforms[0], image.platforms)


@dataclass(frozen=True, slots=True)
class Saved:
    """What `save` did.

    Args:
        paths: what was written: the archive, the directory, or both; none for a stream.
        images: what is in it, in the order of the call.
        size: of the archive, in bytes; before it is compressed.
        fetched: bytes of layers that came over the network.
        reused: bytes of layers that were on this machine's disk already.
        unchanged: whether the archive was there already, whole and right.
    """

    paths: tuple[str, ...]
    images: tuple[SavedImage, ...]
    size: int
    fetched: int
    reused: int
    unchanged: bool


def save(
    *images: str | Reference,
    output: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    network: Network | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], None] = lambda line: None,
    cancellation: Cancellation | None = None,
    trace: Callable[[str], None] | None = None,
) -> Saved:
    """Save images from their registries into one archive.

    Args:
        images: references, as one writes them for Docker.
        output: the file to write; short for `options.output`.
        options: what to save, where to, and how.
        network: how registries are reached.
        progress: is shown what happens.
        notify: gets one line for whatever the user should know.
        cancellation: stops the run from another thread.
        trace: gets a line for each request, and each decision that costs something. Without it the
            logger `dockersave` gets them, if the application has imported logging and the logger
            is enabled for DEBUG.

    Raises:
        UsageError: a reference cannot be parsed, or options contradict one another.
        NotFoundError: there is no such image, tag or platform.
        CredentialsError: credentials are missing or refused.
        NetworkError: the registry does not answer as it should, after all retries.
        ContentError: content is not what it claims to be.
        OutputError: the output cannot be written.
        TypeError: an image is neither text nor a `Reference`, a list of them for one.
        CancelledError: the run was stopped, or the interpreter ends. What was fetched lies in
            `NAME.part`, and the next call with the same arguments goes on with it.
    """
    with running(images, output, options, network, progress, notify, cancellation, trace) as (
        job,
        references,
        destination,
    ):
        return _save(job, references, destination)


@contextmanager
def running(
    images: Sequence[str | Reference],
    output: str | os.PathLike[str] | None,
    options: Options | None,
    network: Network | None,
    progress: Progress | None,
    notify: Callable[[str], None],
    cancellation: Cancellation | None,
    trace: Callable[[str], None] | None,
) -> Iterator[tuple[Job, list[Reference], Destination]]:
    """All that a save needs, from its arguments; and what is said of it when it fails.

    Args:
        images, output, options, network, progress, notify, cancellation, trace: as for `save`.
    """
    options = options or Options()
    if output is not None:
        options = replace(options, output=os.fspath(output))
    references = list(dict.fromkeys(map(Reference.of, images)))
    destination = Destination.of(options, references)
    check_places(destination, f"{references[0].file_stem}.tar")
    local = LocalStore([*options.reuse, *destination.paths])
    progress = progress or Progress()
    stop = cancellation or Cancellation()
    with (
        closing(local),
        closing(Session(network or Network(), stop, notify, Trace.of(trace))) as session,
    ):
        try:
            with _minding_the_end():
                job = Job(options, destination.working_dir, session, progress, local)
                yield job, references, destination
        except DockersaveError as failure:
            many = len(references) > 3
            failure.about(f"{len(references)} images" if many else ", ".join(map(str, references)))
            kept = [f"{path}.part" for path in destination.paths if os.path.exists(f"{path}.part")]
            if isinstance(failure, CancelledError) and kept:
                failure.hint = (
                    f"{' and '.join(kept)} {'keeps' if len(kept) == 1 else 'keep'} "
                    "what was fetched: the same command goes on from there"
                )
            raise
        finally:
            progress.finish()


@contextmanager
def _minding_the_end() -> Iterator[None]:
    """Say that the interpreter ends, where that is why there are no threads and no modules.

    Raises:
        CancelledError: it does.
    """
    try:
        yield
    except (RuntimeError, ImportError) as failure:
        if sys.is_finalizing() or not threading.main_thread().is_alive():
            raise CancelledError("stopped: the interpreter ends") from failure
        raise


def _save(job: Job, references: Sequence[Reference], destination: Destination) -> Saved:
    job.progress.phase("resolving")
    images: Sequence[Image] = job.resolve(references)
    unchanged = False
    room_for(job, images, destination).check()
    if destination.tree:
        alone = replace(destination, tree=None)
        job.room_after = room_for(job, images, alone).needed
        # First, since an archive that is compressed or a stream cannot be read back.
        images = _write_tree(job, images, destination.tree)
        job.room_after = 0
    if destination.archive:
        images, unchanged = _write_archive(
            job, images, destination.archive, destination.compression
        )
    return Saved(
        paths=destination.paths,
        images=tuple(map(SavedImage.of, images)),
        size=job.size,
        fetched=job.fetched,
        reused=job.reused,
        unchanged=unchanged,
    )


def room_for(job: Job, images: Sequence[Image], destination: Destination) -> Room:
    """What the outputs take on the disk; an archive that seems to be there already takes nothing.

    Raises:
        OutputError: the place cannot be looked at.
    """
    from ..archive.write.room import Room

    known = job.with_known_sizes(images)
    plan = None if known is None else job.plan(known)
    compressed = bool(destination.compression)
    archive = None if destination.is_stream else destination.archive
    if archive and plan and not compressed:
        with suppress(OSError):
            archive = None if os.stat(archive).st_size == plan.size else archive
    layers = job.format.layers(images)
    return Room.of(archive, destination.tree, layers, plan, compressed=compressed)


def _write_archive(
    job: Job, images: Sequence[Image], path: str, compression: str
) -> tuple[Sequence[Image], bool]:
    if path == STDOUT or compression:
        from ..archive.write.ordered import OrderedOutput, SequentialFile, StandardOutput

        target = StandardOutput() if path == STDOUT else SequentialFile(path)
        return job.write(images, OrderedOutput(target, compression)), False
    from ..archive.write.file import ArchiveFile

    planned = job.with_known_sizes(images)
    if planned is not None and job.is_unchanged(job.plan(planned), path):
        return planned, True
    return job.write(images, ArchiveFile(path, job.local.add_file)), False


def _write_tree(job: Job, images: Sequence[Image], path: str) -> Sequence[Image]:
    from ..archive.write.directory import DirectoryTree

    images = job.write(images, DirectoryTree(path))
    for entry in job.plan(images).entries:
        if isinstance(blob := entry.member.data, Blob):
            file = os.path.join(path, entry.member.path)
            job.local.add_blob(blob.stored.digest, file, entry.size)
    return images
