"""A directory under its final name: whole or not at all, and nothing else is ever replaced."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dockersave.errors import OutputError
from dockersave.rootfs.staging import Stage
from dockersave.rootfs.walk import fingerprint, remove
from tests.rootfs.layouts import of_directory
from tests.rootfs.staging import NOBODY, files_in, fill, names, publish


def test_it_has_its_name_when_it_is_complete(path: Path) -> None:
    with closing(Stage(str(path))) as stage:
        fill(stage.open(), a="1")
        assert not path.exists()
        assert stat.S_IMODE(path.with_name("root.part").stat().st_mode) == 0o700
        stage.commit()
        assert files_in(path) == {"a": "1"}
    assert names(path.parent) == ["root", "root.saved"]


def test_what_a_save_made_is_replaced(path: Path) -> None:
    publish(path, a="1", b="2")
    publish(path, a="3")
    publish(path, c="4")
    assert files_in(path) == {"c": "4"}
    assert names(path.parent) == ["root", "root.saved"]


def test_without_commit_nothing_has_changed(path: Path) -> None:
    publish(path, a="1")
    with closing(Stage(str(path))) as stage:
        fill(stage.open(), a="2")
    assert files_in(path) == {"a": "1"}
    assert names(path.parent) == ["root", "root.saved"]


def _add(path: Path) -> None:
    (path / "mine").write_text("precious")


def _append(path: Path) -> None:
    (path / "a").write_text("12")


def _rewrite(path: Path) -> None:
    os.utime(path / "a", (5, 5))


def _remove(path: Path) -> None:
    (path / "a").unlink()


def _chmod(path: Path) -> None:
    (path / "a").chmod(0o600)


def _link(path: Path) -> None:
    (path / "s").unlink()
    (path / "s").symlink_to("elsewhere")


@pytest.mark.parametrize("change", [_add, _append, _rewrite, _remove, _chmod, _link])
def test_what_was_changed_since_is_not_replaced(
    change: Callable[[Path], object], path: Path
) -> None:
    with closing(Stage(str(path))) as stage:
        new = stage.open()
        fill(new, a="1")
        os.symlink("target", "s", dir_fd=new)
        stage.commit()
    change(path)
    before = of_directory(path)
    with closing(Stage(str(path))) as stage:
        with pytest.raises(OutputError, match="was changed since"):
            stage.check_names()
        fill(stage.open(), a="2")
        with pytest.raises(OutputError, match="was changed since"):
            stage.commit()
    assert of_directory(path) == before
    assert names(path.parent) == ["root", "root.saved"]


def _remove_inside(path: Path) -> None:
    (path / "d" / "e" / "x").unlink()


def _add_inside(path: Path) -> None:
    (path / "d" / "new").mkdir()
    (path / "d" / "e" / "y").touch()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_add, "mine"), (_append, "a"), (_chmod, "a"), (_link, "s"),
        (_remove, ""), (_remove_inside, "d/e"), (_add_inside, "d/e/y"),
    ],
)  # fmt: skip
def test_it_is_said_where_it_was_changed(
    change: Callable[[Path], object], where: str, path: Path
) -> None:
    with closing(Stage(str(path))) as stage:
        new = stage.open()
        fill(new, a="1")
        os.symlink("target", "s", dir_fd=new)
        os.makedirs(f"/proc/self/fd/{new}/d/e")
        Path(f"/proc/self/fd/{new}/d/e/x").touch()
        stage.commit()
    saved, probe = path.with_name("root.saved").stat().st_ctime_ns, path.with_name("probe")
    probe.touch()
    while probe.stat().st_ctime_ns <= saved:
        probe.touch()
    change(path)
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError) as caught:
        stage.check_names()
    said = f": perhaps {where}" if where else ""
    assert str(caught.value).endswith(f"or something is mounted in it{said}")


def seen(path: Path) -> str:
    """The fingerprint of a directory."""
    folder = os.open(path, os.O_RDONLY)
    try:
        return fingerprint(folder)
    finally:
        os.close(folder)


def test_a_mount_in_it_is_a_change_and_is_not_entered(path: Path) -> None:
    with closing(Stage(str(path))) as stage:
        os.mkdir("proc", 0o755, dir_fd=stage.open())
        stage.commit()
    proc = path / "proc"
    made = proc.stat().st_mtime_ns
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", proc], check=True)
    try:
        # To the eye nothing has changed.
        os.utime(proc, ns=(made, made))
        before = seen(path)
        with (
            closing(Stage(str(path))) as stage,
            pytest.raises(OutputError, match=r"in it: perhaps proc$"),
        ):
            stage.check_names()
        (proc / "inner").touch()
        os.utime(proc, ns=(made, made))
        assert seen(path) == before
    finally:
        subprocess.run(["umount", proc], check=True)
    publish(path, a="1")


def test_what_is_changed_meanwhile_is_not_replaced(path: Path) -> None:
    publish(path, a="1")
    with closing(Stage(str(path))) as stage:
        fill(stage.open(), a="2")
        _add(path)
        with pytest.raises(OutputError, match="was changed since"):
            stage.commit()
    assert files_in(path) == {"a": "1", "mine": "precious"}


def test_what_no_save_made_is_not_replaced(path: Path) -> None:
    path.joinpath("inner").mkdir(parents=True)
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="not made by a save"):
        stage.open()
    path.joinpath("inner").rmdir()
    path.rmdir()
    path.write_text("file")
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="not a directory"):
        stage.open()
    path.unlink()
    path.symlink_to(path.parent)
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="not a directory"):
        stage.open()
    assert names(path.parent) == ["root"]


def test_a_mark_that_is_none_is_kept(path: Path) -> None:
    mark = path.with_name("root.saved")
    mark.write_text("my own list")
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="not written by"):
        stage.open()
    assert mark.read_text() == "my own list"


@pytest.mark.parametrize("name", ["mine", "new"])
def test_a_part_that_is_none_is_kept(name: str, path: Path) -> None:
    part = path.with_name("root.part")
    part.mkdir()
    (part / name).write_text("precious")
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="not left by a save"):
        stage.open()
    assert files_in(part) == {name: "precious"}


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("what", ["directory", "link"])
def test_what_takes_its_place_at_the_last_moment_is_kept(
    what: str, user: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(path, a="1")
    mine = path.with_name("mine")
    mine.mkdir(mode=0o755)
    (mine / "file").write_text("precious")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    # Whoever runs it owns all this.
    for each in (path, path.with_name("root.saved"), mine):
        os.chown(each, user, user)
    whole = os.rename

    def late(source: str, target: str, **more: int) -> None:
        if source == str(path):
            whole(path, path.with_name("moved"))
            if what == "link":
                path.symlink_to(mine)
            else:
                whole(mine, path)
        whole(source, target, **more)

    with closing(Stage(str(path))) as stage:
        fill(stage.open(), a="2")
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", late)
            with pytest.raises(OutputError, match="was changed since"):
                stage.commit()
    assert files_in(path) == {"file": "precious"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert path.is_symlink() is (what == "link")


def test_what_cannot_be_replaced_keeps_its_mode(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Stage(str(path))) as stage:
        new = stage.open()
        fill(new, a="1")
        os.fchmod(new, 0o555)
        stage.commit()
    # The mode is only changed for users who are not root.
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    for each in (path, path.with_name("root.saved")):
        os.chown(each, NOBODY, NOBODY)

    def busy(*arguments: object, **more: object) -> None:
        raise OSError(16, "Device or resource busy")

    with closing(Stage(str(path))) as stage:
        fill(stage.open(), a="2")
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", busy)
            patch.setattr(stage, "_note", lambda *fingerprints, record: None)
            with pytest.raises(OutputError, match="is a mount point"):
                stage.commit()
    assert stat.S_IMODE(path.stat().st_mode) == 0o555
    assert files_in(path) == {"a": "1"}


AS_NOBODY = """
import os
from pathlib import Path
from tests.rootfs.test_staging import *
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
path = Path("root")
for text in "12":
    with closing(Stage(str(path))) as stage:
        new = stage.open()
        fill(new, a=text)
        for mode in range(0, 0o1000, 0o100):
            os.mkdir(f"{mode:o}", 0o700, dir_fd=new)
            os.mkdir(f"{mode:o}/inner", 0o700, dir_fd=new)
            os.chmod(f"{mode:o}", mode, dir_fd=new)
        stage.commit()
