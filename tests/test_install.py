"""`make install` where it is not as everywhere: staged, odd names, a mask, a private Python."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dockersave.cli.guides import guide, topics

ROOT = Path(__file__).parent.parent


def install(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a strict umask."""
    return subprocess.run(
        ["sh", "-c", 'umask 077; exec sh build/install.sh "$@"', "sh", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_prefix_is_where_it_is_run_from() -> None:
    for arguments in (["here"], ["--remove", "here"]):
        done = install(*arguments)
        assert done.returncode == 2
        assert f"PREFIX={ROOT}/here" in done.stderr
    assert not (ROOT / "here").exists()
    for prefix in ("~", "~/.local"):
        assert install(prefix, HOME="/home/me").stderr.endswith(f"PREFIX=/home/me{prefix[1:]}\n")


def test_removing_leaves_the_rest(tmp_path: Path) -> None:
    for path in ("lib/dockersave/x", "lib/dockersave.new/x", "lib/other/x", "bin/dockersave"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert install("--remove", str(tmp_path)).returncode == 0
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"lib/other/x"}


@pytest.mark.long
def test_a_staged_install_with_odd_names(tmp_path: Path) -> None:
    private = tmp_path / "my python"
    private.mkdir(mode=0o700)
    base = getattr(sys, "_base_executable", sys.executable)
    (private / "python3").symlink_to(base)
    prefix, stage = tmp_path / 'it\'s my "prefix"', tmp_path / "stage"
    done = install(str(prefix), DESTDIR=str(stage), PYTHON=str(private / "python3"))
    assert done.returncode == 0, done.stderr
    assert "is private to you" in done.stderr
    assert not prefix.exists()
    staged = Path(f"{stage}{prefix}")
    for path in [staged, *staged.rglob("*")]:
        mode = path.stat().st_mode
        assert mode & stat.S_IROTH, path
        assert mode & stat.S_IXOTH or not path.is_dir(), path
    shutil.move(staged, prefix)
    version = subprocess.run(
        [prefix / "bin" / "dockersave", "--version"],
        env={"PATH": os.defpath},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout.startswith("dockersave ")
    for topic in topics():
        command = [str(prefix / "bin" / "dockersave"), "--help", topic]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        assert shown.stdout == guide(topic)
    # Half of it, as a copy that was interrupted leaves it, is not taken for all.
    assert not (prefix / "lib" / "dockersave.new").exists()
    begun = (prefix / "bin" / "dockersave").stat().st_mtime_ns
    again = install(str(prefix), PYTHON=str(private / "python3"))
    assert again.returncode == 0
    assert (prefix / "bin" / "dockersave").stat().st_mtime_ns == begun, "nothing has changed"
