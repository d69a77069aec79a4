"""urllib.parse asks what a host's name would be with other letters; none is taken but ASCII."""

from __future__ import annotations


def normalize(form, text):
    """Raises ValueError, which urllib.parse lets through."""
    raise ValueError(f"{text!r} is not in ASCII")
