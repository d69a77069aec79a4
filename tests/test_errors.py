"""`dockersave.errors`."""

from __future__ import annotations

import json

from dockersave.errors import for_terminal, shown


def test_shown() -> None:
    assert shown("a\x1b[31mb\r\n\u202ec\udc80é") == "a?[31mb???c?é"
    assert shown("x" * 200) == "x" * 200
    assert shown("x" * 201) == "x" * 197 + "..."


def test_json_on_a_terminal_says_the_same_and_obeys_nothing() -> None:
    document = {"a\x7f": ["\x9b2J", "\u202etxt", "é\U000e0001", "\ud800", 'x"\\'], "b": None}
    text = json.dumps(document, ensure_ascii=False, indent=1)
    said = for_terminal(text)
    assert json.loads(said) == document
    assert "".join(said.split("\n")).isprintable()
    assert for_terminal('{\n\t"é": 1}\r\n') == '{\n\t"é": 1}\r\n'
