"""`dockersave.errors`."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import dockersave
from dockersave.errors import CancelledError, DockersaveError, SaveFailures, for_terminal, shown


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


def kinds(kind: type[DockersaveError] = DockersaveError) -> Iterator[type[DockersaveError]]:
    for each in kind.__subclasses__():
        yield each
        yield from kinds(each)


def test_every_error_says_what_to_do() -> None:
    """Where it is raised one knows better; where nobody does, what usually helps is said."""
    errors = set(kinds()) - {CancelledError, SaveFailures}
    assert {each.exit_code for each in errors} == set(range(2, 9))
    for each in errors:
        failure = each("it failed")
        assert failure.marked_hint
        assert not re.search(r"(?:^|\s)--?[a-z]", failure.hint), "to a caller of the module"
        assert SaveFailures([failure, failure]).hint == failure.hint
    assert not CancelledError("stopped").hint


def test_the_base_class_is_not_raised_without_a_hint() -> None:
    for path in Path(dockersave.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "DockersaveError":
                assert len(node.args) == 2, f"{path}:{node.lineno}"
