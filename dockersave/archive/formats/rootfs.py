"""The file system of an image: its layers, applied one above the other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import UsageError
from ...model.image import Image
from ...model.options import Options
from ...model.platforms import ALL_PLATFORMS
from ...spelling import argument
from ..members import Document, Layer
from .format import Format

_NOTHING = re.compile(r"(?!)")


class RootfsFormat(Format):
    """What is in the layers, as a tar of its own. It is no image any more."""

    files = folders = mark = _NOTHING
    is_file_system = True
    suffix = "-rootfs"

    def layers(self, images: Sequence[Image]) -> list[Layer]:
        """The layers that it is made of, each content once."""
        layers: dict[str, Layer] = {}
        for number, image in enumerate(images):
            for served, stored in image.layers(image.primary):
                layers.setdefault(stored.digest, Layer(stored.hex, served, stored, number))
        return list(layers.values())

    def documents(self, images: Sequence[Image]) -> list[Document]:
        """None."""
        return []

    def check(self, options: Options) -> None:
        """It is one file system, and its layers are unpacked in any case."""
        what = f"{argument('format', options.format)} is"
        if options.platform == ALL_PLATFORMS:
            raise UsageError(
                f"{what} the file system of one platform", f"choose one {argument('platform')}"
            )
        if options.gunzip:
            raise UsageError(
                f"{what} unpacked anyway: {argument('gunzip')} has no effect", "drop it"
            )
        if options.carries:
            raise UsageError(
                f"{what} a file system, which has no place for what {options.carries} saves",
                "drop one",
            )
        if options.tree and options.tar:
            raise UsageError(
                f"{what} written as a tar or as a directory, not as both",
                f"save it twice, with {argument('tar')} once",
            )


FORMAT = RootfsFormat()
