"""Saving over what an earlier save made, which somebody changed, or nobody finished."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dockersave.errors import OutputError
from dockersave.rootfs.directory import Placing
from dockersave.rootfs.headers import Content, Member
from dockersave.rootfs.saved_record import Recording
from dockersave.rootfs.unchanged import Earlier
from tests.dying import dying, in_child
from tests.registry.simulator import Simulator
from tests.rootfs.layouts import of_directory
from tests.saving.from_simulator import names_in
from tests.saving.updating import Update, attributes, fetched, fresh, in_place, saving


def _exchanged(path: Path) -> None:
    kept = path.stat()
    path.unlink()
    path.write_bytes(b"X" * kept.st_size)
    path.chmod(kept.st_mode & 0o7777)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))


@pytest.mark.parametrize("change", [in_place, _exchanged, attributes])
@pytest.mark.parametrize("name", ["etc/passwd", "etc/a", "bin/ping6"])
def test_what_somebody_changed_is_written_anew(
    name: str, change: Callable[[Path], object], registry: Simulator, update: Update
) -> None:
    path, expected = update
    parent = (path / name).parent
    kept = parent.stat()
    change(path / name)
    # To the eye nothing has changed.
    os.utime(parent, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert fetched(registry, lambda: saving(registry, "two", path)) == 2
    assert of_directory(path) == expected


def test_a_directory_that_was_seen_to_change_is_still_refused(
    registry: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "root"
    saving(registry, "one", path)
    (path / "etc" / "mine").write_text("precious")
    before = of_directory(path)
    with pytest.raises(OutputError, match="was changed since"):
        saving(registry, "two", path)
    assert of_directory(path) == before


def test_a_change_in_the_middle_is_noticed(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root"
    saving(registry, "one", path)
    whole = Placing.write

    def late(self: Placing, *arguments: Any) -> None:
        whole(self, *arguments)
        (path / "etc" / "passwd").write_text("somebody's")

    with monkeypatch.context() as patch:
        patch.setattr(Placing, "write", late)
        with pytest.raises(OutputError, match="was changed since"):
            saving(registry, "two", path)
    assert (path / "etc" / "passwd").read_text() == "somebody's"
    assert (path / "etc" / "b").read_text() == "old"


def test_what_is_exchanged_at_the_last_moment_is_not_taken(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update: Update
) -> None:
    path, expected = update
    whole, away = os.link, tmp_path / "away"

    def exchanging(source: Any, *arguments: Any, **more: Any) -> None:
        if source != b"etc/passwd":
            return whole(source, *arguments, **more)
        times = (path / "etc").stat()
        (path / "etc" / "passwd").rename(away)
        (path / "etc" / "passwd").write_text("somebody's")
        whole(source, *arguments, **more)
        away.rename(path / "etc" / "passwd")
        os.utime(path / "etc", ns=(times.st_atime_ns, times.st_mtime_ns))

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", exchanging)
        saving(registry, "two", path)
    assert of_directory(path) == expected


def test_without_hard_links_everything_is_written(
    registry: Simulator, monkeypatch: pytest.MonkeyPatch, update: Update
) -> None:
    path, expected = update
    whole = os.link

    def refusing(source: Any, *arguments: Any, **more: Any) -> None:
        # Those of the image are needed.
        if source not in (b"bin/ping", b"etc/a") or more["src_dir_fd"] in earlier_folders:
            raise PermissionError(1, "Operation not permitted")
        whole(source, *arguments, **more)

    earlier_folders = set()
    begin = Earlier.__init__

    def begun(self: Earlier, record: Any, folder: int, *more: Any) -> None:
        earlier_folders.add(folder)
        begin(self, record, folder, *more)

    monkeypatch.setattr(Earlier, "__init__", begun)
    monkeypatch.setattr(os, "link", refusing)
    assert fetched(registry, lambda: saving(registry, "two", path)) == 2
    assert earlier_folders
    assert of_directory(path) == expected


def _cut(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-1])


def _flip(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    saved.write_bytes(data)


def _lines_only(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes().partition(b"\n\n")[0] + b"\n")


@pytest.mark.parametrize("damage", [_cut, _flip, _lines_only])
def test_a_damaged_record_is_not_used(
    damage: Callable[[Path], object], registry: Simulator, tmp_path: Path, update: Update
) -> None:
    path, expected = update
    damage(tmp_path / "root.saved")
    assert fetched(registry, lambda: saving(registry, "two", path)) == 2
    assert of_directory(path) == expected
    # And there is a good one again.
    assert fetched(registry, lambda: saving(registry, "two", path)) == 0


def test_a_record_of_another_user_is_not_used(registry: Simulator, tmp_path: Path) -> None:
    # Whoever wrote it could say of any file that it was verified.
    path = tmp_path / "root"
    saving(registry, "one", path)
    for each in (path, tmp_path / "root.saved"):
        os.chown(each, 65534, 65534)
    assert fetched(registry, lambda: saving(registry, "two", path)) == 2


def test_a_record_that_came_along_with_its_directory_is_not_used(
    registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, away = tmp_path / "root", tmp_path / "away"
    expected = fresh(registry, "two", tmp_path / "fresh")
    whole = Recording.layer

    class Lying(NamedTuple):
        """A layer whose files are all setuid."""

        layer: Content

        def read(self, offset: int, amount: int) -> bytes:
            data = self.layer.read(offset, amount)
            if amount != tarfile.BLOCKSIZE or b"0000644\0" not in data:
                return data
            member = tarfile.TarInfo.frombuf(data, "utf-8", "strict")
            member.mode = 0o4755
            return member.tobuf(tarfile.GNU_FORMAT)

    def lying(self: Recording, digest: str, layer: Content) -> Iterator[tuple[int, Member]]:
        return whole(self, digest, Lying(layer))

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "layer", lying)
        saving(registry, "one", path)
    # As unpacking both does, if somebody has put them into an archive.
    path.rename(away)
    subprocess.run(["cp", "-a", away, path], check=True)
    assert fetched(registry, lambda: saving(registry, "two", path)) == 2
    assert of_directory(path) == expected


@pytest.mark.parametrize("step", range(0, 60, 3))
def test_killed_at_any_step_the_next_run_goes_on(
    step: int, registry: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "root"
    expected = fresh(registry, "two", tmp_path / "fresh")
    before = fresh(registry, "one", path)

    def killed() -> None:
        mortal = dying(step, lambda: os._exit(9))
        for name in ("rename", "sync", "fsync", "mkdir", "unlink", "rmdir", "link"):
            setattr(os, name, mortal(name))
        saving(registry, "two", path)

    assert in_child(killed) in (0, 9)
    if path.exists():
        assert of_directory(path) in (before, expected)
    saving(registry, "two", path)
    assert of_directory(path) == expected
    assert names_in(tmp_path) == ["fresh", "fresh.saved", "root", "root.saved"]
    assert fetched(registry, lambda: saving(registry, "two", path)) == 0
