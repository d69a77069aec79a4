"""Locks that keep two runs from writing one file, and that a forked child does not keep.

A lock of flock(2) belongs to an open file, which a child of fork(2) has, too: it would hold the
lock for as long as it lives, whatever has become of its parent. So the lock is given back before
the file is closed, and in a child the descriptor stands for nothing that could be written, locked
or unlocked. Record locks (fcntl) are no way out: they end when any descriptor of the file is
closed, and do not keep two threads apart.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from contextlib import suppress

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

# The process's descriptors, like the process, are there once: so is what is known of them.
_guard = threading.RLock()
_descriptors: set[int] = set()


def open_to_lock(name: str, flags: int, mode: int = 0o666) -> int:
    """Open a file that is to be locked. `close` closes it.

    Args:
        name: its path.
        flags: as for `os.open`; it is not inherited by programs in any case.
        mode: of a file that is created.

    Raises:
        OSError: it cannot be opened.
    """
    # No fork comes between: the child would know nothing of this descriptor.
    with _guard:
        fd = os.open(name, flags | os.O_CLOEXEC, mode)
        _descriptors.add(fd)
    return fd


def lock(fd: int, *, shared: bool = False) -> bool:
    """Lock a file, unless somebody else has.

    File systems without locks (some network ones) are used without.

    Args:
        fd: what `open_to_lock` gave.
        shared: whether others may lock it so, too.

    Returns:
        Whether nobody else has locked it.

    Raises:
        OSError: it cannot be locked.
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as failure:
        if failure.errno not in _NO_LOCKS:
            raise
    return True


def let_go(fd: int) -> None:
    """Give a lock back, and leave the file open: from now on it is the caller's to close."""
    with _guard:
        _descriptors.discard(fd)
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


def close(fd: int) -> None:
    """Give a lock back, and close the file."""
    with _guard:
        let_go(fd)
        os.close(fd)


def _in_child() -> None:
    """Close the parent's files; their numbers stay taken, since whoever has them closes them."""
    try:
        if _descriptors:
            nothing = os.open("/", os.O_PATH | os.O_CLOEXEC)
            for fd in _descriptors:
                os.dup2(nothing, fd, inheritable=False)
            os.close(nothing)
            _descriptors.clear()
    finally:
        _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_in_child)
