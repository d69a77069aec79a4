"""Locks that keep two runs from writing the same file, and that forked children do not keep; and a
lock during which no process is forked.

An flock(2) lock belongs to an open file, which a child of fork(2) shares: it would hold the lock as
long as it lives, even after its parent has ended. So the lock is released before the file is
closed, and in a child the descriptor no longer refers to the file. Record locks (fcntl) do not
help: they end when any descriptor of the file is closed, and do not keep two threads apart.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from contextlib import suppress

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

# Both belong to the process, so they are global.
no_fork = threading.RLock()
"""Held while something is in a state that a child must not see: no process is forked meanwhile."""
_descriptors: set[int] = set()


def open_to_lock(name: str, flags: int, mode: int = 0o666) -> int:
    """Open a file to lock it. Close it with `close`.

    Args:
        name: its path.
        flags: as for `os.open`; other programs never inherit it.
        mode: of the file if it is created.

    Raises:
        OSError: it cannot be opened.
    """
    # No fork may come in between: the child would not know of this descriptor.
    with no_fork:
        fd = os.open(name, flags | os.O_CLOEXEC, mode)
        _descriptors.add(fd)
    return fd


def lock(fd: int, *, shared: bool = False) -> bool:
    """Lock a file, unless another process has.

    On file systems without locks (some network ones) nothing is locked.

    Args:
        fd: from `open_to_lock`.
        shared: whether others may hold shared locks, too.

    Returns:
        False if another process holds the lock.

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


def unlock(fd: int) -> None:
    """Release a lock, but leave the file open for the caller to close."""
    with no_fork:
        _descriptors.discard(fd)
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


def close(fd: int) -> None:
    """Release a lock and close the file."""
    with no_fork:
        unlock(fd)
        os.close(fd)


def _in_child() -> None:
    """Close the parent's files. Their descriptor numbers stay in use, since their owners close
    them."""
    try:
        if _descriptors:
            nothing = os.open("/", os.O_PATH | os.O_CLOEXEC)
            for fd in _descriptors:
                os.dup2(nothing, fd, inheritable=False)
            os.close(nothing)
            _descriptors.clear()
    finally:
        no_fork.release()


os.register_at_fork(
    before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=_in_child
)
