"""Whether what is to be written can have its name: asked before a registry is."""

from __future__ import annotations

import os

from ..archive.disk import writing
from ..errors import OutputError, shown
from .destination import STDOUT, Destination

_SUFFIX = ".part~"
"""The longest of what is put behind a name while it is written."""
_NAME_MOST = 255
"""Bytes of a file's name where the file system does not say how many it takes."""


def check_writable(destination: Destination, usual: str) -> None:
    """Refuse names under which nothing can be written.

    A symbolic link is refused, as by newer Docker: to replace it would leave what it leads to as it
    was, and to follow it would write where nobody looks.

    Args:
        destination: where the output goes.
        usual: the archive's name if nobody had chosen one, for hints.

    Raises:
        OutputError: it is a directory, a link or too long, or its directory is not there.
    """
    for path in destination.paths:
        folder, name = os.path.split(path)
        with writing(shown(path)):
            os.stat(os.path.join(folder or ".", "."))
        most = _name_most(folder or ".")
        length = len(os.fsencode(name + _SUFFIX))
        if length > most:
            raise OutputError(
                f"cannot write {shown(path, 60)}: its name is {length - most} bytes too long for "
                f"the file system, which allows {most - len(_SUFFIX)}",
                "choose a shorter one: -o image.tar",
            )
    archive = destination.archive
    if archive is None or archive == STDOUT:
        return
    if os.path.isdir(archive):
        raise OutputError(
            f"cannot write {shown(archive)}: it is a directory",
            f"to write into it: -o {_quoted(os.path.join(archive, usual))}",
        )
    # Of a link to a device or a pipe something else is to be said.
    if os.path.islink(archive) and (os.path.isfile(archive) or not os.path.exists(archive)):
        target = os.path.join(os.path.dirname(archive), os.readlink(archive))
        raise OutputError(
            f"cannot write {shown(archive)}: it is a symbolic link",
            f"write -o {_quoted(target)}, where it points, or remove it",
        )


def _quoted(path: str) -> str:
    """A path as it can be typed."""
    from shlex import quote

    return quote(shown(path))


def _name_most(folder: str) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return _NAME_MOST
