"""What a format says of itself."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import ClassVar

from ...model.image import Image
from ...model.options import Options
from ..members import Document, Layer


class Format(ABC):
    """A format of archives.

    It names the members that hold layers, which are fetched, and then the documents around them.
    Layers come first in an archive: with `--gunzip` the documents are not known before the layers
    are, and an archive that was cut off has no table of contents and is loaded by nobody.
    """

    files: ClassVar[re.Pattern[str]]
    """The paths of its files: an archive's directory may be replaced if it holds nothing else."""
    folders: ClassVar[re.Pattern[str]]
    """The paths of its directories."""
    links: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")
    """The paths of its symbolic links; none."""
    mark: ClassVar[re.Pattern[str]]
    """The path of a file that every archive of this format has."""

    def is_in(self, paths: Collection[str]) -> bool:
        """Whether an archive has this format's documents; it may have others' as well.

        Args:
            paths: of its members.
        """
        return any(self.mark.fullmatch(path) for path in paths)

    @abstractmethod
    def layers(self, images: Sequence[Image]) -> list[Layer]:
        """The members that hold layers, each path once."""

    @abstractmethod
    def documents(self, images: Sequence[Image]) -> list[Document]:
        """All other members. Called when every layer's size is known."""

    def check(self, options: Options) -> None:  # noqa: B027
        """Refuse options that mean nothing for this format.

        Raises:
            UsageError: there are some.
        """

    def notes(self, image: Image) -> list[str]:
        """What the user should know of an image in this format, and may not expect."""
        del image
        return []
