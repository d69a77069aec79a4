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

from ..cancellation import Cancellation
from ..errors import CancelledError, DockersaveError, OutputError, UsageError
from ..files import check_is_no_archive, path_text
from ..model.image import Image
from ..model.options import Network, Options
from ..model.platforms import Platform
from ..model.reference import Reference
from ..progress import Progress
from ..resolving.session import Session
from ..spelling import argument
from ..trace import Trace
from ..transfer.sources import LocalStore
from ..values import check_kind, dataclass, replace
from .destination import STDOUT, Destination
from .job import Job
from .output_names import check_writable
from .resolve import resolve
from .selection import surely_needed_layers
from .updates import recorded_layers

if TYPE_CHECKING:
    from ..archive.write.room import Room
    from .lockfile import Lock


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image in the archive.

    Args:
        reference: the reference.
        digest: of the manifest, or of the index if all platforms were saved; of the config if the
            image was taken from an archive without manifests.
        platform: of the image that engines without indexes load.
        platforms: of all its images, starting with that one.
        signers: fingerprints of the keys with which it was found to be signed, `sha256:…`; none if
            no signature was asked for.
    """

    reference: Reference
    digest: str
    platform: Platform
    platforms: tuple[Platform, ...]
    signers: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: Image) -> SavedImage:
        """The summary of an image."""
        platforms = image.platforms
        return cls(image.reference, image.digest, platforms[0], platforms, image.signers)


@dataclass(frozen=True, slots=True)
class Saved:
    """The result of `save`.

    Args:
        paths: the archive, the directory, or both; none for a stream.
        images: those in it, in the order of the call.
        size: of the archive, in bytes, as it was written.
        fetched: bytes of layers that were fetched.
        reused: bytes of layers that were already on this machine.
        unchanged: whether all outputs already existed, complete and correct.
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
        images: references, written as for Docker.
        output: the file to write; short for `options.output`.
        options: what to save, where to, and how.
        network: how to reach registries.
        progress: watches the run.
        notify: gets lines that the user should see.
        cancellation: stops the run from another thread.
        trace: gets a line for each request and each costly decision. By default the logger
            `dockersave` gets them, if the application has imported `logging` and enabled DEBUG for
            that logger.

    Raises:
        UsageError: a reference cannot be parsed, or options contradict each other.
        NotFoundError: there is no such image, tag or platform.
        CredentialsError: credentials are missing or refused.
        NetworkError: the registry or the network failed, after all retries.
        ContentError: content is not what it claims to be.
        OutputError: the output cannot be written.
        SignatureError: an image is not signed as it should be. Nothing was saved.
        TypeError: an image is neither a string nor a `Reference`, but a list, for example, or
            another argument is of a wrong type.
        CancelledError: the run was stopped, or the interpreter is exiting. `NAME.part` keeps what
            was fetched, and the next call with the same arguments continues from there.
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
    """Set up a save from its arguments, and complete its error if it fails.

    Args:
        images, output, options, network, progress, notify, cancellation, trace: as for `save`.
    """
    check_kind(Options, options=options)
    check_kind(Network, network=network)
    check_kind(Progress, progress=progress)
    check_kind(Cancellation, cancellation=cancellation)
    options = options or Options()
    if output is not None:
        options = replace(options, output=path_text("output", output))
    for image in images:
        check_is_no_archive(image)
    # What an archive calls its images may look like an address: my.app:12.
    of = Reference.parse if options.from_archive else Reference.of
    references = list(dict.fromkeys(of(image) for image in images))
    archived = None
    job: Job | None = None
    if options.from_archive and len(references) < 2:
        from ..resolving.offline import ArchivedImage

        archived = ArchivedImage(options.from_archive, next(iter(references), None))
        references = [archived.reference]
    lock = _lock(options) if options.locked and not archived else None
    if lock:
        references = lock.references(references)
    destination = Destination.of(options, references)
    usual = f"{references[0].file_stem}.tar"
    check_writable(destination, usual, options.lock, options.from_archive)
    archives = filter(None, [options.from_archive, *options.reuse])
    local = LocalStore([*archives, *destination.paths])
    if archived:
        archived.tell(local)
    progress = progress or Progress()
    stop = cancellation or Cancellation()
    with (
        closing(local),
        closing(Session(network or Network(), stop, notify, Trace.of(trace))) as session,
    ):
        for path in sorted(local.useless.intersection(options.reuse)):
            exists = os.path.exists(path)
            why = "no layers can be read from it" if exists else "there is no such file"
            session.notify(f"{argument('reuse', path)}: {why}, so nothing is reused")
        try:
            with _minding_the_end(), _minding_the_disk(destination):
                job = Job(
                    options, destination.working_dir, session, progress, local, archived, lock
                )
                yield job, references, destination
        except DockersaveError as failure:
            many = len(references) > 3
            failure.about(f"{len(references)} images" if many else ", ".join(map(str, references)))
            _tell_what_is_kept(failure, destination, job)
            raise
        finally:
            progress.finish()


def _tell_what_is_kept(failure: DockersaveError, destination: Destination, job: Job | None) -> None:
    """Add to an error that the next run continues, and from what."""
    parts = [part for path in destination.paths if os.path.exists(part := f"{path}.part")]
    kept = " and ".join(parts)
    if kept and isinstance(failure, CancelledError):
        failure.hint = (
            f"{kept} {'keeps' if len(parts) == 1 else 'keep'} what was fetched: "
            f"{argument('same')} continues from there"
        )
    elif kept and job and job.has_begun and not isinstance(failure, OutputError):
        # About its output, an error knows better whether it can be continued.
        failure.advise(f"{argument('same')} continues with {kept}")


