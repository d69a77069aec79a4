"""Directories that a save makes, without the save."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path

from dockersave.rootfs.staging import Stage

NOBODY = 65534


def spool() -> int:
    """Return an unnamed file."""
    return os.open(tempfile.gettempdir(), os.O_RDWR | os.O_TMPFILE)


def fill(fd: int, **files: str) -> None:
    """Write files into an open directory."""
    for name, text in files.items():
        file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
        os.write(file, text.encode())
        os.close(file)
    os.fchmod(fd, 0o755)


def publish(path: Path, **files: str) -> None:
    """Make a directory with these files."""
    with closing(Stage(str(path))) as stage:
        fill(stage.open(), **files)
        stage.commit()


def files_in(path: Path) -> dict[str, str]:
    """Return the files of a directory."""
    return {each.name: each.read_text() for each in path.iterdir()}


def names(folder: Path) -> list[str]:
    """Return what a directory holds."""
    return sorted(each.name for each in folder.iterdir())
