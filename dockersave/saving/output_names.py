"""Check output names before any registry is asked."""

from __future__ import annotations

import os
import stat

from ..archive.disk import writing
from ..errors import OutputError, UsageError, shown
from ..spelling import argument
from .destination import Destination

_SUFFIX = ".part~"
"""The longest suffix of a name while it is being written."""
_NAME_MOST = 255
"""The most bytes of a file name if the file system does not tell."""


def check_writable(
    destination: Destination, usual: str, lock: str | None = None, source: str | None = None
) -> None:
    """Refuse names that cannot be written.

    A symbolic link is refused, as by newer Docker: replacing it would leave its target unchanged,
    and following it would write where nobody looks.

    Args:
        destination: the output paths.
        usual: the archive's default name, for hints.
        lock: the lock file to write.
        source: the archive that the image is taken from.

    Raises:
        UsageError: it is that archive.
        OutputError: it is too long, its directory does not exist, or it is something that must not
            be replaced: a link, a device, a directory.
    """
    for path in destination.paths:
        folder = os.path.dirname(path)
        with writing(shown(path)):
            try:
                os.stat(os.path.join(folder or ".", "."))
            except FileNotFoundError as failure:
                raise OutputError(
                    f"cannot write {shown(path)}: {failure.strerror}",
                    "create the directory first, or choose another with "
                    + argument(destination.chosen_by),
                ) from failure
        is_tree = path == destination.tree
        _check_length(
            path, argument("layers_dir", "image") if is_tree else argument("output", "image.tar")
        )
    if destination.archive and not destination.is_stream:
        _check_archive(destination.archive, usual, is_file_system=destination.is_file_system)
        if source and os.path.exists(destination.archive):
            with writing(shown(destination.archive)):
                _check_is_another(destination.archive, source)
    if lock is not None:
        _check_lock(lock, destination)
    tree = destination.tree
    if tree and any(map(os.path.lexists, (tree, f"{tree}.part", f"{tree}.old"))):
        if destination.is_file_system:
            from ..rootfs.staging import Stage

            Stage(tree).check_names()
        else:
            _check_names(tree, directory=True)


def _check_length(path: str, shorter: str) -> None:
    folder, name = os.path.split(path)
    most = _name_most(folder or ".")
    length = len(os.fsencode(name + _SUFFIX))
    if length > most:
        raise OutputError(
            f"cannot write {shown(path, 60)}: its name has {length - len(_SUFFIX)} bytes, but "
            f"the file system allows {most - len(_SUFFIX)}",
            f"choose a shorter one: {shorter}",
        )


def _check_is_another(archive: str, source: str) -> None:
    if os.path.samefile(archive, source):
        raise UsageError(
            f"{shown(archive)} is the archive that the image is taken from, and would be replaced",
            f"choose another name with {argument('output')}",
        )


def _check_archive(archive: str, usual: str, *, is_file_system: bool) -> None:
    if os.path.isdir(archive):
        hint = f"to write into it: {argument('output', _quoted(os.path.join(archive, usual)))}"
        if is_file_system:
            hint += f"; a directory is written with {argument('tar')}"
        raise OutputError(f"cannot write {shown(archive)}: it is a directory", hint)
    _check_link(archive, "output")
    if not (_may_be_replaced(archive) and _may_be_replaced(f"{archive}.part")):
        _check_names(archive, directory=False)


def _check_link(path: str, name: str) -> None:
    # Links to devices and pipes get another message.
    if os.path.islink(path) and (os.path.isfile(path) or not os.path.exists(path)):
        target = os.path.join(os.path.dirname(path), os.readlink(path))
        if os.path.islink(target):
            target = os.path.realpath(target)
        elsewhere = f"write {argument(name, _quoted(target))}, where it points, or "
        raise OutputError(
            f"cannot write {shown(path)}: it is a symbolic link",
            # One of a circle of links points nowhere.
            f"{'' if os.path.islink(target) else elsewhere}remove it",
        )


def _check_lock(lock: str, destination: Destination) -> None:
    if os.path.abspath(lock) in map(os.path.abspath, destination.paths):
        raise OutputError(
            f"{argument('lock', shown(lock))} is also the output", "name another file"
        )
    folder = os.path.dirname(lock) or "."
    if not os.path.isdir(folder):
        raise OutputError(
            f"cannot write {shown(lock)}: there is no directory {shown(folder)}",
            f"create it first, or choose another with {argument('lock')}",
        )
    _check_length(lock, argument("lock", "image.lock"))
    _check_link(lock, "lock")
    _check_names(lock, directory=False)


def _may_be_replaced(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def _check_names(path: str, *, directory: bool) -> None:
    # Loaded only if something is in the way.
    from ..archive.write.partfile import PartFile

    PartFile(path, directory=directory).check_names()


def _quoted(path: str) -> str:
    """A path, quoted for the shell."""
    from shlex import quote

    return quote(shown(path))


def _name_most(folder: str) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError):
        return _NAME_MOST
