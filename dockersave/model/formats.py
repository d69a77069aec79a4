"""The formats. Each is described in `archive/formats/NAME.py`."""

from __future__ import annotations

FORMATS = ["docker", "oci", "legacy"]
"""Those of an image's archive. The first one is the default."""

FILE_SYSTEMS = ["rootfs", "bundle"]
"""Those of an image's file system: what is in its layers, instead of the layers."""

DEFAULT_FORMAT = FORMATS[0]


def every_format() -> tuple[str, ...]:
    """All of them."""
    return (*FORMATS, *FILE_SYSTEMS)
