"""The formats. Each is described in `archive/formats/NAME.py`."""

from __future__ import annotations

FORMATS = {"docker": "default", "oci": "", "legacy": ""}
"""Those of an image's archive, with the help page's description. The first one is the default."""

FILE_SYSTEMS = {"rootfs": ""}
"""Those of an image's file system: what is in its layers, instead of the layers."""

DEFAULT_FORMAT = next(iter(FORMATS))


def every_format() -> dict[str, str]:
    """All of them."""
    return {**FORMATS, **FILE_SYSTEMS}
