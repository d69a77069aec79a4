"""What an archive is made of: layers, which are fetched, and the documents around them."""

from __future__ import annotations

from ..model.descriptors import Descriptor
from ..values import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """A file with known content, or a symbolic link.

    Args:
        path: its name in the archive.
        body: its content; empty for a link.
        target: of a link, relative to the link's directory; empty for a file.
    """

    path: str
    body: bytes = b""
    target: str = ""

    @property
    def size(self) -> int:
        """How much content it has, in bytes."""
        return len(self.body)


@dataclass(frozen=True, slots=True)
class Layer:
    """A file whose content is to be fetched.

    Args:
        path: its name in the archive.
        served: the blob in the registry.
        stored: the content in the archive: the same, or unpacked; then its size is -1 until it has
            been unpacked.
        image: the number of the image to fetch it with, in the order of the call.
    """

    path: str
    served: Descriptor
    stored: Descriptor
    image: int
    target = ""
    """It is no link."""

    @property
    def digest(self) -> str:
        """Its digest as stored."""
        return self.stored.digest

    @property
    def size(self) -> int:
        """Size of its content in bytes; -1 while unknown."""
        return self.stored.size
