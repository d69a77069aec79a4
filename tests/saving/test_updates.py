"""Saving over what an earlier save made: only what differs is fetched and written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dockersave.errors import ContentError
from dockersave.saving.save import Saved, save
from tests.images import config_document, image, raw_layer
from tests.registry.simulator import Simulator
from tests.rootfs.layers import Item, file, tar
from tests.rootfs.layouts import of_directory
from tests.rootfs.sparse import Holed, sparse
from tests.rootfs.test_merge import LAYERS
from tests.saving.from_simulator import PLAIN, names_in, serving
from tests.saving.updating import (
    BASE,
    ONE,
    TWO,
    Update,
    as_directory,
    fetched,
    fresh,
    inodes,
    layered,
    saving,
)


def test_only_what_differs_is_fetched_and_written(
    registry: Simulator, tmp_path: Path, update: Update
) -> None:
    path, expected = update
    before = inodes(path)
    assert fetched(registry, lambda: saving(registry, "two", path)) == 1
    assert of_directory(path) == expected
    after = inodes(path)
    kept = {name for name in after if after[name] == before.get(name)}
    assert kept == {"bin/ping", "bin/ping6", "etc/passwd", "etc/a", "etc/z", "empty", "same"}
    assert names_in(tmp_path) == ["fresh", "fresh.saved", "root", "root.saved"]


def test_files_of_a_layer_that_was_made_again_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "root"
    holed = Holed(50_000, [(4096, b"x" * 4096)])
    before = [*BASE, file("big", "x" * 600_000), file("tail", "x" * 300_000 + "1"), file("time")]
    after = [*BASE, file("big", "x" * 600_000), file("tail", "x" * 300_000 + "2"),
             Item("time", mtime=7), Item("etc/passwd", data=BASE[1].data, mode=0o600),
             Item("etc/a", data=b"1", owner=(7, 7)), file("etc/z", "1")]  # fmt: skip
    after = [item for item in after if item.name not in ("bin/ping6", "bin/ping")]
    layers = [
        [raw_layer(sparse("holed", holed, "1.0") + tar(before))],
        [raw_layer(tar([Item("holed", data=holed.content), *after]))],
    ]
    with serving(one=image(layers[0]), two=image(layers[1])) as registry:
        expected = fresh(registry, "two", tmp_path / "fresh")
        saving(registry, "one", path)
        old = inodes(path)
        saving(registry, "two", path)
    assert of_directory(path) == expected
    kept = {name for name, inode in inodes(path).items() if old.get(name) == inode}
    assert {name for name in kept if (path / name).is_file()} == {
        "holed", "big", "empty", "hidden", "gone/deep/x", "dir-then-file/x", "file-then-dir",
    }  # fmt: skip
    assert (path / "etc/a").stat().st_nlink == (path / "etc/z").stat().st_nlink == 1


def test_holes_are_written_sooner_than_compared(tmp_path: Path) -> None:
    path = tmp_path / "root"
    holed = Holed(1 << 20, [(4096, b"x" * 4096)])
    full = Holed(8192, [(4096, b"x" * 4096)])
    same = sparse("holed", holed, "1.0") + sparse("full", full, "1.0")
    layers = [[raw_layer(same + tar([file("x", each)]))] for each in "12"]
    with serving(one=image(layers[0]), two=image(layers[1])) as registry:
        expected = fresh(registry, "two", tmp_path / "fresh")
        saving(registry, "one", path)
        old = inodes(path)
        saving(registry, "two", path)
    assert of_directory(path) == expected
    assert [name for name, inode in inodes(path).items() if old[name] == inode] == ["full"]


def test_archives_update_a_directory_without_a_network(
    registry: Simulator, tmp_path: Path, update: Update
) -> None:
    path, expected = update
    before = inodes(path)
    archive = tmp_path / "two.tar"
    save(f"{registry.host}/two", output=archive, network=PLAIN)
    save(options=as_directory(path, from_archive=archive))
    assert of_directory(path) == expected
    assert inodes(path)["etc/passwd"] == before["etc/passwd"]


def once(root: Path) -> list[Path]:
    """Return each file below a directory, of those with several names one."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return list({path.stat().st_ino: path for path in files}.values())


