"""Outputs for layers whose sizes are not known beforehand: written layer by layer, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import IO, Protocol

from .members import Content, Member
from .partfile import PartFile
from .place import write_all, writing
from .sinks import DirectoryTree
from .tar import END, header, lay_out, padding


class Movable(Protocol):
    """Content in a file without a name."""

    def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
        """Give it away, chunk by chunk, each with its offset, freeing each."""


class Appender(Protocol):
    """Takes the members of an archive in order."""

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
        leftover: gets what an earlier run left of it, open for reading: a tar file as far as
            it goes.
    """

    def __init__(self, path: str, leftover: Callable[[IO[bytes]], object]) -> None:
        self._file = PartFile(path)
        self._position = 0
        with ExitStack() as failed:
            failed.callback(self._file.close)
            self._file.open()
            leftover(os.fdopen(self._file.renew(), "rb"))
            failed.pop_all()

    def append(self, member: Member, size: int, content: Movable) -> None:
        """Take a layer; its last bytes first, so that its space is freed as it moves."""
        fd, head = self._file.fd, header(member, size)
        base = self._position + len(head)
        with writing(self._file.part):
            write_all(fd, head, self._position)
            content.move(lambda offset, data: write_all(fd, data, base + offset), backwards=True)
            write_all(fd, bytes(padding(size)), base + size)
        self._position = base + size + padding(size)

    def finish(self, documents: Iterable[Member]) -> int:
        """Write the rest, and give the file its name."""
        body = _rest(documents, self._position)
        with writing(self._file.part):
            write_all(self._file.fd, body, self._position)
        self._file.publish()
        return self._position + len(body)

    def close(self) -> None:
        """Let go of it; what is empty is not left behind."""
        if not self._position:
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
        with ExitStack() as failed:
            failed.callback(self._tree.close)
            self._tree.lay(lay_out(()))
            failed.pop_all()

    def append(self, member: Member, size: int, content: Movable) -> None:
        """Take a layer."""
        self._size += size
        fd = self._tree.create(member)
        with writing(member.path):
            content.move(lambda offset, data: write_all(fd, data, offset), backwards=True)

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


def _rest(documents: Iterable[Member], position: int) -> bytes:
    parts: list[bytes] = []
    for entry in lay_out(documents, position).entries:
        content = entry.member.data
        parts += [entry.header, content.body if isinstance(content, Content) else b""]
        parts.append(bytes(padding(entry.size)))
    return b"".join([*parts, END])
