"""Updates while somebody changes the files that are kept, so that their times and sizes stay."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dockersave.archive import disk
from dockersave.errors import OutputError
from dockersave.rootfs import clock
from dockersave.rootfs.directory import Placing
from dockersave.rootfs.unchanged import Earlier
from tests.registry.simulator import Simulator
from tests.rootfs.layouts import of_directory
from tests.saving.from_simulator import names_in
from tests.saving.updating import Update, attributes, fresh, in_place, saving

CHANGES = pytest.mark.parametrize("change", [in_place, attributes])


@CHANGES
@pytest.mark.parametrize("name", ["etc/passwd", "etc/z", "bin/ping"])
@pytest.mark.parametrize("moment", [(Placing, "write"), (os, "sync")])
def test_what_is_changed_after_it_was_kept_is_not_published(
    name: str,
    change: Callable[[Path], object],
    moment: tuple[Any, str],
    registry: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    update: Update,
) -> None:
    path, expected = update
    whole = getattr(*moment)

    def late(*arguments: Any) -> None:
        whole(*arguments)
        change(path / name)

    with monkeypatch.context() as patch:
        patch.setattr(*moment, late)
        with pytest.raises(OutputError, match="were changed in the meantime"):
            saving(registry, "two", path)
    assert (path / "etc" / "b").read_text() == "old"
    saving(registry, "two", path)
    assert of_directory(path) == expected


@CHANGES
def test_what_is_changed_before_it_gets_its_second_name_is_not_published(
    change: Callable[[Path], object],
    registry: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    update: Update,
) -> None:
    path, expected = update
    whole = Earlier.keep

    def keep(self: Earlier, entry: Any, *arguments: Any) -> Any:
        kept = whole(self, entry, *arguments)
        if entry.path == b"etc/a":
            assert kept
            change(path / "etc/a")
        return kept

    with monkeypatch.context() as patch:
        patch.setattr(Earlier, "keep", keep)
        with pytest.raises(OutputError, match="were changed in the meantime"):
            saving(registry, "two", path)
    saving(registry, "two", path)
    assert of_directory(path) == expected


@CHANGES
@pytest.mark.parametrize("name", ["etc/passwd", "etc/b", "etc/z"])
@pytest.mark.parametrize("is_removed", [False, True], ids=["before", "after"])
def test_what_is_changed_before_it_is_recorded_is_written_anew(
    name: str,
    change: Callable[[Path], object],
    update: Update,
    *,
    is_removed: bool,
    registry: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, expected = update
    whole, settled = disk.sync, clock.past
    times = []

    def published(folder: str) -> None:
        whole(folder)
        if not is_removed:
            change(path / name)

    def past(*arguments: Any) -> int:
        time = settled(*arguments)
        times.append(time)
        if is_removed and len(times) == 2:
            change(path / name)
        return time

    with monkeypatch.context() as patch:
        patch.setattr("dockersave.rootfs.staging.sync", published)
        patch.setattr("dockersave.rootfs.staging.past", past)
        saving(registry, "two", path)
    assert of_directory(path) != expected
    saving(registry, "two", path)
    assert of_directory(path) == expected
    assert names_in(tmp_path) == ["fresh", "fresh.saved", "root", "root.saved"]


def test_after_that_it_is_not_said_of_what_was_kept_that_it_was_changed_later(
    registry: Simulator, update: Update, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = update
    whole = disk.sync

    def published(folder: str) -> None:
        whole(folder)
        in_place(path / "etc" / "z")

    with monkeypatch.context() as patch:
        patch.setattr("dockersave.rootfs.staging.sync", published)
        saving(registry, "two", path)
    saved = path.with_name("root.saved").stat().st_ctime_ns
    kept = [each for each in path.rglob("*") if each.is_file() and each.stat().st_ctime_ns > saved]
    assert kept == []


def test_what_others_have_a_name_of_is_not_kept(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mine = tmp_path / "root", tmp_path / "mine"
    expected = fresh(registry, "two", tmp_path / "fresh")
    whole = disk.sync

    def published(folder: str) -> None:
        whole(folder)
        mine.hardlink_to(path / "etc" / "passwd")

    with monkeypatch.context() as patch:
        patch.setattr("dockersave.rootfs.staging.sync", published)
        saving(registry, "one", path)
    saving(registry, "two", path)
    mine.write_text("somebody's")
    assert of_directory(path) == expected
