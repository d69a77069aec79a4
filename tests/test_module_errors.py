"""Errors that leave the process, and mistakes of a Python caller."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import pytest

import dockersave
from dockersave import errors
from dockersave.cli.stdout import Unread
from dockersave.model.manifests import SchemaOneError, UnknownKindError


def all_errors() -> list[errors.DockersaveError]:
    network = errors.NetworkError(
        "no answer", "raise --timeout", transient=True, retry_after=2.5, crowded=True
    )
    plain = [
        kind("it failed: --user", "raise --timeout").about("debian:12")
        for kind in (
            errors.DockersaveError,
            errors.UsageError,
            errors.NotFoundError,
            errors.CredentialsError,
            errors.OutputError,
            errors.SignatureError,
            errors.CancelledError,
        )
    ]
    content = errors.ContentError("wrong", transient=True)
    several = errors.SaveFailures([network.about("a"), content.about("b")])
    named = [UnknownKindError("application/x"), SchemaOneError(), Unread("it failed")]
    return [*plain, network, content, several, *named]


def everything_of(failure: errors.DockersaveError) -> dict[str, object]:
    kept = {**failure.__dict__, "kind": type(failure), "text": str(failure), "args": failure.args}
    kept["exit_code"] = failure.exit_code
    kept["failures"] = [everything_of(each) for each in failure.failures]
    return kept


def kinds(kind: type[errors.DockersaveError]) -> set[type[errors.DockersaveError]]:
    return {kind}.union(*(kinds(each) for each in kind.__subclasses__()))


def test_every_kind_is_tried() -> None:
    assert {type(failure) for failure in all_errors()} == kinds(errors.DockersaveError)


@pytest.mark.parametrize("failure", all_errors(), ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize(
    "through",
    [
        *(
            lambda failure, protocol=protocol: pickle.loads(pickle.dumps(failure, protocol))
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_all_of_an_error_is_kept(
    failure: errors.DockersaveError, through: Callable[[Any], Any]
) -> None:
    assert everything_of(through(failure)) == everything_of(failure)


def fail(number: int) -> None:
    raise all_errors()[number]


def test_through_multiprocessing() -> None:
    """An error that cannot be unpickled hangs the pool, or hides the error."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for number, failure in enumerate(all_errors()):
            with pytest.raises(type(failure)) as caught:
                pool.apply_async(fail, (number,)).get(60)
            assert everything_of(caught.value) == everything_of(failure)


@pytest.mark.parametrize("wrong", [["a", "b"], ("a",), b"a", None, 1, Path("a")], ids=repr)
def test_an_image_is_text_or_a_reference(wrong: Any) -> None:
    with (
        dockersave.Registry() as registry,
        pytest.raises(TypeError, match="str or a Reference, not " + type(wrong).__name__) as caught,
    ):
        registry.resolve(wrong)
    for call in (dockersave.save, dockersave.forecast):
        with pytest.raises(TypeError) as again:
            call(wrong, output="x.tar")
        assert str(again.value) == str(caught.value)
    assert ("save(*images)" in str(caught.value)) is isinstance(wrong, (list, tuple))


def test_paths_may_be_of_any_kind() -> None:
    options = dockersave.Options(
        output=PurePath("a/b.tar"),
        working_dir=Path("w"),
        layers_dir=Path("l"),
        cache_dir=Path("c"),
        reuse=[Path("r.tar"), "s.tar"],
    )
    assert options == dockersave.Options(
        output="a/b.tar", working_dir="w", layers_dir="l", cache_dir="c", reuse=("r.tar", "s.tar")
    )
    assert dockersave.Options(tarname=Path("t.tar")).tarname == "t.tar"
    network = dockersave.Network(
        ca_file=Path("ca"), cert=Path("c"), key=Path("k"), authfile=Path("a"), mirrors=["http://m"]
    )
    assert network == dockersave.Network(
        ca_file="ca", cert="c", key="k", authfile="a", mirrors=("http://m",)
    )
    assert hash(options)
    assert hash(network)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: dockersave.Options(reuse="old.tar"), r"reuse=\['old.tar'\]"),
        (lambda: dockersave.Options(reuse=Path("old.tar")), "reuse takes several values"),  # type: ignore[arg-type]
        (lambda: dockersave.Network(mirrors="http://m"), r"mirrors=\['http://m'\]"),
        (lambda: dockersave.Network(insecure_registries="r"), r"insecure_registries=\['r'\]"),
        (lambda: dockersave.Options(output=b"x.tar"), "output must be a str or a path"),  # type: ignore[arg-type]
        (lambda: dockersave.Network(authfile=3), "not int"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_of_type_are_told_at_once(make: Callable[[], object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make()
