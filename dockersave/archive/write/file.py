"""An archive as a tar file, filled in any order or layer by layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO

from ...errors import OutputError
from ..members import Document, Layer
from ..partmap import Extent, PartMap
from ..place import FilePlace, check_room, check_whole, copy, reserve, write_all, writing
from ..read.leftover import blobs_of, is_there, stated_size
from ..tar import Plan, fixed_parts, header, padding
from . import Movable, Slot, extent_of, least_room, rest_of, room_to_leave
from .partfile import PartFile


class ArchiveFile:
    """A tar file.

    Args:
        path: its name.
        leftover: called with parts from an earlier run that cannot stay in place: a tar file,
            possibly truncated, open for reading. Only for appended layers.
    """

    in_order = False

    def __init__(
        self, path: str, leftover: Callable[[IO[bytes]], object] = lambda file: file.close()
    ) -> None:
        self.file = PartFile(path)
        self._leftover = leftover
        self._size = self._whole = self.unreserved = 0
        self._position = -1
        """Where the next appended layer goes; -1 if everything is planned."""

    def lay(self, plan: Plan) -> list[Slot]:
        """Fill it in any order."""
        self._size = plan.size
        self.file.open()
        try:
            return self._lay(plan)
        except BaseException:
            if self.file.is_new:
                self.file.discard()
            raise

    def _lay(self, plan: Plan) -> list[Slot]:
        file = self.file
        extents = [extent_of(entry, entry.offset) for entry in plan.layers]
        with writing(file.part):
            self._whole = whole_size(plan)
            old = PartMap.load(file.fd)
            if old is not None and (old.offset, old.extents) == (plan.size, tuple(extents)):
                check_room(file.fd, file.path, self._whole, allocated(file.fd))
                partmap = old
            elif old is None and os.fstat(file.fd).st_size == plan.size:
                # An earlier run completed it and cut off the map, but could not publish it.
                partmap = PartMap.create(file.fd, plan.size, extents)
                partmap.fill()
            else:
                partmap = self._renew(old, plan, extents)
            reserve(file.fd, self._whole)
            self.unreserved = max(0, self._whole - allocated(file.fd))
            have = [partmap.present(extent) for extent in extents]
            for offset, body in fixed_parts(plan):
                write_all(file.fd, body, offset)
        return [
            (
                entry,
                FilePlace(file.part, file.fd, entry.offset, partmap, extent, self._whole),
                ranges,
            )
            for entry, extent, ranges in zip(plan.layers, extents, have, strict=True)
        ]

    def _renew(self, old: PartMap | None, plan: Plan, extents: Sequence[Extent]) -> PartMap:
        """Start again, with the blobs from the old file in new places."""
        file = self.file
        freed = allocated(file.fd)
        check_room(file.fd, file.path, self._whole, freed)
        if file.is_new:
            return PartMap.create(file.fd, plan.size, extents)
        known = old.by_digest() if old else {}
        kept = [(extent, known.get(extent.digest)) for extent in extents]
        worth = [(to, at) for to, at in kept if at is not None and at.size == to.size]
        try:
            check_room(file.fd, file.path, self._whole)
        except OutputError:
            # There is space for only one of them.
            worth = []
        if old is None or not worth:
            os.close(file.renew())
            return PartMap.create(file.fd, plan.size, extents)
        old_fd = file.begin_beside()
        try:
            partmap = PartMap.create(file.fd, plan.size, extents)
            reserve(file.fd, self._whole)
            for to, at in worth:
                for start, stop in old.present(at):
                    begin = to.offset + start
                    copied = copy(old_fd, at.offset + start, file.fd, begin, stop - start)
                    partmap.record(to, start, start + copied)
            os.fsync(file.fd)
        except BaseException:
            file.give_up_beside(old_fd)
            raise
        file.take_place(old_fd)
        return partmap

    def begin(self, layers: Sequence[Layer], check: Callable[[], object]) -> Mapping[str, int]:
        """Keep the layers at the start of the file, as far as they match."""
        self.file.open()
        try:
            return self._begin(layers, check)
        except BaseException:
            if self.file.is_new:
                self.file.discard()
            raise

    def _begin(self, layers: Sequence[Layer], check: Callable[[], object]) -> Mapping[str, int]:
        fd, position, start = self.file.fd, 0, 0
        kept: dict[str, int] = {}
        with writing(self.file.part):
            for layer in layers:
                size, start = stated_size(fd, position, layer), position + len(header(layer, 0))
                if size < 0 or not is_there(fd, start, size, layer.digest, check):
                    break
                kept[layer.path] = size
                position = start + size + padding(size)
            missing = [layer for layer in layers if layer.path not in kept]
            others = max(0, 512 * os.fstat(fd).st_blocks - position)
            check_room(fd, self.file.path, least_room(missing), others, least=True)
            wanted = {layer.digest for layer in missing}
            with os.fdopen(os.dup(fd), "rb") as file:
                # An incomplete one has its name and its place, too.
                is_elsewhere = any(
                    digest in wanted and offset != start for digest, offset, _ in blobs_of(file)
                )
            if is_elsewhere or not kept:
                kept, position = {}, 0
                self._leftover(os.fdopen(self.file.renew(), "rb"))
            else:
                # The rest is an incomplete or unusable layer.
                os.ftruncate(fd, position)
                self._pad(layers, kept)
        self._position = position
        self.unreserved = room_to_leave(layer for layer in layers if layer.path not in kept)
        return kept

    def _pad(self, layers: Sequence[Layer], kept: Mapping[str, int]) -> None:
        """Write the padding of each layer: no digest covers it."""
        position = 0
        for layer in layers[: len(kept)]:
            size = kept[layer.path]
            end = position + len(header(layer, 0)) + size
            write_all(self.file.fd, bytes(padding(size)), end)
            position = end + padding(size)

    def append(self, layer: Layer, size: int, content: Movable) -> None:
        """Append a layer, last bytes first, so that its space is freed as it moves."""
        fd, part, head = self.file.fd, self.file.part, header(layer, size)
        base = self._position + len(head)
        end = base + size + padding(size)

        def write(offset: int, data: bytes) -> None:
            check_whole(fd, part, end)
            write_all(fd, data, base + offset)

        with writing(part):
            check_whole(fd, part, self._position)
            os.ftruncate(fd, end)
            write_all(fd, head, self._position)
            content.move(write, backwards=True)
            check_whole(fd, part, end)
        self._position = end

    def commit(self, documents: Iterable[Document] | None = None) -> int:
        """Cut off the map, or write the rest, and give the file its final name."""
        file = self.file
        with writing(file.part):
            if self._position < 0:
                check_whole(file.fd, file.part, self._whole)
            else:
                check_whole(file.fd, file.part, self._position)
                body = rest_of(documents or (), self._position)
                write_all(file.fd, body, self._position)
                self._size = self._position + len(body)
            os.ftruncate(file.fd, self._size)
        file.publish()
        return self._size

    def write(self, data: bytes) -> None:
        """It is not written in order."""
        raise NotImplementedError

    def close(self) -> None:
        """Close it, and remove it if it is empty."""
        if self._position == 0:
            self.file.discard()
        self.file.close()


def whole_size(plan: Plan) -> int:
    """Size of a planned archive while it is being written, including its map, in bytes."""
    extents = [extent_of(entry, entry.offset) for entry in plan.layers]
    return PartMap.planned(-1, plan.size, extents).whole


def allocated(fd: int) -> int:
    """Disk space of a file, in bytes."""
    return 512 * os.fstat(fd).st_blocks
