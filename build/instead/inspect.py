"""What of `inspect` is called: by dataclasses.

This package makes none, but Python 3.14 does at each start: `traceback` imports `_colorize`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def get_annotations(cls: type) -> dict[str, Any]:
    """Return the annotations of a class's own (Python 3.12 and 3.13)."""
    return dict(vars(cls).get("__annotations__", {}))


def signature(cls: type, **options: object) -> str:
    """Return nothing: it is for a docstring, and nobody reads that."""
    return ""


def unwrap(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what was decorated (Python 3.14)."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function
