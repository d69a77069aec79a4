"""How messages name options, and to whom."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dockersave
from dockersave.cli.arguments import parser
from dockersave.errors import DockersaveError, UsageError
from dockersave.model.options import Network, Options
from dockersave.spelling import AsTyped, as_arguments, spelled_for

SOURCES = Path(dockersave.__file__).parent


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("if the line is that slow, raise --timeout", "if the line is that slow, raise timeout="),
        ("write --timeout 60", "write timeout=60"),
        ("--limit-rate 0 would let nothing through", "limit_rate=0 would let nothing through"),
        ("--wait waits for it", "wait= waits for it"),
        ("--gunzip stores them unpacked", "gunzip=True stores them unpacked"),
        ("choose with --platform linux/arm64", "choose with platform=linux/arm64"),
        ("choose --format oci, or one --platform", "choose format=oci, or one platform="),
        ("a client (--cert, --key)", "a client (cert=, key=)"),
        ("add --insecure-registry r.io:5000", "add insecure_registries=r.io:5000"),
        ("--no-tar writes a directory", "tar=False writes a directory"),
        ("--tags lists the tags", "Registry.tags lists the tags"),
        ("give --ilogin, or --user and --password-stdin", "give user= and password="),
        ("docker login, --ilogin or --user", "docker login, user= and password="),
        ("add -o bundle.tar", "add output='bundle.tar'"),
        ("write -o a/x.tar, where it points", "write output='a/x.tar', where it points"),
        ("to write into it: -o 'my images/x.tar'", "to write into it: output='my images/x.tar'"),
        ("x: the same command continues", "x: the same call continues"),
        (
            "free some space and run the same command again",
            "free some space and make the same call again",
        ),
        ("what --cache-to has written", "what --cache-to has written"),
        ("'--user' is no image", "'--user' is no image"),
        ("r.io/a--user/b--timeout: no", "r.io/a--user/b--timeout: no"),
    ],
)
def test_an_option_is_an_argument(typed: str, said: str) -> None:
    assert as_arguments(typed) == said
    failure = UsageError(typed, typed)
    assert (failure.message, failure.hint, str(failure)) == (said, said, said)
    assert (failure.said, failure.advice, failure.typed) == (typed, typed, typed)


def test_every_field_is_spelled() -> None:
    """What `spelling` keeps of the fields agrees with them: it stands below, and imports none."""
    for field in (*dataclasses.fields(Options), *dataclasses.fields(Network)):
        option = "--" + field.name.replace("_", "-")
        is_flag = isinstance(field.default, bool)
        if field.name not in ("tar", "tree", "insecure_registries", "mirrors"):
            assert as_arguments(option) == f"{field.name}={True if is_flag else ''}"


def texts() -> Iterator[str]:
    """All texts of the package that a caller of the module may read."""
    for path in SOURCES.rglob("*.py"):
        if "cli" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        nodes = list(ast.walk(tree))
        passed_over: set[ast.AST] = {node.value for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                passed_over |= set(node.values)
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "some.thing"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and node not in passed_over:
                yield str(node.value)


def test_no_text_speaks_of_an_option_to_a_python_caller() -> None:
    def options(text: str) -> set[str]:
        return set(re.findall(r"(?:^|[\s(])(--?[a-z][a-z-]*)", text)) & known

    known = {
        word
        for action in parser()._actions
        if not isinstance(action, argparse._SubParsersAction)
        for word in action.option_strings
    }
    spoken = {text for text in texts() if options(text)}
    assert len(spoken) > 30
    assert not {as_arguments(text) for text in spoken if options(as_arguments(text))}


def test_every_argument_that_is_named_can_be_given() -> None:
    given = {
        field.name
        for options in (dockersave.Options, dockersave.Network)
        for field in dataclasses.fields(options)
    }
    for text in filter(lambda text: "--" in text, texts()):
        for name in re.findall(r"\b([a-z_]+)=", as_arguments(text)):
            assert name in given, text
    for name in ("Registry.tags", "Registry.platforms", "check_archive", "list_archive"):
        home, _, method = name.partition(".")
        assert not method or hasattr(getattr(dockersave, home), method)


def test_a_hint_that_is_added_to_keeps_both_spellings() -> None:
    failure = DockersaveError("it failed", "raise --timeout")
    failure.hint = f"it asks you to wait; {failure.advice}"
    assert failure.hint == "it asks you to wait; raise timeout="
    assert failure.advice == "it asks you to wait; raise --timeout"
    several = dockersave.SaveFailures([failure, UsageError("--jobs 0 is too few")])
    assert several.hint == failure.hint
    assert str(several) == "2 images failed: it failed; jobs=0 is too few"
    assert several.typed == "2 images failed: it failed; --jobs 0 is too few"


def test_lines_are_spelled_for_who_reads_them() -> None:
    lines: list[str] = []
    spelled_for(lines.append)("--foreign fetches them")
    spelled_for(AsTyped(lines.append))("--foreign fetches them")
    assert lines == ["foreign=True fetches them", "--foreign fetches them"]


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
