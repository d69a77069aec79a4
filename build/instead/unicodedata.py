"""urllib.parse asks how else a host's name could be written; here, all names are in ASCII."""

from __future__ import annotations


def normalize(form: str, text: str) -> str:
    """Raise ValueError, which urllib.parse lets through."""
    raise ValueError(f"{text!r} is not in ASCII")
