"""The clock of a file system, which need not be this machine's, and has ticks."""

from __future__ import annotations

import os
import time

_TICK, _TICKS = 0.001, 3000
"""How long to wait for it, in seconds, and how often: most have ticks of a few milliseconds, some
of a second."""


def past(folder: int, name: str) -> int:
    """A time that is over: what is changed after this call, is changed later.

    Args:
        folder: a directory, open.
        name: a file of ours in it.

    Returns:
        Nanoseconds since 1970; 0 if that clock does not go on.

    Raises:
        OSError: the file cannot be changed.
    """
    then = now(folder, name)
    for _ in range(_TICKS):
        if now(folder, name) > then:
            return then
        time.sleep(_TICK)
    return 0


def now(folder: int, name: str) -> int:
    """The time, of which the next moment may be a part; otherwise as `past`."""
    os.utime(name, dir_fd=folder, follow_symlinks=False)
    return os.lstat(name, dir_fd=folder).st_ctime_ns
