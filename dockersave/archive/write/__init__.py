"""Outputs of archives, with one interface for files, directories and streams.

Named outputs are written as `NAME.part`. Only `commit` gives them their final name, once everything
is on the disk.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from ...errors import OutputError
from ...spelling import argument
from ..disk import FileWriter
from ..members import Document, Layer
from ..partmap import Extent, Range
from ..tar import Entry, Plan, fixed_parts, lay_out

Slot = tuple[Entry[Layer], FileWriter, list[Range]]
"""A blob's entry, its place, and the ranges written by an earlier run."""


class Movable(Protocol):
    """Content in an unnamed file."""

    def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
        """Pass it on chunk by chunk with offsets, freeing the space of each."""


class Output(Protocol):
    """An output: opened by `lay` or `begin`, then `commit`, and always `close`."""

    in_order: bool
    """Whether it only accepts bytes in order. Then `lay` returns no places, and `write` is
    available."""

    unreserved: int
    """Disk space that it may still need and has not reserved, in bytes, once it is open."""

    def lay(self, plan: Plan) -> list[Slot]:
        """Open it for a completely planned archive; write everything except blobs.

        Returns:
            The place of each blob, and what is already there.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """

    def begin(self, layers: Sequence[Layer], check: Callable[[], object]) -> Mapping[str, int]:
        """Open it for layers whose sizes are not known yet: they are appended.

        Args:
            layers: the first members of the archive.
            check: called now and then; may raise to stop.

        Returns:
            The paths of layers that are already in place, with their sizes in bytes; append all
            others.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """

    def write(self, data: bytes) -> None:
        """Write the next bytes of an archive that is written in order."""

    def append(self, layer: Layer, size: int, content: Movable) -> None:
        """Append a layer of `size` bytes.

        Raises:
            OutputError: it cannot be written.
        """

    def commit(self, documents: Iterable[Document] | None = None) -> int:
        """Write these members, and give the output its final name.

        Args:
            documents: members after appended layers; None if none were appended.

        Returns:
            The archive's size in bytes.

        Raises:
            OutputError: it cannot be written.
        """

    def close(self) -> None:
        """Close it. The output of an earlier run is unchanged, unless this one was committed."""


def least_room(layers: Iterable[Layer]) -> int:
    """The least size of unpacked layers in bytes: a little less than compressed.

    Compressing incompressible data makes it slightly larger.
    """
    return sum(layer.served.size - layer.served.size // 8 for layer in layers)


def room_to_leave(layers: Iterable[Layer]) -> int:
    """Space that a cache leaves for unpacked layers of unknown size, in bytes.

    Programs compress to a third; hardly any image compresses to less than an eighth.
    """
    return 8 * least_room(layers)


def rest_of(documents: Iterable[Document], position: int) -> bytes:
    """The end of a tar file, from an offset on."""
    return b"".join(body for _, body in fixed_parts(lay_out((), documents, position)))


def extent_of(entry: Entry[Layer], offset: int) -> Extent:
    """The key of a blob in the map of a `.part` file."""
    return Extent(entry.member.digest, entry.size, offset)


@contextmanager
def beginning_anew() -> Iterator[None]:
    """Do not promise to continue after a full disk: output that is written in order is not
    resumed."""
    try:
        yield
    except OutputError as failure:
        cause = failure.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            failure.hint = f"free some space and {argument('again')}: it starts from the beginning"
        raise
