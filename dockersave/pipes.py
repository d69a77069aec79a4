"""Pipes that another process made non-blocking, as Node.js does with those of its children."""

from __future__ import annotations

import select


def await_reader(fd: int) -> None:
    """Wait until a pipe takes more, as a write to a blocking one would.

    Args:
        fd: a write to it has just raised `BlockingIOError`.
    """
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()
