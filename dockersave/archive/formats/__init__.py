"""The archive formats. Each describes itself, in a file with its name.

To add one, write the file, whose `FORMAT` is a `format.Format`, and add a line to `model.formats`.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING

from ...model.formats import FORMATS, every_format

if TYPE_CHECKING:
    from .format import Format


def format_named(name: str) -> Format:
    """The format with this name.

    Raises:
        KeyError: the format is unknown.
    """
    if name not in every_format():
        raise KeyError(name)
    found: Format = import_module(f"{__name__}.{name}").FORMAT
    return found


def formats_in(paths: Collection[str]) -> tuple[str, ...]:
    """The formats whose documents an archive contains.

    Args:
        paths: the paths of its members.
    """
    return tuple(name for name in FORMATS if format_named(name).is_in(paths))
