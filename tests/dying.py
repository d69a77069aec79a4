"""A process that ends after some of its system calls."""

from __future__ import annotations

import os
from collections.abc import Callable


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
