"""Room for an update, and its forecast: what is new counts, and not what can be kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from dockersave import Forecast, forecast
from dockersave.archive import disk
from dockersave.errors import OutputError
from dockersave.transfer import cache
from tests.dying import in_child
from tests.registry.simulator import Simulator
from tests.rootfs.layers import file
from tests.rootfs.layouts import of_directory
from tests.saving.from_simulator import PLAIN, serving
from tests.saving.updating import as_directory, fetched, fresh, in_place, layered, saving

LARGE = Random(1).randbytes(1_000_000)
"""What cannot be compressed."""
BASE = [file("large", LARGE), file("same", "same")]
NEW = [file("new", Random(2).randbytes(50_000))]


@pytest.fixture
def registry() -> Iterator[Simulator]:
    """Serve an image, and two newer ones: with a file more, and made again with a large one."""
    images = {
        "one": layered(BASE),
        "two": layered(BASE, NEW),
        "zeros": layered(BASE, [file("zeros", bytes(1 << 20))]),
        "again": layered([*BASE, *NEW]),
        "other": layered(BASE, [file("large", Random(3).randbytes(len(LARGE)))]),
    }
    with serving(**images) as served:
        yield served


def free(monkeypatch: pytest.MonkeyPatch, amount: int) -> None:
    monkeypatch.setattr(disk, "free_room", lambda fd: amount)


def foreseen(registry: Simulator, name: str, path: Path, **more: object) -> Forecast:
    options = as_directory(path, **more)
    return forecast(f"{registry.host}/{name}", options=options, network=PLAIN)


def test_what_is_kept_needs_no_room(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    expected = fresh(registry, "two", tmp_path / "fresh")
    saving(registry, "one", path)
    before = of_directory(path)
    needed = foreseen(registry, "two", path).needed
    assert 0 < needed < 60_000
    free(monkeypatch, needed - 1)
    with pytest.raises(OutputError, match="needs at least"):
        assert fetched(registry, lambda: saving(registry, "two", path)) == 0
    assert of_directory(path) == before
    free(monkeypatch, 60_000)
    with pytest.raises(OutputError, match="needs at least"):
        saving(registry, "two", tmp_path / "other")
    saving(registry, "two", path)
    assert of_directory(path) == expected
    # What is there already needs none.
    free(monkeypatch, 0)
    assert foreseen(registry, "two", path).needed == 0
    assert saving(registry, "two", path).unchanged


def test_room_for_what_is_new_is_asked_for_before_it_is_written(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    saving(registry, "one", path)
    before = of_directory(path)
    free(monkeypatch, 1 << 19)
    with pytest.raises(OutputError, match=re.escape("needs at least 1.05 MB")):
        saving(registry, "zeros", path)
    assert of_directory(path) == before


def test_layers_that_are_fetched_again_need_room(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    expected = fresh(registry, "two", tmp_path / "fresh")
    saving(registry, "one", path)
    in_place(path / "large")
    free(monkeypatch, 1_500_000)
    # The layer, and the file that is made of it.
    with pytest.raises(OutputError, match=re.escape("needs at least 2.05 MB")):
        saving(registry, "two", path)
    free(monkeypatch, 2_100_000)
    saving(registry, "two", path)
    assert of_directory(path) == expected


def test_what_a_killed_update_has_kept_frees_no_room(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    saving(registry, "one", path)

    def killed() -> None:
        os.sync = lambda: os._exit(9)
        saving(registry, "two", path)

    assert in_child(killed) == 9
    assert (path / "large").stat().st_nlink == 2
    # What is new, and some directories.
    assert 50_000 < foreseen(registry, "two", path).kept < 100_000
    # Its second names have changed the inodes: all is written anew.
    free(monkeypatch, 1_500_000)
    before = len(registry.of("blob"))
    with pytest.raises(OutputError, match="needs at least"):
        saving(registry, "two", path)
    assert len(registry.of("blob")) == before
    monkeypatch.undo()
    saving(registry, "two", path)


def test_the_cache_leaves_room_for_layers_that_are_fetched_again(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / "root", tmp_path / "cache"
    old, new = foreseen(registry, "two", path).layers
    saving(registry, "one", path)
    in_place(path / "large")
    # As above: enough for the layer and the file, but for no copy of either.
    for module in (disk, cache):
        monkeypatch.setattr(module, "free_room", lambda fd: 2_100_000)
    saving(registry, "two", path, cache_dir=str(folder))
    kept = {each.name for each in folder.rglob("*") if each.is_file()}
    assert new.digest.partition(":")[2] in kept
    assert old.digest.partition(":")[2] not in kept


def test_files_that_may_be_equal_need_no_room(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    expected = fresh(registry, "again", tmp_path / "fresh")
    saving(registry, "two", path)
    free(monkeypatch, foreseen(registry, "again", path).needed)
    saving(registry, "again", path)
    assert of_directory(path) == expected


def test_a_layer_that_is_fetched_to_be_compared_needs_room(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    expected = fresh(registry, "one", tmp_path / "fresh")
    saving(registry, "other", path)
    before = len(registry.of("blob"))
    # The files are equally large: they could be the same, so that of the file is not asked for.
    free(monkeypatch, 500_000)
    with pytest.raises(OutputError, match=re.escape("needs at least 1 MB")):
        saving(registry, "one", path)
    assert len(registry.of("blob")) == before
    free(monkeypatch, 1_100_000)
    saving(registry, "one", path)
    assert of_directory(path) == expected


def test_what_a_forecast_says_comes_true(registry: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "root"
    whole = foreseen(registry, "two", path)
    saving(registry, "one", path)
    found = foreseen(registry, "two", path)
    assert found.layers == whole.layers[1:]
    assert foreseen(registry, "two", path, owner_map=["0:5:1"]).layers == whole.layers
    saved = saving(registry, "two", path)
    assert (saved.fetched, saved.reused) == (found.fetched, found.reused)
    again = foreseen(registry, "two", path)
    assert (again.layers, again.fetched, again.needed) == ((), 0, 0)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["root", "root.saved"]


def test_what_another_part_has_left_is_not_counted_on(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    whole = foreseen(registry, "two", path)
    saving(registry, "two", path, only=["new"])
    assert (path / "new").exists()
    assert not (path / "large").exists()
    found = foreseen(registry, "two", path)
    assert (found.layers, found.needed) == (whole.layers, whole.needed)
    before = len(registry.of("blob"))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "free_room", lambda fd: found.needed - found.kept - 1)
        with pytest.raises(OutputError, match="needs at least"):
            saving(registry, "two", path)
    assert len(registry.of("blob")) == before
    assert saving(registry, "two", path).fetched == found.fetched


@pytest.mark.parametrize(
    ("before", "after"), [([], ["new"]), (["new", "same"], ["same", "new"]), (["same"], ["same"])]
)
def test_a_part_of_what_is_there_needs_nothing(
    before: list[str], after: list[str], registry: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "root"
    saving(registry, "two", path, only=before)
    found = foreseen(registry, "two", path, only=after)
    assert (found.layers, found.needed) == ((), 0)
    assert fetched(registry, lambda: saving(registry, "two", path, only=after)) == 0
    assert sorted(each.name for each in path.iterdir()) == sorted(after)
