"""An empty directory has the name: whomever it belongs to, it is replaced while it is empty."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dockersave.errors import OutputError
from dockersave.rootfs.staging import Stage
from tests.rootfs.staging import NOBODY, files_in, fill, names, publish


def test_an_empty_directory_is_replaced(path: Path) -> None:
    """It was made beforehand, as people do, or all that was in it was removed."""
    path.mkdir()
    publish(path, a="1")
    assert files_in(path) == {"a": "1"}
    (path / "a").unlink()
    publish(path, a="2")
    assert files_in(path) == {"a": "2"}
    assert names(path.parent) == ["root", "root.saved"]


def _as_nobody(path: Path, mode: int, owner: int) -> subprocess.CompletedProcess[str]:
    """Publish over an empty directory of root's, in a directory with that mode and owner."""
    path.mkdir()
    path.parent.chmod(mode)
    os.chown(path.parent, owner, owner)
    code = (
        "import os; from pathlib import Path; from tests.rootfs.test_staging_empty import *\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "Stage('root').check_names(); print('begins')\n"
        "publish(Path('root'), a='1')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=path.parent, env={"PYTHONPATH": os.getcwd()},
    )  # fmt: skip


def test_an_empty_directory_of_somebody_else_is_replaced(path: Path) -> None:
    done = _as_nobody(path, 0o777, 0)
    assert done.returncode == 0, done.stderr
    assert files_in(path) == {"a": "1"}
    assert path.stat().st_uid == NOBODY
    assert names(path.parent) == ["root", "root.saved"]


def test_where_it_cannot_be_replaced_it_is_refused_at_once(path: Path) -> None:
    done = _as_nobody(path, 0o1777, 0)
    assert done.stdout == ""
    assert "it exists, and belongs to another user" in done.stderr
    assert names(path.parent) == ["root"]


def test_whose_directory_it_is_in_may_replace_it(path: Path) -> None:
    done = _as_nobody(path, 0o1777, NOBODY)
    assert done.returncode == 0, done.stderr
    assert files_in(path) == {"a": "1"}


def test_what_comes_into_an_empty_directory_meanwhile_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.mkdir()
    whole = os.rename

    def late(source: str, target: str, **more: int) -> None:
        if str(path) in (source, target):
            (path / "mine").write_text("precious")
        whole(source, target, **more)

    with closing(Stage(str(path))) as stage:
        fill(stage.open(), a="1")
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", late)
            with pytest.raises(OutputError, match="was changed in the meantime"):
                stage.commit()
    assert files_in(path) == {"mine": "precious"}


def test_a_mount_point_is_refused_at_once(path: Path) -> None:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    try:
        with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="mount point"):
            stage.check_names()
        with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="mount point"):
            stage.open()
    finally:
        subprocess.run(["umount", path], check=True)
    assert names(path.parent) == ["root"]
