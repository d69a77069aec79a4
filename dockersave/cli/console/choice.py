"""Choose how to show progress."""

from __future__ import annotations

import os
import sys

from .console import Console


def console_for(kind: str, *, quiet: bool = False, verbose: bool = False) -> Console:
    """Create the console.

    Args:
        kind: as for `--progress`.
        quiet: print only errors.
        verbose: report finished layers.
    """
    if kind == "json":
        from .jsonlines import JsonLines

        return JsonLines(quiet=quiet)
    if quiet or kind == "none":
        return Console(quiet=quiet, verbose=verbose)
    if kind == "auto":
        kind = "bar" if _can_move_its_cursor() else "plain"
    if kind == "bar":
        from .bar import Bar

        return Bar(verbose=verbose)
    from .plain import Plain

    return Plain(verbose=verbose)


def _can_move_its_cursor() -> bool:
    try:
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
    except ValueError:
        return False
    return is_terminal and os.environ.get("TERM", "dumb") != "dumb"
