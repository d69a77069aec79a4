"""What engines make of odd layers is what `--format rootfs` makes, or what is stated."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockersave.rootfs.merge import Tree
from dockersave.rootfs.tarball import pieces
from tests.engines.__main__ import FILE_SYSTEMS, README
from tests.engines.file_systems import (
    JUDGES,
    OTHERWISE,
    differences,
    judged,
    of_tar,
    saved,
    table,
)
from tests.engines.judges import Judges
from tests.engines.odd_layers import LAYERS
from tests.generated import between
from tests.rootfs.layers import Bytes
from tests.rootfs.layouts import Facts, merged_facts

Made = tuple[str, Path, Facts]
"""The name of layers, the archive, and what `--format rootfs` makes."""


@pytest.fixture(scope="module", params=LAYERS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Save each image once for all judges."""
    return request.param, *saved(request.param, tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("engine", JUDGES)
def test_engines_make_the_same(engine: str, made: Made, judges: Judges) -> None:
    stated = OTHERWISE.get((made[0], engine))
    assert judged(made[0], judges[engine], *made[1:]) == (stated.what if stated else "")


def test_the_table_says_what_is_tested() -> None:
    assert OTHERWISE.keys() <= {(name, engine) for name in LAYERS for engine in JUDGES}
    assert between(FILE_SYSTEMS, README) == table(), "python -m tests.engines --table writes it"


@pytest.mark.parametrize("name", LAYERS)
def test_the_judge_of_tars_sees_everything(name: str, tmp_path: Path) -> None:
    facts, tars = merged_facts(LAYERS[name])
    layers = [Bytes(data) for data in tars]
    path = tmp_path / "tar"
    path.write_bytes(b"".join(pieces(Tree(layers), layers)))
    assert of_tar(path) == facts


def test_every_aspect_is_seen() -> None:
    one: tuple[object, ...] = (0o100644, (0, 0), 1, b"x", {}, "")
    for number, (aspect, other) in enumerate(
        [
            ("modes", 0o100600),
            ("owners", (1, 0)),
            ("times", 2),
            ("content", b"y"),
            ("attributes", {"user.a": b"b"}),
            ("hard links", "b"),
        ]
    ):
        changed = (*one[:number], other, *one[number + 1 :])
        assert list(differences({"a": one}, {"a": changed})) == [aspect]
    assert list(differences({"a": one}, {"a": (0o040644, *one[1:])})) == ["types"]
    assert list(differences({"a": one}, {})) == list(differences({}, {"a": one})) == ["paths"]
