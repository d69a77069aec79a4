"""Disk space for all outputs of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ...values import dataclass
from ..members import Layer
from ..place import allocated, check_room, writing
from ..tar import Plan
from . import least_room
from .file import whole_size


@dataclass(frozen=True, slots=True)
class Room:
    """Space for an archive, a directory, or both, in the same place.

    Args:
        paths: their names, the archive's first; none for a stream.
        needed: bytes for all of them, including those already on the disk.
        kept: of these, bytes in `.part` files of earlier runs.
        is_exact: whether `needed` is exact rather than a minimum.
    """

    paths: tuple[str, ...]
    needed: int
    kept: int
    is_exact: bool

    @classmethod
    def of(
        cls,
        archive: str | None,
        tree: str | None,
        layers: Sequence[Layer],
        plan: Plan | None,
        *,
        compressed: bool,
    ) -> Room:
        """Estimate the space before anything is written.

        Args:
            archive, tree: their paths; None for none, and for one that exists already.
            layers: those in both of them.
            plan: the whole archive, if all sizes are known.
            compressed: whether the archive is compressed as a whole.

        Raises:
            OutputError: it cannot be determined.
        """
        needed = 0
        if archive and compressed:
            needed += least_compressed(layers)
        elif archive:
            needed += whole_size(plan) if plan else least_room(layers)
        if tree:
            needed += plan.content if plan else least_room(layers)
        paths = tuple(filter(None, (archive, tree)))
        kept = 0
        for path in paths:
            with writing(path):
                kept += allocated(f"{path}.part")
        return cls(paths, needed, kept, is_exact=plan is not None and not (archive and compressed))

    def check(self) -> None:
        """Check that there is enough.

        Raises:
            OutputError: there is not, or it cannot be determined.
        """
        for path in self.paths[:1]:
            folder = os.path.dirname(path) or "."
            with writing(folder):
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                beside = " and ".join(self.paths[1:])
                check_room(fd, path, self.needed, self.kept, least=not self.is_exact, beside=beside)
            finally:
                os.close(fd)


def least_compressed(layers: Iterable[Layer]) -> int:
    """The least size of layers in an archive that is compressed as a whole, in bytes.

    Compressed layers hardly get smaller, unless they are unpacked first and recompressed with xz:
    nothing was seen below half.
    """
    blobs = [layer.served for layer in layers]
    packed = (blob for blob in blobs if blob.media_type.endswith(("gzip", "zstd")))
    return sum(blob.size for blob in packed) // 2
