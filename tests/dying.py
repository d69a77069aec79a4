"""Processes that end in the middle of their work."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def in_child(work: Callable[[], object], seconds: int = 120) -> int:
    """Do something in a forked child, and return its exit code: 0 if that came to its end.

    Whatever happens, the child never returns: it would go on with the tests, as a second process.

    Args:
        work: what it does.
        seconds: after which it is ended by SIGALRM; then the exit code is negative.
    """
    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying(steps: int, end: Callable[[], object]) -> Callable[[str], Callable[..., object]]:
    """Return what makes a function of `os`, by its name, one that ends the process.

    Args:
        steps: how many calls of all these functions together still work.
        end: ends it.
    """
    left = steps

    def mortal(name: str) -> Callable[..., object]:
        whole = getattr(os, name)

        def call(*arguments: object, **more: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                end()
            return whole(*arguments, **more)

        return call

    return mortal
