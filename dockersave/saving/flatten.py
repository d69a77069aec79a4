"""Saving a file system: fetch and unpack all layers, merge them, write what they make.

Layers are unpacked into unnamed files, hashed and compared with their diff_ids. Then their headers
alone are merged. What upper layers hide is never written.
"""

from __future__ import annotations

import os
from contextlib import closing

from ..errors import UsageError
from ..model.image import Image
from ..spelling import argument
from ..values import dataclass
from .destination import STDOUT, Destination
from .job import Job


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
    from ..archive.write.ordered import OrderedOutput, SequentialFile, StandardOutput
    from ..archive.write.room import Room
    from ..rootfs.merge import Tree
    from ..rootfs.tarball import pieces

    if image.absent:
        raise UsageError(
            f"{image.reference}: {len(image.absent)} of its layers are hosted elsewhere",
            f"{argument('foreign')} fetches them",
        )
    path = destination.archive or ""
    target = StandardOutput() if path == STDOUT else SequentialFile(path)
    output = OrderedOutput(target, destination.compression)
    check = job.session.cancellation.check
    with closing(output), beginning_anew():
        output.begin(job.format.layers([image]), check)
        job.leave_room(output)
        with job.unpacked([image]) as unpacked:
            job.progress.phase("publishing")
            stored = [layer.digest for _, layer in image.layers(image.primary)]
            layers = [LayerFile(unpacked[digest]) for digest in stored]
            tree = Tree(layers, check)
            if path != STDOUT and not destination.compression:
                Room((path,), tree.content, 0, is_exact=False).check()
            for data in pieces(tree, layers, check=check):
                output.write(data)
            job.size = output.commit()
