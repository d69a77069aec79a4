"""What of `locale` could be called: by `subprocess`, for text. The program runs in UTF-8 mode."""

from __future__ import annotations


def getencoding():
    return "utf-8"
