"""What an archive consists of: a list of members, in every format."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.manifests import Descriptor


@dataclass(frozen=True, slots=True)
class Content:
    """A document with known content."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link.

    Args:
        target: relative to the link's directory.
    """

    target: str


@dataclass(frozen=True, slots=True)
class Blob:
    """Content to fetch.

    Args:
        served: the blob in the registry.
        stored: the content in the archive: the same, or unpacked; then its size is -1 until it has
            been unpacked.
        image: the number of the image to fetch it with, in the order of the call.
    """

    served: Descriptor
    stored: Descriptor
    image: int

    @property
    def is_unpacked(self) -> bool:
        """Whether it is stored differently than served."""
        return self.served.digest != self.stored.digest


@dataclass(frozen=True, slots=True)
class Member:
    """A file, a directory (a path that ends in a slash) or a link of an archive."""

    path: str
    data: Content | Link | Blob | None

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.data is None

    @property
    def size(self) -> int:
        """Size of its content in bytes; -1 while unknown."""
        if isinstance(self.data, Blob):
            return self.data.stored.size
        return len(self.data.body) if isinstance(self.data, Content) else 0
