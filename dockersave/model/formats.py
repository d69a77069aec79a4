"""The formats of archives that there are. Each is described in `archive/formats/NAME.py`."""

from __future__ import annotations

FORMATS = {"docker": "default", "oci": "", "legacy": "old Docker"}
"""Their names, and what the help page says of each. The first one is the default."""

DEFAULT_FORMAT = next(iter(FORMATS))
