"""Directories: nothing is replaced, or removed, that no save has written."""

from __future__ import annotations

import dataclasses
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave.errors import OutputError
from dockersave.model.options import Options
from tests.faults.saving import saved
from tests.images import Store, image, random_layer
from tests.registry.simulator import Simulator

LAYERS = [random_layer(2_000, seed) for seed in range(60)]


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    packed = image([random_layer(2_000, 99, "gzip")])
    store = Store.of({"sample": image(LAYERS[:3]), "many": image(LAYERS), "packed": packed})
    with Simulator(store) as registry:
        yield registry


def tree(server: Simulator, folder: Path, name: str = "sample") -> None:
    """Save an image as the directory `tree`."""
    options = Options(tar=False, tree=True, layers_dir="tree", working_dir=str(folder))
    saved(server, None, name, options=options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["tree", "tree.part", "tree.old"])
@pytest.mark.parametrize("file", ["thesis.txt", "blobs/sha256/notes.md", "manifest.json.bak"])
def test_what_no_save_has_written_stays(
    name: str, file: str, server: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / name / file
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    with pytest.raises(OutputError, match="which is not part of an image"):
        tree(server, tmp_path)
    assert path.read_text() == "years of work"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_link_in_the_way_is_not_followed(server: Simulator, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "tree.part").mkdir()
    (tmp_path / "tree.part/blobs").symlink_to(victim)
    with pytest.raises(OutputError, match="blobs, which is not part of an image"):
        tree(server, tmp_path)
    (tmp_path / "tree.part/blobs").unlink()
    (tmp_path / "tree").symlink_to(victim)
    with pytest.raises(OutputError, match="is a symbolic link"):
        tree(server, tmp_path)
    assert not list(victim.iterdir())


@pytest.mark.parametrize("before", [None, "empty", "other"])
def test_an_image_replaces_an_image(before: str | None, server: Simulator, tmp_path: Path) -> None:
    if before == "empty":
        (tmp_path / "tree").mkdir()
    if before == "other":
        tree(server, tmp_path, "many")
    tree(server, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
    blobs = {path.name for path in (tmp_path / "tree/blobs/sha256").iterdir()}
    assert len(blobs) == 5, "three layers, a config and a manifest"


def test_documents_are_not_kept_open(server: Simulator, tmp_path: Path) -> None:
    options = Options(
        tar=False, tree=True, layers_dir="tree", working_dir=str(tmp_path), format="legacy"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = len(os.listdir("/proc/self/fd")) + len(LAYERS) + 50
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        saved(server, None, "many", options=options)  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_bytes_of_the_first_output_are_not_counted_twice(server: Simulator, tmp_path: Path) -> None:
    options = Options(tree=True, layers_dir="tree", working_dir=str(tmp_path))
    done = saved(server, Path("a.tar"), options=options)
    assert (done.fetched, done.reused) == (sum(layer.size for layer in LAYERS[:3]), 0)


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (Options(tar=False, tree=True, layers_dir="tree"), "tree.part", "write an archive instead"),
        (Options(gunzip=True, output="x.tar"), "a temporary file in", "use fewer jobs="),
    ],
    ids=["tree", "archive"],
)
def test_too_many_open_files(
    options: Options,
    said: str,
    hint: str,
    server: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hint does not suggest what was already given."""
    real = os.open

    def few(path: str, flags: int, *mode: int, **options: int) -> int:
        name = str(path)
        if "/blobs/" in name or flags & os.O_TMPFILE == os.O_TMPFILE or "/.dockersave-" in name:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, flags, *mode, **options)

    monkeypatch.setattr(os, "open", few)
    with pytest.raises(OutputError) as caught:
        saved(
            server,
            None,  # type: ignore[arg-type]
            "packed",
            options=dataclasses.replace(options, working_dir=str(tmp_path)),
        )
    assert said in str(caught.value)
    assert caught.value.hint == f"raise the limit on open files (ulimit -n), or {hint}"
