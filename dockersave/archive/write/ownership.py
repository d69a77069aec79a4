"""Find files that were not written by a save, and must not be removed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Set as AbstractSet
from contextlib import suppress

from ...errors import shown
from ...limits import LIMITS
from ...model.formats import FORMATS
from ...model.manifests import to_json
from ..formats import format_named

MAP = ".map"
"""The map of an incomplete directory, which records what was written."""


def not_ours(folder: str, *, complete: bool) -> str:
    """Describe something in a directory that is not part of an image of ours, or empty.

    A save removes what it replaces, so everything in there must come from a save.

    Args:
        folder: its name.
        complete: whether a save has completed it, so that its documents can be checked.
    """
    if os.path.islink(folder):
        return "is a symbolic link"
    for inside, folders, names in os.walk(folder):
        for name in (*names, *folders):
            path = os.path.relpath(os.path.join(inside, name), folder)
            if not _is_member(folder, path):
                return f"holds {shown(path)}, which is not part of an image"
    for name in ("index.json", "manifest.json") if complete else ():
        if not _is_ours(os.path.join(folder, name)):
            return f"holds an image written by another program ({name})"
    return ""


def _is_member(folder: str, path: str) -> bool:
    """Whether a save wrote it, judging by its name and type."""
    try:
        mode = os.lstat(os.path.join(folder, path)).st_mode
    except FileNotFoundError:
        # Another run has published or removed it in the meantime.
        return True
    if path == MAP:
        return stat.S_ISREG(mode)
    formats = [format_named(name) for name in FORMATS]
    if stat.S_ISDIR(mode):
        return any(each.folders.fullmatch(path) for each in formats)
    if stat.S_ISLNK(mode):
        return any(each.links.fullmatch(path) for each in formats)
    return stat.S_ISREG(mode) and any(each.files.fullmatch(path) for each in formats)


def _is_ours(path: str) -> bool:
    """Whether a document, if present, has the form that this program writes."""
    try:
        with open(path, "rb") as file:
            body = file.read(LIMITS.archive_document + 1)
        return to_json(json.loads(body)) == body
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False


def remove_members(folder: str, wanted: AbstractSet[str] = frozenset()) -> bool:
    """Remove the files of an image from a directory, and the directory if it is then empty.

    Args:
        folder: its name.
        wanted: paths of files to keep.

    Returns:
        Whether the directory is gone.

    Raises:
        OSError: something cannot be removed.
    """
    inner = []
    for inside, folders, names in os.walk(folder):
        inner.append(inside)
        paths = [os.path.relpath(os.path.join(inside, name), folder) for name in names]
        for path in paths:
            if path not in wanted and _is_member(folder, path):
                os.unlink(os.path.join(folder, path))
        # Nothing deeper belongs to an image.
        folders[:] = [
            name
            for name in folders
            if _is_member(folder, os.path.relpath(os.path.join(inside, name), folder))
        ]
    for inside in [] if wanted else reversed(inner):
        # Keep a directory that contains anything else.
        with suppress(OSError):
            os.rmdir(inside)
    return not os.path.lexists(folder)
