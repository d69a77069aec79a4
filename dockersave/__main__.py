"""`python -m dockersave`."""

from __future__ import annotations

import sys

from dockersave.cli import main

if __name__ == "__main__":
    sys.exit(main())
