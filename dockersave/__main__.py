"""`python -m dockersave`, and the entry point of the installed command."""

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
    # At once: shutting the interpreter down takes as long as many a response from a registry.
    # Besides, a thread may still be waiting for a name server; ending it needs libgcc_s, which bare
    # hosts lack.
    os._exit(code)


if __name__ == "__main__":
    run()
