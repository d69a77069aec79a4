"""The archive formats. Each is described in `archive/formats/NAME.py`."""

from __future__ import annotations

FORMATS = {"docker": "default", "oci": "", "legacy": "old Docker"}
"""Their names, with the help page's description. The first one is the default."""

DEFAULT_FORMAT = next(iter(FORMATS))
