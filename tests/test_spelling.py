"""How messages name options, and to whom."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import pickle
import pydoc
import re
from pathlib import Path

import pytest

import dockersave
from dockersave.cli.arguments import parser
from dockersave.cli.console.spelling import Typed, as_typed
from dockersave.errors import DockersaveError, UsageError
from dockersave.model.options import Network, Options
from dockersave.spelling import _WORDS, argument, as_python, spelled_for
from dockersave.trace import Trace

PACKAGE = Path(dockersave.__file__).parent
LIBRARY = [
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] not in ("cli", "help", "__main__.py")
]
FIELDS = {field.name: field for kind in (Options, Network) for field in dataclasses.fields(kind)}
OPTIONS = {word for action in parser()._actions for word in action.option_strings}


@pytest.mark.parametrize(
    ("text", "in_python", "typed"),
    [
        (argument("timeout"), "timeout=", "--timeout"),
        (argument("timeout", 60), "timeout=60", "--timeout 60"),
        (argument("limit_rate", 0), "limit_rate=0", "--limit-rate 0"),
        (argument("gunzip"), "gunzip=True", "--gunzip"),
        (argument("format", "oci"), "format='oci'", "--format oci"),
        (argument("tar"), "tar=False", "--no-tar"),
        (argument("mirrors"), "mirrors=", "--mirror"),
        (
            argument("insecure_registries", "r.io:5000"),
            "insecure_registries=['r.io:5000']",
            "--insecure-registry r.io:5000",
        ),
        (argument("output"), "output=", "--output"),
        (argument("output", "a/x.tar"), "output='a/x.tar'", "-o a/x.tar"),
        (argument("output", "'my x.tar'"), "output='my x.tar'", "-o 'my x.tar'"),
        (argument("tags"), "Registry.tags", "--tags"),
        (argument("check"), "check_archive", "--verify"),
        (argument("login"), "user= and password=", "--ilogin or --user"),
        (
            argument("credentials"),
            "user= and password=",
            "--ilogin, or --user and --password-stdin",
        ),
        (argument("again"), "make the same call again", "run the same command again"),
        (argument("example"), "save('debian')", "dockersave debian"),
    ],
)
def test_an_argument_is_spelled_for_who_reads_it(text: str, in_python: str, typed: str) -> None:
    around = f"r.io/a--user/jobs=1: raise {text}, not '--user' (jobs=)"
    assert as_python(around) == around.replace(text, in_python)
    assert as_typed(around) == around.replace(text, typed)
    failure = UsageError(around, around)
    assert {failure.message, failure.hint, str(failure), *failure.args} == {as_python(around)}
    again = pickle.loads(pickle.dumps(failure))
    assert {again.said, again.advice, again.marked} == {around}


def test_a_text_that_was_cut_or_concealed_still_reads() -> None:
    assert as_python(argument("timeout").replace("timeout", "***")) == "***="
    text = f"raise {argument('timeout', 60)} or {argument('jobs')}."
    for spell in (as_python, as_typed):
        for cut in range(len(text) + 1):
            for part in (text[:cut], text[cut:]):
                # Half a mark could not be encoded.
                spell(part).encode()


@pytest.mark.parametrize(
    "text", ["\ufdd0output z\ufdd1", "\ufdd0 a", "z\ufdd1", "a\udcff \udcc3\U0001f600"]
)
def test_what_users_write_is_never_taken_for_a_mark(text: str) -> None:
    """Nor is any other character that a file may be named with."""
    os.fsencode(text)
    around = f"cannot read {text}: {argument('output', text)}, {text}"
    assert as_typed(around) == f"cannot read {text}: -o {text}, {text}"
    assert as_python(around) == f"cannot read {text}: output={text!r}, {text}"


def test_nothing_that_is_public_shows_a_mark() -> None:
    public = {name: getattr(dockersave, name) for name in dockersave.__all__}
    for name in filter(lambda name: callable(public[name]), public):
        text = pydoc.plain(pydoc.render_doc(public[name]))
        assert not re.search(r"(?i)ud80[01]", text), name


def test_no_option_is_named_in_the_library() -> None:
    """Not in texts, comments or docstrings: only the command line knows how options are spelled."""
    named = re.compile(r"(?<![\w-])--?[a-z][a-z-]*(?![\w-])")
    assert named.findall("--jobs, -o x") == ["--jobs", "-o"]
    made = re.compile(r"--\{")
    assert {"--jobs", "-o"} <= OPTIONS
    for path in LIBRARY:
        found = {word for word in named.findall(path.read_text()) if word in OPTIONS}
        assert not found, path
        assert not made.search(path.read_text()), path
        assert "same command" not in path.read_text() or path.name == "spelling.py"


def test_every_argument_that_a_text_names_is_there_for_both_readers() -> None:
    names: set[object] = set()
    for path in LIBRARY:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "argument":
                names |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    assert len(names) > 25
    assert names <= {*FIELDS, *_WORDS}
    assert set(_WORDS) <= names
    for name in {*FIELDS, *_WORDS} - {"again", "same", "example", "trace"}:
        assert set(re.findall(r"--[a-z-]+", as_typed(argument(name)))) & OPTIONS, name
    for name in FIELDS.keys() - {"tar", "tree"}:
        is_flag = isinstance(FIELDS[name].default, bool)
        assert as_python(argument(name)) == f"{name}={True if is_flag else ''}"
    for name in ("Registry.tags", "check_archive"):
        assert name in _WORDS.values()
        home, _, method = name.partition(".")
        assert not method or hasattr(getattr(dockersave, home), method)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_what_python_is_told_to_write_is_of_the_right_type(name: str) -> None:
    default = FIELDS[name].default
    for value in ("7", "'7'") if not isinstance(default, bool) else ("",):
        [(said, written)] = eval(f"dict({as_python(argument(name, value))})").items()
        assert said == name
        if isinstance(default, tuple):
            assert written == ["7"]
        elif isinstance(default, bool):
            assert written is (name != "tar")
        elif value == "7":
            is_number = "int" in str(FIELDS[name].type) or "float" in str(FIELDS[name].type)
            assert written == (7 if is_number else "7")


def test_a_hint_that_is_added_to_keeps_both_spellings() -> None:
    failure = DockersaveError("it failed", f"raise {argument('timeout')}")
    failure.hint = f"it asks you to wait; {failure.advice}"
    assert failure.hint == "it asks you to wait; raise timeout="
    assert as_typed(failure.advice) == "it asks you to wait; raise --timeout"
    several = dockersave.SaveFailures([failure, UsageError(f"{argument('jobs', 0)} is too few")])
    assert several.hint == failure.hint
    assert str(several) == "2 images failed: it failed; jobs=0 is too few"
    assert as_typed(several.marked) == "2 images failed: it failed; --jobs 0 is too few"


def test_lines_are_spelled_for_who_reads_them() -> None:
    lines: list[str] = []
    line = f"{argument('foreign')} fetches them"
    spelled_for(lines.append)(line)
    spelled_for(Typed(lines.append))(line)
    Trace.of(lines.append).say("x", line)
    Trace.of(Typed(lines.append)).say("x", line)
    assert lines[:2] == ["foreign=True fetches them", "--foreign fetches them"]
    assert [text.partition(" x: ")[2] for text in lines[2:]] == lines[:2]


@pytest.mark.parametrize("options", [dockersave.Options, dockersave.Network])
def test_what_type_checkers_see_is_what_there_is(options: type) -> None:
    """They are shown wider types than those that are kept."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(options) or options))
    [declared] = [node for node in tree.body if getattr(node, "name", "") == options.__name__]
    [shown] = [
        node
        for node in ast.walk(declared)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    seen = {
        argument.arg: eval(ast.unparse(default), vars(inspect.getmodule(options)))
        for argument, default in zip(shown.args.kwonlyargs, shown.args.kw_defaults, strict=True)
        if default is not None
    }
    there = inspect.signature(options).parameters.values()
    assert seen == {parameter.name: parameter.default for parameter in there}