"""


def test_directories_that_their_owner_cannot_enter_are_published_and_replaced(
    tmp_path: Path,
) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    command = [sys.executable, "-c", AS_NOBODY]
    source = {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=source)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == ["root", "root.saved"]
    assert (tmp_path / "root" / "a").read_text() == "2"
    assert (tmp_path / "root" / "400" / "inner").is_dir()


def test_a_part_that_is_a_link_is_not_followed(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir()
    path.with_name("root.part").symlink_to(elsewhere)
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError):
        stage.open()
    assert names(elsewhere) == []


def test_two_runs_at_once(path: Path) -> None:
    with closing(Stage(str(path))) as one, closing(Stage(str(path))) as two:
        fill(one.open(), a="1")
        with pytest.raises(OutputError, match="another dockersave"):
            two.open()
        one.commit()
    assert files_in(path) == {"a": "1"}


def test_a_part_that_is_replaced_is_not_published(path: Path) -> None:
    with closing(Stage(str(path))) as stage:
        fill(stage.open(), a="1")
        part = path.with_name("root.part")
        part.rename(path.with_name("moved"))
        part.mkdir()
        with pytest.raises(OutputError, match="removed or replaced"):
            stage.commit()
    assert not path.exists()


def test_removing_follows_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "deep").mkdir()
    (inside / "deep" / "link").symlink_to(outside / "file")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        remove(fd, "inside")
        remove(fd, "nothing")
    finally:
        os.close(fd)
    assert names(tmp_path) == ["outside"]
    assert names(outside) == ["file"]


def test_the_owner_of_a_read_only_directory_can_publish_it(path: Path) -> None:
    for text in ("1", "2"):
        with closing(Stage(str(path))) as stage:
            new = stage.open()
            fill(new, a=text)
            os.fchmod(new, 0o555)
            stage.commit()
        assert stat.S_IMODE(path.stat().st_mode) == 0o555
    assert files_in(path) == {"a": "2"}
