"""Outputs for layers whose sizes are not known beforehand: written layer by layer, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Protocol

from ..errors import OutputError
from .leftover import blobs_of, is_there, stated_size
from .members import Blob, Content, Member
from .partfile import PartFile
from .place import check_room, check_whole, write_all, writing
from .sinks import DirectoryTree
from .tar import END, header, lay_out, padding


class Movable(Protocol):
    """Content in a file without a name."""

    def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
        """Give it away, chunk by chunk, each with its offset, freeing each."""


class Appender(Protocol):
    """Takes the members of an archive in order."""

    def begin(self, layers: Sequence[Member], check: Callable[[], object]) -> Mapping[str, int]:
        """Take up what an earlier run left.

        Args:
            layers: what the archive begins with.
            check: called now and then; what it raises ends the search.

        Returns:
            The paths of layers that are in their places already, with their sizes in bytes;
            all others are to be appended.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """

    def append(self, member: Member, size: int, content: Movable) -> None:
        """Take a layer of `size` bytes.

        Raises:
            OutputError: it cannot be written.
        """

    def finish(self, documents: Iterable[Member]) -> int:
        """Take the members that are no layers, and publish.

        Returns:
            The archive's size in bytes.

        Raises:
            OutputError: they cannot be written.
        """

    def close(self) -> None:
        """Let go of it."""


class AppendToFile:
    """A tar file.

    Args:
        path: its name.
        leftover: gets what an earlier run left of it and what cannot stay in its place, open
            for reading: a tar file as far as it goes.
    """

    def __init__(self, path: str, leftover: Callable[[IO[bytes]], object]) -> None:
        self._file = PartFile(path)
        self._leftover = leftover
        self._position = -1

    def begin(self, layers: Sequence[Member], check: Callable[[], object]) -> Mapping[str, int]:
        """Keep the layers at the beginning of the file, as far as they are those."""
        self._file.open()
        try:
            return self._begin(layers, check)
        except BaseException:
            if self._file.is_new:
                self._file.discard()
            raise

    def _begin(self, layers: Sequence[Member], check: Callable[[], object]) -> Mapping[str, int]:
        fd, position, start = self._file.fd, 0, 0
        kept: dict[str, int] = {}
        with writing(self._file.part):
            for member in layers:
                size, start = stated_size(fd, position, member), position + len(header(member, 0))
                if size < 0 or not is_there(fd, start, size, _digest_of(member), check):
                    break
                kept[member.path] = size
                position = start + size + padding(size)
            missing = [member for member in layers if member.path not in kept]
            others = max(0, 512 * os.fstat(fd).st_blocks - position)
            check_room(fd, self._file.path, _least(missing), others, least=True)
            wanted = {_digest_of(member) for member in missing}
            with os.fdopen(os.dup(fd), "rb") as file:
                # One that was not complete has its name, too, at its right place.
                is_elsewhere = any(
                    digest in wanted and offset != start for digest, offset, _ in blobs_of(file)
                )
            if is_elsewhere or not kept:
                kept, position = {}, 0
                self._leftover(os.fdopen(self._file.renew(), "rb"))
            else:
                # What follows is a layer that was not complete, or of no use.
                os.ftruncate(fd, position)
                self._pad(layers, kept)
        self._position = position
        return kept

    def _pad(self, layers: Sequence[Member], kept: Mapping[str, int]) -> None:
        """Write what fills the last block of each layer: no digest tells what is there."""
        position = 0
        for member in layers[: len(kept)]:
            size = kept[member.path]
            end = position + len(header(member, 0)) + size
            write_all(self._file.fd, bytes(padding(size)), end)
            position = end + padding(size)

    def append(self, member: Member, size: int, content: Movable) -> None:
        """Take a layer; its last bytes first, so that its space is freed as it moves."""
        fd, part, head = self._file.fd, self._file.part, header(member, size)
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

    def finish(self, documents: Iterable[Member]) -> int:
        """Write the rest, and give the file its name."""
        body = _rest(documents, self._position)
        with writing(self._file.part):
            check_whole(self._file.fd, self._file.part, self._position)
            write_all(self._file.fd, body, self._position)
            os.ftruncate(self._file.fd, self._position + len(body))
        self._file.publish()
        return self._position + len(body)

    def close(self) -> None:
        """Let go of it; what is empty is not left behind."""
        if self._position == 0:
            self._file.discard()
        self._file.close()


class AppendToStream:
    """Something that takes bytes in order.

    Args:
        write: takes them.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._position = 0

    def begin(self, layers: Sequence[Member], check: Callable[[], object]) -> Mapping[str, int]:
        """Nothing of a stream is left."""
        return {}

    def append(self, member: Member, size: int, content: Movable) -> None:
        """Take a layer."""
        head = header(member, size)
        self._write(head)
        content.move(lambda offset, data: self._write(data), backwards=False)
        self._write(bytes(padding(size)))
        self._position += len(head) + size + padding(size)

    def finish(self, documents: Iterable[Member]) -> int:
        """Write the rest."""
        body = _rest(documents, self._position)
        self._write(body)
        return self._position + len(body)

    def close(self) -> None:
        """Whoever opened it closes it."""


