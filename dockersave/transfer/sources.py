"""Sources of blobs: the registry, and files on this machine's disk.

A blob in an archive on disk is a source like the registry: its bytes are hashed while they are
read, and if they are wrong, the next source is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import IO

from ..errors import ContentError
from ..limits import LIMITS
from ..model.descriptors import Descriptor
from ..model.digest import check, is_digest
from ..values import dataclass
from .throttle import Stream


@dataclass(frozen=True, slots=True)
class LocalBlob:
    """A blob in a file on this machine.

    Args:
        file: the open file; closed by whoever created this object.
        offset: where the blob starts in it, in bytes.
        size: in bytes.
    """

    file: IO[bytes]
    offset: int
    size: int
    is_local: bool = True

    @property
    def server(self) -> str:
        """The file."""
        return self.file.name

    def open(self, start: int, stop: int) -> Stream:
        """Start to read bytes `start` to `stop` (exclusive)."""
        return _LocalStream(self, start)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A blob that is a file of its own.

    Args:
        path: the file's name.
        size: in bytes.
    """

    path: str
    size: int
    is_local: bool = True

    @property
    def server(self) -> str:
        """The file."""
        return self.path

    def open(self, start: int, stop: int) -> Stream:
        """Start to read bytes `start` to `stop` (exclusive)."""
        try:
            file = open(self.path, "rb", buffering=0)  # noqa: SIM115
        except OSError as failure:
            raise ContentError(f"{self.path} cannot be read: {failure.strerror}") from failure
        return _LocalStream(LocalBlob(file, 0, self.size), start, file.close)


class _LocalStream:
    ranged = is_ahead = True

    def __init__(
        self, blob: LocalBlob, start: int, close: Callable[[], object] = lambda: None
    ) -> None:
        self._blob = blob
        self._close = close
        self.start = start
        self._position = start

    def readinto(self, buffer: memoryview) -> int:
        buffer = buffer[: self._blob.size - self._position]
        if not buffer:
            return 0
        place = self._blob.offset + self._position
        try:
            count = os.preadv(self._blob.file.fileno(), [buffer], place)
        except OSError as failure:
            cause = failure.strerror or str(failure)
            raise ContentError(f"{self._blob.file.name} cannot be read: {cause}") from failure
        if not count:
            raise ContentError(f"{self._blob.file.name} is truncated")
        self._position += count
        return count

    def interrupt(self) -> None:
        """Nothing to do: disks do not block."""

    def close(self) -> None:
        """Close the file, unless it stays open for others."""
        self._close()


class LocalStore:
    """All blobs in reusable archives and directories, by digest.

    Args:
        paths: tar files, and directories with the same content; anything else is ignored.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._files: list[IO[bytes]] = []
        self._blobs: dict[str, list[LocalBlob | LocalFile]] = {}
        self._parts: dict[str, IO[bytes]] = {}
        self.useless: set[str] = set()
        """Those of the paths that have no blobs."""
        for path in dict.fromkeys(paths):
            known = self._count
            self.add(path)
            if self._count == known:
                self.useless.add(path)

    @property
    def _count(self) -> int:
        return sum(map(len, self._blobs.values()))

    def add(self, path: str) -> None:
        """Index another archive or directory, if it exists."""
        if os.path.isdir(path):
            self.add_tree(path)
        elif os.path.isfile(path):
            with suppress(OSError):
                self.add_file(open(path, "rb"))  # noqa: SIM115

    def add_file(self, file: IO[bytes]) -> None:
        """Index another archive, which `close` closes.

        Args:
            file: a tar file, open for reading.
        """
        from ..archive.read.partial import blobs_of

        self._files.append(file)
        for digest, offset, size in blobs_of(file):
            self._blobs.setdefault(digest, []).append(LocalBlob(file, offset, size))

    def add_tree(self, path: str) -> None:
        """Index the blobs of an OCI layout in a directory, if it exists."""
        for algorithm in ("sha256", "sha512"):
            with suppress(OSError), os.scandir(os.path.join(path, "blobs", algorithm)) as found:
                for entry in found:
                    digest = f"{algorithm}:{entry.name}"
                    if is_digest(digest) and entry.is_file():
                        self.add_blob(digest, entry.path, entry.stat().st_size)

    def add_blob(self, digest: str, path: str, size: int) -> None:
        """Index a file.

        Args:
            digest: its expected digest.
            path: its name.
            size: in bytes.
        """
        self._blobs.setdefault(digest, []).append(LocalFile(path, size))

    def add_part(self, digest: str, path: str, offset: int, size: int) -> None:
        """Index a part of a file; nothing if the file cannot be opened.

        Args:
            digest: its expected digest.
            path: the file's name.
            offset: where it starts in the file, in bytes.
            size: in bytes.
        """
        with suppress(OSError):
            if path not in self._parts:
                self._parts[path] = open(path, "rb")  # noqa: SIM115
                self._files.append(self._parts[path])
            blob = LocalBlob(self._parts[path], offset, size)
            self._blobs.setdefault(digest, []).append(blob)

    def find(self, digest: str) -> list[LocalBlob | LocalFile]:
        """The places that should contain a blob."""
        return self._blobs.get(digest, [])

    def size_of(self, digest: str) -> int:
        """The size of a blob in bytes; -1 if it is not here, or the places disagree."""
        sizes = {blob.size for blob in self.find(digest)}
        return sizes.pop() if len(sizes) == 1 else -1

    def read(self, descriptor: Descriptor) -> bytes | None:
        """A small local blob, verified; None if it is missing or wrong.

        Args:
            descriptor: its descriptor.
        """
        for blob in self._blobs.get(descriptor.digest, ()):
            if blob.size == descriptor.size <= LIMITS.config:
                with suppress(ContentError), closing(blob.open(0, blob.size)) as stream:
                    body = bytearray(blob.size)
                    stream.readinto(memoryview(body))
                    check(body, descriptor.digest, "the config", descriptor.size)
                    return bytes(body)
        return None

    def close(self) -> None:
        """Close the archives."""
        while self._files:
            self._files.pop().close()
