"""The output of make targets on a machine that lacks something."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parent.parent / "build" / "bootstrap.sh"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a directory with the few commands of a bare machine, whose user is not root."""
    for tool in ("sort", "tr", "apt-get"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    stub(tmp_path, "id", "echo 1000")
    return tmp_path


def stub(folder: Path, name: str, text: str) -> None:
    """Put a command there that does what `text` says."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(need: str, path: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Ask for a need where only the commands in `path` are found."""
    return subprocess.run(
        ["/bin/sh", BOOTSTRAP, need],
        env={"PATH": str(path), "PYTHON": python},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("need", "packages"),
    [
        ("test", {"podman", "skopeo", "umoci"}),
        ("static", {"binutils"}),
        ("appliance", {"binutils", "gcc", "bubblewrap", "strace", "systemd", "lintian"}),
        ("release", {"binutils", "git", "dpkg"}),
        ("emulator", {"qemu-user-static"}),
        ("reproducible", {"binutils", "faketime", "util-linux"}),
        ("container", {"buildah"}),
    ],
)
def test_names_what_is_missing_in_one_line(bare: Path, need: str, packages: set[str]) -> None:
    done = run(need, bare)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("bootstrap: missing here: ")
    _, _, command = line.partition("apt-get install --no-install-recommends ")
    assert packages <= set(command.strip(")").split())


def test_has_nothing_to_say_where_nothing_is_missing(bare: Path) -> None:
    done = run("run", bare)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("need", "commands"),
    [
        ("static", ["objcopy"]),
        ("release", ["objcopy", "git", "dpkg-deb"]),
        ("reproducible", ["objcopy", "faketime", "setpriv"]),
        ("container", ["buildah", "debootstrap"]),
    ],
)
def test_wants_nothing_but_what_it_is_for(bare: Path, need: str, commands: list[str]) -> None:
    for name in commands:
        stub(bare, name, "exit 0")
    done = run(need, bare)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_wants_a_python_that_is_new_enough(bare: Path) -> None:
    stub(bare, "python3.10", "exit 1")
    done = run("run", bare, "python3.10")
    assert done.returncode == 1
    assert "older than Python 3.11" in done.stderr


def test_knows_its_needs(bare: Path) -> None:
    assert run("nonsense", bare).returncode == 2
