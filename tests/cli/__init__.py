"""The command line: grammar, output, surroundings, signals, manual."""

from __future__ import annotations
