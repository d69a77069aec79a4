"""One parser, its inputs, and the errors that it may raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

DIGEST = "sha256:" + "0f" * 32


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    Parameters:
        under_test: the function's full name.
        inputs: what it gets.
        check: calls it, lets pass what it may raise, and looks at what it returns.
    """

    under_test: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def printable(error: Exception) -> None:
    """Errors are one line each, of bounded length, without control characters and secrets."""
    for text in (str(error), getattr(error, "hint", "")):
        assert text.isprintable(), repr(text)
        assert len(text) < 3000
        assert "canary" not in text
