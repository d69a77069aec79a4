"""Killed at any step, or used by somebody else: the next run goes on, and believes nobody."""

from __future__ import annotations

import os
import stat
from contextlib import closing, suppress
from pathlib import Path

import pytest

from dockersave.errors import OutputError
from dockersave.rootfs.staging import Stage
from tests.dying import dying
from tests.rootfs.staging import NOBODY, files_in, fill, names, publish


def test_a_part_of_another_user_is_kept(path: Path) -> None:
    # Whoever owns it could exchange what is in it while it is published.
    part = path.with_name("root.part")
    part.mkdir()
    (part / ".dockersave").touch()
    for folder in (part, part / ".dockersave"):
        os.chown(folder, NOBODY, NOBODY)
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="another user"):
        stage.open()
    assert names(part) == [".dockersave"]


def test_a_part_is_closed_to_others(path: Path) -> None:
    path.with_name("root.part").mkdir(mode=0o755)
    with closing(Stage(str(path))) as stage:
        stage.open()
        assert stat.S_IMODE(path.with_name("root.part").stat().st_mode) == 0o700


def test_a_note_of_another_user_is_not_believed(path: Path) -> None:
    publish(path, a="1")
    os.chown(path.with_name("root.saved"), NOBODY, NOBODY)
    with closing(Stage(str(path))) as stage, pytest.raises(OutputError, match="not made by a save"):
        stage.open()
    assert files_in(path) == {"a": "1"}
    # About their own directory it is.
    os.chown(path, NOBODY, NOBODY)
    publish(path, a="2")
    assert files_in(path) == {"a": "2"}


class Killed(BaseException):
    """The process has ended."""


@pytest.mark.parametrize("step", range(12))
def test_killed_at_any_step_the_next_run_goes_on(
    step: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(path, a="1")

    def kill() -> None:
        raise Killed

    mortal = dying(step, kill)
    with monkeypatch.context() as patch:
        stage = Stage(str(path))
        fill(stage.open(), a="2")
        for name in ("rename", "sync", "fsync", "mkdir", "unlink", "rmdir"):
            patch.setattr(os, name, mortal(name))
        try:
            stage.commit()
            stage.close()
        except Killed:
            # The kernel closes what a killed process had open.
            for fd in (stage._fd, stage._new):
                with suppress(OSError):
                    os.close(fd)
    assert not path.exists() or files_in(path) in ({"a": "1"}, {"a": "2"})
    publish(path, a="3")
    assert files_in(path) == {"a": "3"}
    assert names(path.parent) == ["root", "root.saved"]