class AppendToTree:
    """Files of a directory.

    Args:
        path: its name.
    """

    def __init__(self, path: str) -> None:
        self._tree = DirectoryTree(path)
        self._size = 0

    def begin(self, layers: Sequence[Member], check: Callable[[], object]) -> Mapping[str, int]:
        """Keep the files that are such layers."""
        self._tree.lay(lay_out(()), {member.path for member in layers})
        kept: dict[str, int] = {}
        for member in layers:
            fd = self._tree.open(member.path)
            with writing(member.path):
                size = os.fstat(fd).st_size
                if is_there(fd, 0, size, _digest_of(member), check):
                    kept[member.path] = size
                    self._tree.expect(member.path, fd)
            self._tree.release(fd)
        self._size = sum(kept.values())
        missing = [member for member in layers if member.path not in kept]
        try:
            self._tree.check_room(self._size + _least(missing), least=True)
        except OutputError:
            if self._tree.file.is_new:
                self._tree.file.discard()
            raise
        return kept

    def append(self, member: Member, size: int, content: Movable) -> None:
        """Take a layer."""
        self._size += size
        fd, name = self._tree.create(member), member.path

        def write(offset: int, data: bytes) -> None:
            check_whole(fd, name, size)
            write_all(fd, data, offset)

        with writing(name):
            os.ftruncate(fd, size)
            content.move(write, backwards=True)
            self._tree.expect(name, fd)
            check_whole(fd, name, size)
        self._tree.release(fd)

    def finish(self, documents: Iterable[Member]) -> int:
        """Write the rest, and give the directory its name."""
        for member in documents:
            self._tree.create(member)
            self._size += member.size
        self._tree.publish()
        return self._size

    def close(self) -> None:
        """Let go of it."""
        self._tree.close()


def _digest_of(layer: Member) -> str:
    assert isinstance(layer.data, Blob)
    return layer.data.stored.digest


def _least(layers: Iterable[Member]) -> int:
    """What layers need at least when they are unpacked, in bytes: a little less than as packed.

    What cannot be compressed is packed into a bit more than it is.
    """
    blobs = [layer.data for layer in layers]
    return sum(blob.served.size - blob.served.size // 8 for blob in blobs if isinstance(blob, Blob))


def _rest(documents: Iterable[Member], position: int) -> bytes:
    parts: list[bytes] = []
    for entry in lay_out(documents, position).entries:
        content = entry.member.data
        parts += [entry.header, content.body if isinstance(content, Content) else b""]
        parts.append(bytes(padding(entry.size)))
    return b"".join([*parts, END])