def test_the_same_again_fetches_nothing(registry: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "root"
    first = saving(registry, "one", path)
    expected = of_directory(path)
    assert first.size == sum(item.stat().st_size for item in once(path))
    done: list[Saved] = []
    for _ in range(3):
        before = inodes(path)
        assert fetched(registry, lambda: done.append(saving(registry, "one", path))) == 0
        assert of_directory(path) == expected
        files = [name for name in before if (path / name).is_file()]
        assert all(inodes(path)[name] == before[name] for name in files)
        assert (done[-1].size, done[-1].fetched) == (first.size, 0)
        assert done[-1].unchanged
    assert not saving(registry, "two", path).unchanged


def test_what_comes_to_light_again_is_fetched(registry: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "root"
    expected = fresh(registry, "base", tmp_path / "fresh")
    saving(registry, "two", path)
    done: list[Saved] = []
    assert fetched(registry, lambda: done.append(saving(registry, "base", path))) == 1
    assert of_directory(path) == expected
    assert (path / "hidden").read_text() == "of the base"
    assert done[0].fetched > 0


def test_readers_of_the_old_one_have_all_of_it_until_it_is_replaced(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    before = fresh(registry, "one", path)
    seen = []
    whole = os.sync

    def looking() -> None:
        seen.append(of_directory(path))
        whole()

    monkeypatch.setattr(os, "sync", looking)
    saving(registry, "two", path)
    assert seen == [before]


@pytest.mark.parametrize(
    "forms", [("bundle", "bundle"), ("rootfs", "bundle"), ("bundle", "rootfs")]
)
def test_bundles_are_updated_too(
    forms: tuple[str, str], registry: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "box"
    saving(registry, "two", tmp_path / "fresh", format=forms[1])
    saving(registry, "one", path, format=forms[0])
    # The base, which has /etc/passwd, is not fetched for that.
    assert fetched(registry, lambda: saving(registry, "two", path, format=forms[1])) == 1
    inner = "rootfs" if forms[1] == "bundle" else "."
    assert of_directory(path / inner) == of_directory(tmp_path / "fresh" / inner)
    if forms[1] == "bundle":
        config = (path / "config.json").read_bytes()
        assert config == (tmp_path / "fresh" / "config.json").read_bytes()


def test_a_bundle_whose_config_alone_differs_is_not_the_same(tmp_path: Path) -> None:
    path = tmp_path / "box"
    layers = [raw_layer(tar(BASE))]
    one, two = (image(layers, config=config_document(layers, env=[f"A={value}"])) for value in "12")
    with serving(one=one, two=two) as registry:
        assert not saving(registry, "one", path, format="bundle").unchanged
        assert saving(registry, "one", path, format="bundle").unchanged
        assert not saving(registry, "two", path, format="bundle").unchanged
        assert '"A=2"' in (path / "config.json").read_text()
        assert saving(registry, "two", path, format="bundle").unchanged


def test_a_part_is_updated_to_the_whole(registry: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "root"
    expected = fresh(registry, "two", tmp_path / "fresh")
    part = fresh(registry, "two", tmp_path / "part", only=["etc"])
    saving(registry, "one", path, only=["etc"])
    saving(registry, "two", path)
    assert of_directory(path) == expected
    saving(registry, "two", path, only=["etc"])
    assert of_directory(path) == part


AS_NOBODY = """
import json, os, sys
from pathlib import Path
from tests.saving.from_simulator import PLAIN
from tests.saving.updating import as_directory, save
host = sys.argv[1]
# Nobody may not be able to load modules: this loads them.
for name in ("one", "two"):
    save(f"{host}/{name}", options=as_directory(Path("loading")), network=PLAIN)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for name in ("one", "two"):
    notes = []
    save(f"{host}/{name}", options=as_directory(Path("root")), network=PLAIN, notify=notes.append)
    print(*notes)
    print(os.stat("root/bin/ping").st_ino, os.stat("root/etc/b").st_ino)
save(f"{host}/two", options=as_directory(Path("fresh")), network=PLAIN, notify=print)
"""


def test_as_nobody(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    base = [item for item in BASE if item.name != "locked"]
    with serving(one=layered(base, ONE), two=layered(base, TWO)) as registry:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, registry.host],
            capture_output=True, text=True, cwd=home, env={"PYTHONPATH": os.getcwd()},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, (ping, b), notes, (again, other), whole = (line.split() for line in done.stdout.splitlines())
    assert (ping == again, b == other) == (True, False)
    # What is missing is told again, as if nothing had been kept.
    assert notes[1:] == whole[1:]
    assert of_directory(home / "root") == of_directory(home / "fresh")


def test_what_root_may_have_this_time_is_had(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    expected = fresh(registry, "two", tmp_path / "fresh")

    def denied(*arguments: object, **more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        for name in ("chown", "fchown", "setxattr"):
            patch.setattr(os, name, denied)
        saving(registry, "one", path)
    saving(registry, "two", path)
    assert of_directory(path) == expected


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LAYERS, LAYERS, LAYERS)
def test_any_image_over_any_other(
    tmp_path_factory: pytest.TempPathFactory,
    common: list[list[Item]],
    lower: list[list[Item]],
    upper: list[list[Item]],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    with serving(one=layered(*common, *lower), two=layered(*common, *upper)) as registry:
        try:
            expected = fresh(registry, "two", folder / "fresh")
            saving(registry, "one", folder / "root")
        except ContentError:
            return
        saving(registry, "two", folder / "root")
        assert of_directory(folder / "root") == expected
        saving(registry, "two", folder / "root")
        assert of_directory(folder / "root") == expected
