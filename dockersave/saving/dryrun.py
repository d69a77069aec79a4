"""What a save would do, without doing it: `--dry-run`. Nothing is written, and no layer is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
from .save import SavedImage, room_for, running


@dataclass(frozen=True, slots=True)
class ForecastLayer:
    """A layer that would be saved.

    Args:
        digest: as the registry has it.
        size: of what would be read, in bytes.
        source: where from: the registry's name, or that of a file on this machine.
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
        images: what would be saved, in the order of the call; with their digests as they are
            served, though layers that are unpacked give manifests of their own.
        layers: what would be fetched or reused, each once.
        paths: what would be written: the archive, the directory, or both; none for a stream.
        size: of the archive, before it is compressed as a whole; None where layers are to be
            unpacked that are only known when they are.
        compression: of the archive as a whole: `gzip`, `zstd`, `xz`; empty for none.
        free: what can be written where the output goes; None for a stream, or if the file system
            does not say.
        room: what the outputs take there.
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
        """What `.part` files of earlier runs occupy there."""
        return self.room.kept

    @property
    def needed(self) -> int:
        """What is needed there for all outputs together; where sizes are not known, at least."""
        return self.room.needed

    @property
    def fetched(self) -> int:
        """What would come over the network, if nothing of it is in a `.part` file."""
        return sum(layer.size for layer in self.layers if not layer.is_reused)

    @property
    def reused(self) -> int:
        """What is on this machine, as far as names and sizes can be believed."""
        return sum(layer.size for layer in self.layers if layer.is_reused)

    def check_room(self) -> None:
        """Make sure that there is room for what would be written, as `save` does.

        Raises:
            OutputError: there is not enough, or the place cannot be looked at.
        """
        self.room.check()

    def to_json(self) -> dict[str, Any]:
        """As a document of lists, objects, texts and numbers."""
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
    """Tell what `save` would do with the same arguments; registries are asked for documents only.

    Args:
        images, output, options, network, progress, notify, cancellation, trace: as for `save`.

    Raises:
        DockersaveError: as `save`, for what is seen before the first layer is fetched.
    """
    with running(images, output, options, network, progress, notify, cancellation, trace) as (
        job,
        references,
        destination,
    ):
        job.progress.phase("resolving")
        resolved = job.resolve(references)
        planned = job.with_known_sizes(resolved)
        return Forecast(
            images=tuple(map(SavedImage.of, resolved)),
            layers=tuple(_layers(job, resolved)),
            paths=destination.paths,
            size=None if planned is None else job.plan(planned).size,
            compression=destination.compression,
            free=_free(destination),
            room=room_for(job, resolved, destination),
        )


def _layers(job: Job, images: Sequence[Image]) -> list[ForecastLayer]:
    layers = []
    for layer in job.format.layers(images):
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
