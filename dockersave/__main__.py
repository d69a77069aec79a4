"""`python -m dockersave`, and the entry point of the installed command."""

from __future__ import annotations

import os

from dockersave.cli import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def run() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    code = main()
    # At once: shutting the interpreter down takes as long as many a response from a registry.
    # Besides, a thread may still be waiting for a name server; ending it needs libgcc_s, which bare
    # hosts lack.
    os._exit(code)


if __name__ == "__main__":
    run()
