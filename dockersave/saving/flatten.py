"""Saving a file system: fetch and unpack all layers, merge them, write what they make.

Layers are unpacked into unnamed files, hashed and compared with their diff_ids. Then their headers
alone are merged. What upper layers hide is never written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ContentError, OutputError, UsageError
from ..limits import LIMITS
from ..model.image import Image
from ..spelling import argument
from ..units import counted, in_bytes
from ..values import dataclass
from .destination import STDOUT, Destination
from .job import Job

if TYPE_CHECKING:
    from ..rootfs.earlier import Earlier
    from ..rootfs.headers import Content, Member
    from ..rootfs.merge import Tree
    from ..rootfs.missing import Missing
    from ..rootfs.record import Record, Recording, Skeleton


_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A layer in a file.

    Args:
        file: its descriptor.
    """

    file: int

    def read(self, offset: int, amount: int) -> bytes:
        """Up to `amount` bytes; fewer only at the end."""
        return os.pread(self.file, amount, offset)


class LaterLayer:
    """A layer that is fetched when it is read.

    Args:
        fetch: fetches it.
    """

    def __init__(self, fetch: Callable[[], LayerFile]) -> None:
        self._fetch = fetch
        self._layer: LayerFile | None = None

    def read(self, offset: int, amount: int) -> bytes:
        """Up to `amount` bytes; fewer only at the end."""
        if self._layer is None:
            self._layer = self._fetch()
        return self._layer.read(offset, amount)


def flatten(job: Job, image: Image, destination: Destination) -> None:
    """Save the file system of an image.

    Raises:
        UsageError: a layer is hosted elsewhere.
        ContentError: a layer is not what it claims to be.
        OutputError: it cannot be written.
    """
    from ..archive.write import beginning_anew

    if image.absent:
        raise UsageError(
            f"{image.reference}: {len(image.absent)} of its layers are hosted elsewhere",
            f"{argument('foreign')} fetches them",
        )
    try:
        with beginning_anew():
            if destination.tree:
                _into_directory(job, image, destination.tree)
            else:
                _into_tar(job, image, destination)
    except ContentError as failure:
        if archive := job.options.from_archive:
            failure.hint = f"{argument('check', archive)} lists all that is wrong with the archive"
        raise


def _into_tar(job: Job, image: Image, destination: Destination) -> None:
    from ..archive.write.ordered import OrderedOutput, SequentialFile, StandardOutput
    from ..archive.write.room import Room
    from ..rootfs.tarball import document, pieces

    path = destination.archive or ""
    target = StandardOutput() if path == STDOUT else SequentialFile(path)
    output = OrderedOutput(target, destination.compression)
    with closing(output):
        output.begin(job.format.layers([image]), job.session.cancellation.check)
        job.leave_room(output.unreserved)
        with _merged(job, image) as (tree, layers):
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
                output.write(document(_CONFIG.encode(), _runtime_config(image, tree, layers)))
            for data in pieces(tree, layers, prefix, job.session.cancellation.check):
                output.write(data)
            job.size = output.commit()


def _into_directory(job: Job, image: Image, path: str) -> None:
    from ..archive.write import room_to_leave
    from ..archive.write.room import Room
    from ..rootfs.earlier import Earlier
    from ..rootfs.place import Placing, make_directory, write_file
    from ..rootfs.record import Recording
    from ..rootfs.stage import Stage
    from ..transfer.window import spool

    with closing(Stage(path)) as stage, ExitStack() as ending:
        top = root = stage.open()
        if job.format.root:
            root = make_directory(top, job.format.root)
            ending.callback(os.close, root)
        digests, check = _diff_ids(image), job.session.cancellation.check
        unnamed = partial(spool, job.working_dir)
        recording = ending.enter_context(closing(Recording(unnamed(), digests)))
        record, folder = stage.earlier(unnamed) or (None, -1)
        earlier = Earlier(record, folder, digests, check) if record else None
        placing = Placing(root, check, earlier)
        job.leave_room(room_to_leave(job.format.layers([image])))
        with (
            _merged(job, image, recording, record) as (tree, layers),
            closing(record) if record else nullcontext(),
        ):
            if not record:
                Room((path,), tree.content, 0, is_exact=False).check()
            if root != top:
                whose = (os.geteuid(), os.getegid())
                config = _runtime_config(image, tree, layers, whose if whose[0] else None, earlier)
                write_file(top, _CONFIG, config)
                os.fchmod(top, 0o755)
            placing.write(tree, layers)
        stage.commit(partial(recording.finish, job.format.root, placing.placed))
        job.size = placing.size
    if left_out := _left_out(placing.missing):
        job.session.notify(
            f"{path}: left out, because it takes root or another file system: {left_out}; "
            "a tar keeps everything"
        )


def _diff_ids(image: Image) -> list[str]:
    return [stored.digest for _, stored in image.layers(image.primary)]


@contextmanager
def _merged(
    job: Job, image: Image, recording: Recording | None = None, record: Record | None = None
) -> Iterator[tuple[Tree, list[Content]]]:
    """What the layers make, and the layers.

    Args:
        job: the run.
        image: whose layers.
        recording: gets their headers.
        record: has headers of some of them. These layers are fetched only when they are read.
    """
    from ..rootfs.headers import Headers
    from ..rootfs.merge import Tree

    digests = _diff_ids(image)
    known = set(record.layers).intersection(digests) if record else set()
    with ExitStack() as ending:

        def fetch(digest: str) -> LayerFile:
            return LayerFile(ending.enter_context(job.unpacked([image], {digest}))[digest])

        files = ending.enter_context(job.unpacked([image], set(digests) - known))
        job.progress.phase("publishing")
        layers: dict[str, Content] = {digest: LayerFile(file) for digest, file in files.items()}
        skeletons: dict[str, Skeleton] = {}
        if record:
            for digest in known:
                layers[digest] = LaterLayer(partial(fetch, digest))
                skeletons[digest] = record.skeleton(digest)

        def members(number: int) -> Iterable[tuple[int, Member]]:
            digest = digests[number]
            if digest in skeletons:
                return skeletons[digest].members()
            if recording and digests.index(digest) == number:
                return recording.layer(digest, layers[digest])
            return Headers(layers[digest])

        heads = [skeletons.get(digest) or layers[digest] for digest in digests]
        tree = Tree(heads, job.session.cancellation.check, members)
        if recording and record:
            for digest in known:
                recording.copy(digest, record)
        if job.options.only:
            tree.select(job.options.only)
        yield tree, [layers[digest] for digest in digests]


def _runtime_config(
    image: Image,
    tree: Tree,
    layers: Sequence[Content],
    rootless: tuple[int, int] | None = None,
    earlier: Earlier | None = None,
) -> bytes:
    from ..rootfs.runtime import runtime_config

    def read(path: bytes) -> bytes:
        found = tree.find(path)
        kept = earlier.read(found, LIMITS.accounts) if earlier and found else None
        return tree.read(path, layers, LIMITS.accounts) if kept is None else kept

    hostname = image.root.hex[:12]
    return runtime_config(image.primary.config_body, read, hostname, rootless)


def _left_out(missing: Missing) -> str:
    counts = (
        ("owner", missing.owners),
        ("setuid bit", missing.setuid),
        ("device", missing.devices),
        ("extended attribute", missing.xattrs),
    )
    return ", ".join(counted(count, noun) for noun, count in counts if count)
