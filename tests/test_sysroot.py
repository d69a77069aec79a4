"""Debian's packages for other machines: what is locked is unpacked, or one line says why not."""

from __future__ import annotations

import hashlib
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SYSROOT = ROOT / "build" / "sysroot.py"
SYSROOTS = ROOT / "build" / "sysroots"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Return a mirror with one small package, and a lock beside it that names that."""
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: small\nVersion: 1:2.0-3\nArchitecture: arm64\nMaintainer: A <a@example.org>\n"
        "Description: small\n"
    )
    (tree / "usr" / "lib").mkdir(parents=True)
    (tree / "lib").mkdir()
    (tree / "lib" / "older.so").write_text("code")
    (tree / "usr" / "lib" / "small.so").write_text("code")
    package = tmp_path / "mirror" / "debian" / "pool" / "small_2.0-3_arm64.deb"
    package.parent.mkdir(parents=True)
    command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    (tmp_path / "small.lock").write_text(f"{digest}  debian/pool/{package.name}\n")
    return tmp_path / "mirror"


def unpack(mirror: Path) -> subprocess.CompletedProcess[str]:
    folder = mirror.parent
    command = [sys.executable, str(SYSROOT), "unpack", f"{folder}/small.lock", f"{folder}/kept"]
    return subprocess.run(
        [*command, f"{folder}/root"],
        env={**os.environ, "DEBIAN_MIRROR": f"file://{mirror}/debian"},
        capture_output=True,
        text=True,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_what_is_locked_is_unpacked_and_known_to_dpkg(mirror: Path) -> None:
    done = unpack(mirror)
    assert (done.returncode, done.stderr) == (0, "")
    root = mirror.parent / "root"
    assert (root / "usr" / "lib" / "small.so").read_text() == "code"
    assert (root / "usr" / "lib" / "older.so").read_text() == "code"
    query = ["dpkg-query", "--admindir", str(root / "var" / "lib" / "dpkg")]
    asked = subprocess.check_output([*query, "--search", "/usr/lib/small.so"], text=True)
    assert asked == "small:arm64: /usr/lib/small.so\n"
    assert subprocess.check_output([*query, "-Wf", "${Version}", "small"], text=True) == "1:2.0-3"


def test_what_is_there_is_not_fetched_again(mirror: Path) -> None:
    assert unpack(mirror).returncode == 0
    (mirror / "debian" / "pool" / "small_2.0-3_arm64.deb").unlink()
    assert unpack(mirror).returncode == 0


def test_a_package_that_is_another(mirror: Path) -> None:
    with (mirror / "debian" / "pool" / "small_2.0-3_arm64.deb").open("ab") as package:
        package.write(b"more")
    line = one_line(unpack(mirror))
    assert "small_2.0-3_arm64.deb has SHA-256" in line
    assert "as locked" in line
    assert not (mirror.parent / "root").exists()


def test_a_package_that_is_gone(mirror: Path) -> None:
    (mirror / "debian" / "pool" / "small_2.0-3_arm64.deb").unlink()
    line = one_line(unpack(mirror))
    assert line.startswith(f"sysroot: file://{mirror}/debian/pool/small_2.0-3_arm64.deb: ")


def test_a_lock_that_is_none(mirror: Path) -> None:
    (mirror.parent / "small.lock").write_text("small\n")
    assert one_line(unpack(mirror)).endswith("line 1: no hash and path of a package")


def test_every_target_that_is_not_this_machine_has_a_lock() -> None:
    read_target = runpy.run_path(str(ROOT / "build" / "foreign.py"))["read_target"]
    names = [path.stem for path in (ROOT / "build" / "targets").glob("*.env")]
    assert "amd64" in names
    keys = read_target("amd64").keys()
    for name in names:
        assert read_target(name).keys() == keys
        suite = read_target(name)["SUITE"]
        assert bool(suite) == bool(read_target(name)["LIBRARY_TARGET"])
        assert not suite or (SYSROOTS / suite / f"{name}.lock").exists()


@pytest.mark.parametrize("suite", sorted(path.name for path in SYSROOTS.glob("*/")))
def test_all_locks_of_a_suite_have_the_same_python(suite: str) -> None:
    """What is compiled by the tools' runs in the others'."""
    locks = list((SYSROOTS / suite).glob("*.lock"))
    assert "tools.lock" in {lock.name for lock in locks}
    versions = {
        line.rpartition("/")[2].split("_")[1]
        for lock in locks
        for line in lock.read_text().splitlines()
        if "/libpython3" in line
    }
    assert len(versions) == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["ARCH=m68k"], "make: there is no ARCH=m68k, but: amd64 arm64 armhf"),
        (["ARCH=arm64", "LAUNCHER=stock"], "make: staticx has no launcher for ARCH=arm64"),
    ],
)
def test_what_cannot_be_built(words: list[str], problem: str) -> None:
    command = ["make", "--silent", "dockersave-static", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == problem
