"""Files that users name: keys, policies, lock files, and archives where they expect no file."""

from __future__ import annotations

import os
import stat

from .errors import UsageError, shown
from .spelling import argument

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz")
"""What the names of archives end in."""
_HINT = "is the path right?"


def content_of(path: str, what: str, most: int, *, guarded: bool = False) -> bytes:
    """The content of a file.

    Args:
        path: of the file.
        what: it is, for messages.
        most: bytes that it may have.
        guarded: whether it is an error if everybody may change the file, or replace it.

    Raises:
        UsageError: it cannot be read, is no file, too large, or not guarded.
    """
    try:
        # Not to wait for whoever may write to a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            mode = os.fstat(fd).st_mode
            data = file.read(most + 1) if stat.S_ISREG(mode) else b""
        folder = os.path.dirname(os.path.realpath(path))
        around = os.stat(folder).st_mode
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or "this is not a path"
        raise UsageError(f"{what} cannot be read: {reason}", _HINT) from failure
    if not stat.S_ISREG(mode):
        raise UsageError(f"{what} is not a file", _HINT)
    if len(data) > most:
        raise UsageError(f"{what} has more than {most} bytes", _HINT)
    if guarded and mode & stat.S_IWOTH:
        raise UsageError(f"{what} can be changed by everybody", f"chmod o-w {shown(path)}")
    if guarded and around & stat.S_IWOTH and not around & stat.S_ISVTX:
        raise UsageError(f"{what} can be replaced by everybody", f"chmod o-w {shown(folder)}")
    return data


def check_is_no_archive(image: object) -> None:
    """Refuse the path of an archive where an image is expected: Docker Hub would be asked for it.

    Args:
        image: a reference, or its text.

    Raises:
        UsageError: there is such an archive.
    """
    if isinstance(image, str) and image.lower().endswith(ARCHIVES) and os.path.isfile(image):
        raise UsageError(
            f"{shown(image)!r} is a file, but an image was expected",
            f"{argument('from_archive', shown(image))} takes the image from it, "
            f"{argument('output', shown(image))} writes to it",
        )


def may_exist(path: str) -> bool:
    """Whether there is a file, or something keeps it from being seen: reading it tells what."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True
