"""Where an archive goes. One interface, whether it is a file, a directory or a stream.

What has a name is written under the name `NAME.part`, and gets its own when all of it is there and
on the disk: in `commit`, and nowhere else.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from ...errors import OutputError
from ..disk import FileWriter
from ..members import Document, Layer
from ..partmap import Extent, Range
from ..tar import Entry, Plan, fixed_parts, lay_out

Slot = tuple[Entry[Layer], FileWriter, list[Range]]
"""A layer's entry, its place, and the ranges that an earlier run wrote there."""


class Movable(Protocol):
    """Content in a file without a name."""

    def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
        """Give it away, chunk by chunk, each with its offset, freeing each."""


class Output(Protocol):
    """Takes an archive: opened by `lay` or `begin`, then `commit`, and `close` in any case."""

    in_order: bool
    """Whether it takes bytes in order only. Then `lay` tells of no places, and `write` is there."""

    unreserved: int
    """What it may still take on the disk and has not reserved, in bytes, once it is open."""

    def lay(self, plan: Plan) -> list[Slot]:
        """Open it for an archive that is planned to the last byte; write all that is no blob.

        Returns:
            Where each blob goes, and what of it is there.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """

    def begin(self, layers: Sequence[Layer], check: Callable[[], object]) -> Mapping[str, int]:
        """Open it for layers whose sizes are not known yet: they are appended.

        Args:
            layers: what the archive begins with.
            check: called now and then; what it raises ends the search.

        Returns:
            The paths of layers that are in their places already, with their sizes in bytes;
            all others are to be appended.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """

    def write(self, data: bytes) -> None:
        """Take the next bytes of an archive that is written in order."""

    def append(self, layer: Layer, size: int, content: Movable) -> None:
        """Take a layer of `size` bytes.

        Raises:
            OutputError: it cannot be written.
        """

    def commit(self, documents: Iterable[Document] | None = None) -> int:
        """Give it its name: all of it is there, but for these members.

        Args:
            documents: what follows layers that were appended; None where none were.

        Returns:
            The archive's size in bytes.

        Raises:
            OutputError: it cannot be.
        """

    def close(self) -> None:
        """Let go of it. What an earlier run had completed is as it was, unless this one has."""


def least_room(layers: Iterable[Layer]) -> int:
    """What layers need at least when they are unpacked, in bytes: a little less than as packed.

    What cannot be compressed is packed into a bit more than it is.
    """
    return sum(layer.served.size - layer.served.size // 8 for layer in layers)


def room_to_leave(layers: Iterable[Layer]) -> int:
    """What layers whose sizes are not known are left by a cache when they are unpacked, in bytes.

    Programs are packed into a third of what they are; hardly an image into less than an eighth.
    """
    return 8 * least_room(layers)


def rest_of(documents: Iterable[Document], position: int) -> bytes:
    """The end of a tar file, from an offset on."""
    return b"".join(body for _, body in fixed_parts(lay_out((), documents, position)))


def extent_of(entry: Entry[Layer], offset: int) -> Extent:
    """What a `.part` remembers a layer by."""
    return Extent(entry.member.digest, entry.size, offset)


@contextmanager
def beginning_anew() -> Iterator[None]:
    """Promise nothing about a full disk: what is written in order is not taken up again."""
    try:
        yield
    except OutputError as failure:
        cause = failure.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            failure.hint = (
                "free some space and run the same command again: it starts from the beginning"
            )
        raise
