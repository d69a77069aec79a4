"""Preview a save. Nothing is written, and no layer is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from ..archive.disk import free_room
from ..archive.write.room import Room
from ..cancellation import Cancellation
from ..model.image import Image
from ..model.options import Network, Options
from ..model.reference import Reference
from ..progress import Progress
from ..values import dataclass
from .destination import Destination
from .job import Job
from .resolve import resolve
from .save import SavedImage, room_for, running
from .selection import unneeded_layers


@dataclass(frozen=True, slots=True)
class ForecastLayer:
    """A layer that would be saved.

    Args:
        digest: as in the registry.
        size: bytes that would be read.
        source: the name of the registry, or of a file on this machine.
        is_reused: whether it is on this machine.
    """

    digest: str
    size: int
    source: str
    is_reused: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a save would do. Sizes in bytes.

    Args:
        images: what would be saved, in the order of the call, with the digests as served; unpacking
            layers changes them.
        layers: those that would be fetched or reused, each once. Of a part of a file system, not
            those of which indexes tell that they are not needed, if all have one. Of an update of a
            directory, not those that an earlier save has noted: they are fetched only if a file of
            theirs has come to light again, or was changed.
        paths: the archive, the directory, or both; none for a stream.
        size: of the archive, before it is compressed as a whole; None if the sizes of unpacked
            layers are not known yet.
        compression: of the archive as a whole: `gzip`, `zstd`, `xz`; empty for none.
        free: free space at the output's place; None for a stream, or if unknown.
        room: the space that the outputs need there.
    """

    images: tuple[SavedImage, ...]
    layers: tuple[ForecastLayer, ...]
    paths: tuple[str, ...]
    size: int | None
    compression: str
    free: int | None
    room: Room

    @property
    def kept(self) -> int:
        """The space that `.part` files of earlier runs take there."""
        return self.room.kept

    @property
    def needed(self) -> int:
        """The space needed there for all outputs together; a minimum if sizes are unknown."""
        return self.room.needed

    @property
    def fetched(self) -> int:
        """What would be fetched, if nothing of it is in a `.part` file."""
        return sum(layer.size for layer in self.layers if not layer.is_reused)

    @property
    def reused(self) -> int:
        """What is on this machine, judging by names and sizes."""
        return sum(layer.size for layer in self.layers if layer.is_reused)

    def check_room(self) -> None:
        """Check that there is enough space for the output, as `save` does.

        Raises:
            OutputError: there is not enough, or it cannot be determined.
        """
        self.room.check()

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "images": [
                {
                    "reference": str(image.reference),
                    "digest": image.digest,
                    "platforms": [str(platform) for platform in image.platforms],
                }
                for image in self.images
            ],
            "layers": [
                {
                    "digest": layer.digest,
                    "size": layer.size,
                    "source": layer.source,
                    "is_reused": layer.is_reused,
                }
                for layer in self.layers
            ],
            "paths": list(self.paths),
            "size": self.size,
            "compression": self.compression,
            "fetched": self.fetched,
            "reused": self.reused,
            "free": self.free,
            "needed": self.needed,
            "kept": self.kept,
        }


def forecast(
    *images: str | Reference,
    output: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    network: Network | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], None] = lambda line: None,
    cancellation: Cancellation | None = None,
    trace: Callable[[str], None] | None = None,
) -> Forecast:
    """Preview what `save` would do with the same arguments.

    Only documents are fetched, and indexes of layers if `options.only` makes a save read them.

    Args:
        images, output, options, network, progress, notify, cancellation, trace: as for `save`.

    Raises:
        DockersaveError: as `save`, for errors before the first layer is fetched.
    """
    with running(images, output, options, network, progress, notify, cancellation, trace) as (
        job,
        references,
        destination,
    ):
        job.progress.phase("resolving")
        resolved = resolve(job, references)
        planned = job.with_known_sizes(resolved)
        return Forecast(
            images=tuple(map(SavedImage.of, resolved)),
            layers=tuple(_layers(job, resolved, unneeded_layers(job, resolved, destination))),
            paths=destination.paths,
            size=None if planned is None else job.plan(planned).size,
            compression=destination.compression,
            free=_free(destination),
            room=room_for(job, resolved, destination),
        )


def _layers(job: Job, images: Sequence[Image], without: Collection[str]) -> list[ForecastLayer]:
    layers = []
    for layer in job.format.layers(images):
        if layer.digest in without:
            continue
        sizes = {layer.served.size, layer.size}
        source = next(
            each for each in job.sources(images, layer) if not each.is_local or each.size in sizes
        )
        digest, size = layer.served.digest, source.size
        layers.append(ForecastLayer(digest, size, str(source.server), source.is_local))
    return layers


def _free(destination: Destination) -> int | None:
    for path in destination.paths:
        with suppress(OSError):
            fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return free_room(fd)
            finally:
                os.close(fd)
    return None
