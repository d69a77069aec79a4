"""`dockersave.errors`."""

from __future__ import annotations

from dockersave.errors import shown


def test_shown() -> None:
    assert shown("a\x1b[31mb\r\n\u202ec\udc80é") == "a?[31mb???c?é"
    assert shown("x" * 200) == "x" * 200
    assert shown("x" * 201) == "x" * 197 + "..."
