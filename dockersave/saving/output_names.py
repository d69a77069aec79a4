"""Check output names before any registry is asked."""

from __future__ import annotations

import os

from ..archive.disk import writing
from ..errors import OutputError, shown
from ..spelling import argument
from .destination import STDOUT, Destination

_SUFFIX = ".part~"
"""The longest suffix of a name while it is being written."""
_NAME_MOST = 255
"""The most bytes of a file name if the file system does not tell."""


def check_writable(destination: Destination, usual: str) -> None:
    """Refuse names that cannot be written.

    A symbolic link is refused, as by newer Docker: replacing it would leave its target unchanged,
    and following it would write where nobody looks.

    Args:
        destination: the output paths.
        usual: the archive's default name, for hints.

    Raises:
        OutputError: it is a directory, a link or too long, or its directory does not exist.
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
                f"choose a shorter one: {argument('output', 'image.tar')}",
            )
    archive = destination.archive
    if archive is None or archive == STDOUT:
        return
    if os.path.isdir(archive):
        raise OutputError(
            f"cannot write {shown(archive)}: it is a directory",
            f"to write into it: {argument('output', _quoted(os.path.join(archive, usual)))}",
        )
    # Links to devices and pipes get another message.
    if os.path.islink(archive) and (os.path.isfile(archive) or not os.path.exists(archive)):
        target = os.path.join(os.path.dirname(archive), os.readlink(archive))
        raise OutputError(
            f"cannot write {shown(archive)}: it is a symbolic link",
            f"write {argument('output', _quoted(target))}, where it points, or remove it",
        )


def _quoted(path: str) -> str:
    """A path, quoted for the shell."""
    from shlex import quote

    return quote(shown(path))


def _name_most(folder: str) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return _NAME_MOST
