"""Skip imports of libraries that the command line never uses.

Only here: users of the module get the complete urllib3.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NEVER_USED: dict[str, Any] = {
    # Replaces urllib3's HTTP/2, which is not used; with its imports 1.2 MiB.
    "importlib.metadata": SimpleNamespace(version=None),
    # For compressed responses, which do not occur; 0.5 MiB. Layers are a different matter.
    "backports.zstd": None,
    "compression.zstd": None,
}


def import_urllib3() -> None:
    """Import urllib3 without HTTP/2 and Zstandard: 1.6 MiB of memory and 8 ms less."""
    absent = object()
    before = {name: sys.modules.get(name, absent) for name in _NEVER_USED}
    sys.modules.update({name: _NEVER_USED[name] for name in before if before[name] is absent})
    try:
        import urllib3  # noqa: F401
    finally:
        for name in before:
            if before[name] is absent:
                del sys.modules[name]
