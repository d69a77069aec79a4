"""What an archive is made of: a list of members, whichever the format."""

from __future__ import annotations

from ..model.manifests import Descriptor
from ..values import dataclass


@dataclass(frozen=True, slots=True)
class Content:
    """A document that is here already."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link.

    Args:
        target: where it leads, relative to the directory it lies in.
    """

    target: str


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that is to be fetched.

    Args:
        served: what the registry has.
        stored: what the archive gets: the same, or its unpacked content, whose size is -1
            until somebody has unpacked it.
        image: the number of the image, in the order of the call, to fetch it with.
    """

    served: Descriptor
    stored: Descriptor
    image: int

    @property
    def is_unpacked(self) -> bool:
        """Whether it is stored otherwise than it is served."""
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
        """How much content it has, in bytes; -1 while that is not known."""
        if isinstance(self.data, Blob):
            return self.data.stored.size
        return len(self.data.body) if isinstance(self.data, Content) else 0
