"""What the outputs of one run take together on the disk where they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ...values import dataclass
from ..disk import allocated, check_room, writing
from ..members import Layer
from ..tar import Plan
from . import least_room
from .file import whole_size


@dataclass(frozen=True, slots=True)
class Room:
    """Room for an archive, a directory, or both, which lie in one directory.

    Args:
        paths: their names, the archive's first; none for a stream.
        needed: bytes for all of them, those that are on the disk among them.
        kept: bytes of them that earlier runs have left there, in `.part` files.
        is_exact: whether it is known that no more are needed.
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
        """What is needed before anything is written.

        Args:
            archive, tree: where they go; None for none, and for one that is there already.
            layers: what both of them get.
            plan: the whole archive, if all sizes are known.
            compressed: whether the archive is, as a whole.

        Raises:
            OutputError: the place cannot be looked at.
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
        """Make sure that it is there.

        Raises:
            OutputError: it is not, or the place cannot be looked at.
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
    """What layers need at least in an archive that is compressed as a whole, in bytes.

    Those that are packed hardly become smaller, unless they are unpacked first and xz packs them
    again: half is what nothing was seen to come below.
    """
    blobs = [layer.served for layer in layers]
    packed = (blob for blob in blobs if blob.media_type.endswith(("gzip", "zstd")))
    return sum(blob.size for blob in packed) // 2
