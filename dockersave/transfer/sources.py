"""Where blobs come from: the registry, and whatever is on this machine's disk already.

A blob of an archive on disk is a source like the registry is: what it gives is hashed on its
way, and if it is not what it should be, the next source is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import IO, Protocol

from ..errors import (
    CancelledError,
    ContentError,
    CredentialsError,
    DockersaveError,
    NotFoundError,
)
from ..limits import LIMITS
from ..model.digest import check, is_digest
from ..model.manifests import Descriptor
from ..values import dataclass
from .throttle import Stream


class BlobOpener(Protocol):
    """What opens a blob at a registry."""

    @property
    def name(self) -> str:
        """The registry's."""

    def blob(
        self, repository: str, descriptor: Descriptor, start: int = 0, stop: int | None = None
    ) -> Stream:
        """Begin to read a range of a blob."""


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A blob at its registry."""

    registry: BlobOpener
    repository: str
    descriptor: Descriptor
    is_local: bool = False

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.descriptor.size

    @property
    def server(self) -> str:
        """Who serves it."""
        return self.registry.name

    def open(self, start: int, stop: int) -> Stream:
        """Begin to read bytes `start` to `stop` (exclusive)."""
        return self.registry.blob(self.repository, self.descriptor, start, stop)


class ForeignOpener(BlobOpener, Protocol):
    """What opens a blob at an address of its own, too."""

    def foreign(
        self, descriptor: Descriptor, url: str, start: int = 0, stop: int | None = None
    ) -> Stream:
        """Begin to read a range of a blob at a URL, without credentials."""


@dataclass(frozen=True, slots=True)
class ForeignBlob(RemoteBlob):
    """A blob that need not be in its registry: then it is behind one of its `urls`.

    Docker asks in the same order (moby, distribution/pull_v2_windows.go).
    """

    registry: ForeignOpener

    def open(self, start: int, stop: int) -> Stream:
        """Begin to read bytes `start` to `stop` (exclusive)."""
        failure: DockersaveError
        try:
            return self.registry.blob(self.repository, self.descriptor, start, stop)
        except (NotFoundError, CredentialsError) as refusal:
            failure = refusal
        for url in self.descriptor.urls:
            try:
                return self.registry.foreign(self.descriptor, url, start, stop)
            except CancelledError:
                raise
            except DockersaveError as refusal:
                failure = refusal
        raise failure


@dataclass(frozen=True, slots=True)
class LocalBlob:
    """A blob in a file of this machine.

    Args:
        file: the file, open; who made this closes it.
        offset: where the blob begins in it, in bytes.
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
        """Begin to read bytes `start` to `stop` (exclusive)."""
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
        """Begin to read bytes `start` to `stop` (exclusive)."""
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
            raise ContentError(f"{self._blob.file.name} is cut off")
        self._position += count
        return count

    def interrupt(self) -> None:
        """A disk does not keep anybody waiting."""

    def close(self) -> None:
        """Close the file, unless it stays open for others."""
        self._close()


class LocalStore:
    """All blobs in the archives and directories that may be used, by digest.

    Args:
        paths: tar files, and directories with the same as files; those that do not exist, or
            are neither, hold nothing.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._files: list[IO[bytes]] = []
        self._blobs: dict[str, list[LocalBlob | LocalFile]] = {}
        for path in dict.fromkeys(paths):
            self.add(path)

    def add(self, path: str) -> None:
        """Index one more archive or directory, if it is there."""
        if os.path.isdir(path):
            self.add_tree(path)
        elif os.path.isfile(path):
            with suppress(OSError):
                self.add_file(open(path, "rb"))  # noqa: SIM115

    def add_file(self, file: IO[bytes]) -> None:
        """Index one more archive, which `close` closes.

        Args:
            file: a tar file, open for reading.
        """
        from ..archive.read.leftover import blobs_of

        self._files.append(file)
        for digest, offset, size in blobs_of(file):
            self._blobs.setdefault(digest, []).append(LocalBlob(file, offset, size))

    def add_tree(self, path: str) -> None:
        """Index the blobs of an OCI layout in a directory, if it is there."""
        for algorithm in ("sha256", "sha512"):
            with suppress(OSError), os.scandir(os.path.join(path, "blobs", algorithm)) as found:
                for entry in found:
                    digest = f"{algorithm}:{entry.name}"
                    if is_digest(digest) and entry.is_file():
                        self.add_blob(digest, entry.path, entry.stat().st_size)

    def add_blob(self, digest: str, path: str, size: int) -> None:
        """Index a file.

        Args:
            digest: what it should hash to.
            path: its name.
            size: in bytes.
        """
        self._blobs.setdefault(digest, []).append(LocalFile(path, size))

    def find(self, digest: str) -> list[LocalBlob | LocalFile]:
        """The places that claim to have a blob."""
        return self._blobs.get(digest, [])

    def size_of(self, digest: str) -> int:
        """The size of a blob in bytes, if it is here and nobody contradicts; else -1."""
        sizes = {blob.size for blob in self.find(digest)}
        return sizes.pop() if len(sizes) == 1 else -1

    def read(self, descriptor: Descriptor) -> bytes | None:
        """A small blob that is here, verified; None if it is not, or not what it should be.

        Args:
            descriptor: what names it.
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