def _lock(options: Options) -> Lock:
    from .lockfile import Lock

    if options.platform:
        raise UsageError(
            f"{argument('platform')} has no effect: {argument('locked')} says what is saved",
            "drop one of them",
        )
    return Lock.read(options.locked or "")


@contextmanager
def _minding_the_end() -> Iterator[None]:
    """Report that the interpreter is exiting, if that is why threads or modules are unavailable.

    Raises:
        CancelledError: it is.
    """
    try:
        yield
    except (RuntimeError, ImportError) as failure:
        if sys.is_finalizing() or not threading.main_thread().is_alive():
            raise CancelledError("stopped: the interpreter is exiting") from failure
        raise


@contextmanager
def _minding_the_disk(destination: Destination) -> Iterator[None]:
    """Report what went wrong with a file that is not named by whoever used it, such as an unnamed
    one, or what the program is made of.

    Raises:
        OutputError: as said.
    """
    try:
        yield
    except OSError as failure:
        from ..archive.disk import output_error

        where = " and ".join(destination.paths) or argument("output", STDOUT)
        raise output_error(failure, where) from failure


def _save(job: Job, references: Sequence[Reference], destination: Destination) -> Saved:
    job.progress.phase("resolving")
    images: Sequence[Image] = resolve(job, references)
    is_same: list[bool] = []
    room_for(job, images, destination).check()
    if job.format.is_file_system:
        from .flatten import flatten

        unchanged = flatten(job, images[0], destination)
        return _saved(job, images, destination, unchanged=unchanged)
    if destination.tree:
        alone = replace(destination, tree=None)
        job.room_after = room_for(job, images, alone).needed
        # First, because a compressed archive or a stream cannot be read back.
        images, unchanged = _write_tree(job, images, destination.tree)
        is_same.append(unchanged)
        job.room_after = 0
    if destination.archive:
        images, unchanged = _write_archive(
            job, images, destination.archive, destination.compression
        )
        is_same.append(unchanged)
    return _saved(job, images, destination, unchanged=all(is_same))


def _saved(
    job: Job, images: Sequence[Image], destination: Destination, *, unchanged: bool
) -> Saved:
    if job.options.lock:
        from .lockfile import write_lock

        write_lock(job.options.lock, images)
    return Saved(
        paths=destination.paths,
        images=tuple(map(SavedImage.of, images)),
        size=job.size,
        fetched=job.fetched,
        reused=job.reused,
        unchanged=unchanged,
    )


def room_for(job: Job, images: Sequence[Image], destination: Destination) -> Room:
    """The disk space that the outputs need; one that seems to exist already needs none.

    Raises:
        OutputError: it cannot be determined.
    """
    from ..archive.write import least_room
    from ..archive.write.existing import ExistingTree
    from ..archive.write.room import Room

    known = job.with_known_sizes(images)
    plan = None if known is None else job.plan(known)
    compressed = bool(destination.compression)
    archive = None if destination.is_stream else destination.archive
    if archive and plan and not compressed:
        with suppress(OSError):
            archive = None if os.stat(archive).st_size == plan.size else archive
    tree = destination.tree
    if tree and plan and ExistingTree(tree).seems_to_be(plan):
        tree = None
    layers, earlier = job.format.layers(images), recorded_layers(job, destination)
    # How large a part is, nothing tells, nor how much of an update is new.
    whole = layers if earlier is None and not job.options.only else []
    room = Room.of(archive, tree, whole, plan, compressed=compressed)
    if job.format.is_file_system:
        # Its layers are on the disk, too, until it is written.
        fetched = surely_needed_layers(job, layers, earlier or ())
        room = replace(room, needed=room.needed + least_room(fetched))
    return room


def _write_archive(
    job: Job, images: Sequence[Image], path: str, compression: str
) -> tuple[Sequence[Image], bool]:
    if path == STDOUT or compression:
        from ..archive.write.ordered import OrderedOutput, SequentialFile, StandardOutput

        target = StandardOutput() if path == STDOUT else SequentialFile(path)
        return job.write(images, OrderedOutput(target, compression)), False
    from ..archive.write.existing import ExistingArchive
    from ..archive.write.file import ArchiveFile

    planned = job.with_known_sizes(images)
    if planned is not None and job.is_unchanged(plan := job.plan(planned), ExistingArchive(path)):
        job.size = plan.size
        return planned, True
    return job.write(images, ArchiveFile(path, job.local.add_file)), False


def _write_tree(job: Job, images: Sequence[Image], path: str) -> tuple[Sequence[Image], bool]:
    from ..archive.write.directory import DirectoryTree
    from ..archive.write.existing import ExistingTree

    planned = job.with_known_sizes(images)
    unchanged = False
    if planned is not None and job.is_unchanged(plan := job.plan(planned), ExistingTree(path)):
        images, unchanged, job.size = planned, True, plan.content
    else:
        images = job.write(images, DirectoryTree(path))
    for layer in job.format.layers(images):
        job.local.add_blob(layer.digest, os.path.join(path, layer.path), layer.size)
    return images, unchanged
