"""What a format describes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import ClassVar

from ...model.image import Image
from ...model.options import Options
from ..members import Document, Layer


class Format(ABC):
    """An archive format.

    It lists the members that hold layers, which are fetched, and then the documents that describe
    them. Layers come first in an archive: with `gunzip` the documents depend on the layers, and no
    engine loads a truncated archive without a table of contents.
    """

    files: ClassVar[re.Pattern[str]]
    """The paths of its files. A directory may be replaced if it holds nothing else."""
    folders: ClassVar[re.Pattern[str]]
    """The paths of its directories."""
    links: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")
    """The paths of its symbolic links; none."""
    mark: ClassVar[re.Pattern[str]]
    """The path of a file that every archive of this format has."""
    is_file_system: ClassVar[bool] = False
    """Whether it is what the layers make that is saved, instead of the image."""
    root: ClassVar[str] = ""
    """Where in the output the file system is: empty, or a directory and a slash. Then there is a
    runtime's `config.json` beside it."""
    suffix: ClassVar[str] = ""
    """What the usual names of its outputs end in, before `.tar`."""

    config_copies: ClassVar[int] = 1
    """How many copies of an image's config are in memory while its documents are made."""

    def is_in(self, paths: Collection[str]) -> bool:
        """Whether an archive contains this format's documents, perhaps among others.

        Args:
            paths: the paths of its members.
        """
        return any(self.mark.fullmatch(path) for path in paths)

    @abstractmethod
    def layers(self, images: Sequence[Image]) -> list[Layer]:
        """The members that hold layers, each path once."""

    @abstractmethod
    def documents(self, images: Sequence[Image]) -> list[Document]:
        """All other members. Called when every layer's size is known."""

    def check(self, options: Options) -> None:  # noqa: B027
        """Refuse options that this format does not support.

        Raises:
            UsageError: one is given.
        """

    def notes(self, image: Image) -> list[str]:
        """Notes for the user about an image in this format."""
        del image
        return []
