"""`python -m dockersave`, and what the installed command calls."""

from __future__ import annotations

import gc
import os

from dockersave.cli import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def run() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    # What is imported stays: looking for garbage in it takes 10 ms. A run's own is looked for.
    gc.disable()
    code = main()
    # At once: taking the interpreter apart lasts as long as many an answer from a registry. And a
    # thread may be left that waits for a name server; ending it takes libgcc_s, which a bare host
    # does not have.
    os._exit(code)


if __name__ == "__main__":
    run()
