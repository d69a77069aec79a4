"""Saving a file system: fetch and unpack all layers, merge them, write what they make.

Layers are unpacked into unnamed files, hashed and compared with their diff_ids. Then their headers
alone are merged. What upper layers hide is never written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
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
    from ..rootfs.merge import Tree
    from ..rootfs.place import Missing


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


def flatten(job: Job, image: Image, destination: Destination) -> None:
    """Save the file system of an image.

    Raises:
        UsageError: a layer is hosted elsewhere.
        ContentError: a layer is not what it claims to be.
        OutputError: it cannot be written.
    """
    from ..archive.write import beginning_anew

    with beginning_anew():
        if destination.tree:
            _into_directory(job, image, destination.tree)
        else:
            _into_tar(job, image, destination)


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
                output.write(document(_CONFIG.encode(), _runtime_config(image, tree, layers)))
            for data in pieces(tree, layers, prefix, job.session.cancellation.check):
                output.write(data)
            job.size = output.commit()


def _into_directory(job: Job, image: Image, path: str) -> None:
    from ..archive.write import room_to_leave
    from ..archive.write.room import Room
    from ..rootfs.place import Placing, make_directory, write_file
    from ..rootfs.stage import Stage

    with closing(Stage(path)) as stage, ExitStack() as ending:
        top = root = stage.open()
        if job.format.root:
            root = make_directory(top, job.format.root)
            ending.callback(os.close, root)
        placing = Placing(root, job.session.cancellation.check)
        job.leave_room(room_to_leave(job.format.layers([image])))
        with merged(job, image) as (tree, layers):
            Room((path,), tree.content, 0, is_exact=False).check()
            if root != top:
                whose = (os.geteuid(), os.getegid())
                config = _runtime_config(image, tree, layers, whose if whose[0] else None)
                write_file(top, _CONFIG, config)
                os.fchmod(top, 0o755)
            placing.write(tree, layers)
        stage.commit()
        job.size = placing.size
    if left_out := _left_out(placing.missing):
        job.session.notify(
            f"{path}: left out, because it takes root or another file system: {left_out}; "
            "a tar keeps everything"
        )


@contextmanager
def merged(job: Job, image: Image) -> Iterator[tuple[Tree, list[LayerFile]]]:
    """Fetch, unpack and merge layers; they are there as long as the context.

    Args:
        job: what is saved or read.
        image: the image.

    Returns:
        What the layers make, and the layers, bottom first.

    Raises:
        UsageError: a layer is hosted elsewhere.
        ContentError: a layer is not what it claims to be.
        NotFoundError: the image has nothing of `options.only`.
    """
    from ..rootfs.merge import Tree

    if image.absent:
        raise UsageError(
            f"{image.reference}: {len(image.absent)} of its layers are hosted elsewhere",
            f"{argument('foreign')} fetches them",
        )
    try:
        with job.unpacked([image]) as unpacked:
            job.progress.phase("publishing")
            stored = [layer.digest for _, layer in image.layers(image.primary)]
            layers = [LayerFile(unpacked[digest]) for digest in stored]
            tree = Tree(layers, job.session.cancellation.check)
            if job.options.only:
                tree.select(job.options.only)
            yield tree, layers
    except ContentError as failure:
        if archive := job.options.from_archive:
            failure.hint = f"{argument('check', archive)} lists all that is wrong with the archive"
        raise


def _runtime_config(
    image: Image, tree: Tree, layers: Sequence[LayerFile], rootless: tuple[int, int] | None = None
) -> bytes:
    from ..rootfs.runtime import runtime_config

    def read(path: bytes) -> bytes:
        return tree.read(path, layers, LIMITS.accounts)

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
