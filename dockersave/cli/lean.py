"""Skip imports of libraries that the command line never uses.

Only here: users of the module get the complete urllib3.
"""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_compile = re.compile


class _NoLogger:
    """Logs nothing, for whoever asks."""

    def __init__(self, name: str = "") -> None: ...

    def debug(self, *words: object) -> None:
        """Say nothing."""

    addHandler = warning = debug


class _Later:
    """A pattern that is compiled when it is used: of urllib3's for IPv6 most never are; 3 ms."""

    def __init__(self, *given: Any) -> None:
        self._given = given

    def __getattr__(self, name: str) -> Any:
        return getattr(_compile(*self._given), name)


_NEVER_USED: dict[str, Any] = {
    # Replaces urllib3's HTTP/2, which is not used; with its imports 1.2 MiB.
    "importlib.metadata": SimpleNamespace(version=None),
    # For compressed responses, which do not occur; 0.5 MiB. Layers are a different matter.
    "backports.zstd": None,
    "compression.zstd": None,
    "brotli": None,
    "brotlicffi": None,
    # For lines that nobody sees; 4 ms.
    "logging": SimpleNamespace(getLogger=_NoLogger, NullHandler=_NoLogger, DEBUG=10),
    # For what `registry.http.Fields` does instead; 5 ms, with what urllib3 wants of it for its own
    # retries and for forms.
    "email": SimpleNamespace(message=SimpleNamespace(Message=object)),
    "email.errors": SimpleNamespace(
        MessageDefect=None, MultipartInvariantViolationDefect=(), StartBoundaryNotFoundDefect=()
    ),
    **dict.fromkeys(("email.message", "email.parser", "email.utils", "random"), SimpleNamespace()),
    "urllib3.filepost": SimpleNamespace(_TYPE_FIELDS=None, encode_multipart_formdata=None),
}


def import_urllib3() -> None:
    """Import urllib3 without what is never used of it: 3 MiB of memory and 18 ms less."""
    left_out = {name: each for name, each in _NEVER_USED.items() if name not in sys.modules}
    if "email" not in left_out:
        # Whoever has loaded some of it has a package that the rest belongs to.
        left_out = {name: each for name, each in left_out.items() if name[:5] != "email"}
    sys.modules.update(left_out)
    patterns: Any = re
    patterns.compile = _Later
    try:
        import urllib3  # noqa: F401
    finally:
        patterns.compile = _compile
        for name in left_out:
            del sys.modules[name]
