"""Saving a file system: fetch and unpack all layers, merge them, write what they make.

Layers are unpacked into unnamed files, hashed and compared with their diff_ids. Then their headers
alone are merged. What upper layers hide is never written.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ContentError, OutputError, UsageError
from ..limits import LIMITS
from ..model.image import Image
from ..model.owners import parse_owner_map
from ..spelling import argument
from ..units import counted, in_bytes
from .destination import STDOUT, Destination
from .job import Job
from .layer_files import LaterLayer, LayerFile
from .selection import needed_layers, select_parts, stand_ins
from .updates import earlier_record

if TYPE_CHECKING:
    from ..rootfs.headers import Content, Member
    from ..rootfs.merge import Tree
    from ..rootfs.missing import Missing
    from ..rootfs.saved_record import Record, Recording, Skeleton
    from ..rootfs.unchanged import Earlier


_CONFIG = "config.json"


def flatten(job: Job, image: Image, destination: Destination) -> bool:
    """Save the file system of an image.

    Returns:
        Whether it is a directory that was the same already.

    Raises:
        UsageError: a layer is hosted elsewhere.
        ContentError: a layer is not what it claims to be.
        OutputError: it cannot be written.
    """
    from ..archive.write import beginning_anew

    with beginning_anew():
        if destination.tree:
            return _into_directory(job, image, destination.tree)
        _into_tar(job, image, destination)
        return False


def _into_tar(job: Job, image: Image, destination: Destination) -> None:
    from ..archive.write.ordered import OrderedOutput, SequentialFile, StandardOutput
    from ..archive.write.room import Room
    from ..rootfs.runtime import made_at_start
    from ..rootfs.tarball import document, pieces

    path = destination.archive or ""
    target = StandardOutput() if path == STDOUT else SequentialFile(path)
    output = OrderedOutput(target, destination.compression)
    with closing(output):
        output.begin(job.format.layers([image]), job.session.cancellation.check)
        job.leave_room(output.unreserved)
        with merged(job, image) as (tree, layers):
            zeros = tree.holes
            if zeros > LIMITS.sparse_zeros:
                raise OutputError(
                    f"cannot write {path}: holes of files are {in_bytes(zeros)} of zeros there",
                    f"write a directory, where holes take no space, with {argument('tar')}",
                )
            if path != STDOUT and not destination.compression:
                Room((path,), tree.content + zeros, 0, is_exact=False).check()
            prefix = job.format.root.encode()
            if prefix:
                config = _bundle_config(image, tree, layers)
                tree.provide(made_at_start(config))
                output.write(document(_CONFIG.encode(), config))
            for data in pieces(tree, layers, prefix, job.session.cancellation.check):
                output.write(data)
            job.size = output.commit()


def _into_directory(job: Job, image: Image, path: str) -> bool:
    from ..archive.write import room_to_leave
    from ..rootfs.directory import Placing, has_file, make_directory, write_file
    from ..rootfs.runtime import made_at_start
    from ..rootfs.saved_record import Recording
    from ..rootfs.staging import Stage
    from ..rootfs.unchanged import Earlier
    from ..transfer.window import spool

    with closing(Stage(path)) as stage, ExitStack() as ending:
        top = root = stage.open()
        has_config = True
        if job.format.root:
            root = make_directory(top, job.format.root)
            ending.callback(os.close, root)
        digests, check = _diff_ids(image), job.session.cancellation.check
        unnamed = partial(spool, job.working_dir)
        owners = parse_owner_map(job.options.owner_map)
        recording = Recording(unnamed(), digests, owners, sorted(job.options.only))
        ending.callback(recording.close)
        record, folder = earlier_record(job, stage) or (None, -1)
        earlier = Earlier(record, folder, digests, check) if record else None
        placing = Placing(root, check, earlier, job.format.root)
        known = record.known if record else ()
        job.leave_room(
            room_to_leave(each for each in job.format.layers([image]) if each.digest not in known)
        )
        with (
            merged(job, image, recording, record) as (tree, layers),
            closing(record) if record else nullcontext(),
        ):
            job.leave_room(_check_room(path, tree, digests, earlier, record))
            if root != top:
                whose = (os.geteuid(), os.getegid())
                config = _bundle_config(image, tree, layers, whose if whose[0] else None, earlier)
                tree.provide(made_at_start(config))
                has_config = has_file(path, _CONFIG, config)
                write_file(top, _CONFIG, config)
                os.fchmod(top, 0o755)
            placing.write(tree, layers)
            job.size = tree.size
        is_same = stage.commit(placing.placed, partial(recording.finish, job.format.root))
    if lacks := _in_words(placing.missing):
        job.session.notify(
            f"{path}: {lacks}: that takes root, or another file system; a tar keeps everything"
        )
    is_record = bool(record and record.layers == digests)
    return is_same and has_config and is_record and placing.placed.is_kept


def _check_room(
    path: str, tree: Tree, digests: Sequence[str], earlier: Earlier | None, record: Record | None
) -> int:
    """Check that there is enough space for a directory, and for layers that are fetched for it.

    Returns:
        How much that is, in bytes.

    Raises:
        OutputError: there is not, or it cannot be determined.
    """
    from ..archive.write.room import Room

    sizes: dict[str, int] = {}
    if record:
        known = record.known & set(digests)
        sizes = {each: record.skeleton(each).least_size for each in known}

    def check(content: int, layers: Iterable[str]) -> int:
        needed = content + sum(sizes[each] for each in layers)
        Room((path,), needed, 0, is_exact=False).check()
        return needed

    try:
        return check(tree.content, sizes)
    except OutputError:
        if not earlier:
            raise
        # Not counted before, because that takes time.
        content, numbers = earlier.lacks(tree.entries())
        return check(content, sizes.keys() & {digests[each] for each in numbers})


def _diff_ids(image: Image) -> list[str]:
    return [stored.digest for _, stored in image.layers(image.primary)]


@contextmanager
def merged(
    job: Job, image: Image, recording: Recording | None = None, record: Record | None = None
) -> Iterator[tuple[Tree, list[LayerFile | LaterLayer]]]:
    """What the layers make, and the layers, bottom first, as long as the context lasts.

    Args:
        job: the run.
        image: whose layers.
        recording: gets their headers.
        record: has headers of some of them. These layers are fetched only when they are read.

    Raises:
        UsageError: a layer is hosted elsewhere.
        ContentError: a layer is not what it claims to be.
        NotFoundError: the image has nothing of `options.only`.
    """
    from ..rootfs.headers import Headers
    from ..rootfs.merge import Tree
    from ..transfer.window import spool

    digests = _diff_ids(image)
    with _explaining(job, image), ExitStack() as ending:

        def fetch(wanted: Collection[str]) -> dict[str, LayerFile]:
            files = ending.enter_context(job.unpacked([image], wanted))
            return {digest: LayerFile(file) for digest, file in files.items()}

        def fetch_one(digest: str) -> LayerFile:
            return fetch({digest})[digest]

        def unnamed() -> int:
            file = spool(job.working_dir)
            ending.callback(os.close, file)
            return file

        known: dict[str, Skeleton] = {}
        if record:
            known = {each: record.skeleton(each) for each in record.known & set(digests)}
        guessed = stand_ins(job, image, set(digests) - known.keys(), unnamed)
        fetched: dict[str, LayerFile] = {}

        def merge(recording: Recording | None) -> Tree:
            heads = [{**guessed, **known, **fetched}[digest] for digest in digests]

            def members(number: int) -> Iterable[tuple[int, Member]]:
                digest = digests[number]
                if digest in known:
                    return known[digest].members()
                if recording and digest in fetched and digests.index(digest) == number:
                    return recording.layer(digest, fetched[digest])
                return Headers(heads[number])

            return Tree(heads, job.session.cancellation.check, members)

        missing: Collection[str] = set(digests) - known.keys() - guessed.keys()
        while True:
            fetched |= fetch(missing)
            merge_now = partial(merge, None)
            missing = needed_layers(job, digests, merge_now, guessed.keys() - fetched.keys())
            if not missing:
                break
        unread = guessed.keys() - fetched.keys()
        for digest in unread:
            job.session.trace.say("index", f"layer {digest} is not needed")
        if unread:
            # Only its author says so: an index could hide what a layer deletes or replaces.
            job.session.notify(
                f"{image.reference}: {len(unread)} of {counted(len(digests), 'layer')} not "
                "fetched: by their indexes, they change nothing in this part"
            )
        job.progress.phase("publishing")
        tree = merge(recording)
        tree.owners = parse_owner_map(job.options.owner_map)
        if recording and record:
            for digest in known:
                recording.copy(digest, record)
        if job.options.only:
            for line in select_parts(tree, job.options.only):
                job.session.notify(line)
        later = {each: LaterLayer(partial(fetch_one, each)) for each in digests}
        yield tree, [fetched.get(digest) or later[digest] for digest in digests]


@contextmanager
def _explaining(job: Job, image: Image) -> Iterator[None]:
    if image.absent:
        raise UsageError(
            f"{image.reference}: {len(image.absent)} of its layers are hosted elsewhere",
            f"{argument('foreign')} fetches them",
        )
    try:
        yield
    except ContentError as failure:
        if archive := job.options.from_archive:
            failure.hint = f"{argument('check', archive)} lists all that is wrong with the archive"
        raise


def _bundle_config(
    image: Image,
    tree: Tree,
    layers: Sequence[Content],
    rootless: tuple[int, int] | None = None,
    earlier: Earlier | None = None,
) -> bytes:
    """The `config.json` of a bundle."""
    from ..rootfs.content import start_of
    from ..rootfs.runtime import runtime_config

    def read(path: bytes) -> bytes:
        found = tree.find(path)
        if found is None:
            return b""
        kept = earlier.read(found, LIMITS.accounts) if earlier else None
        return (
            start_of(layers[found.layer], found.member, LIMITS.accounts) if kept is None else kept
        )

    hostname = image.root.hex[:12]
    return runtime_config(image.primary.config_body, read, hostname, rootless, tree.owners)


def _in_words(missing: Missing) -> str:
    """What could not be had, in words; empty if everything could."""
    named = (
        (missing.owners, "owner"),
        (missing.setuid, "setuid bit"),
        (missing.xattrs, "extended attribute"),
    )
    unset = [counted(count, noun) for count, noun in named if count]
    said = [f"{' and '.join(unset)} could not be set"] if unset else []
    if missing.devices:
        said.append(f"{counted(missing.devices, 'device')} could not be created")
    return ", ".join(said)
