"""Where the launcher unpacks: where it is safe, and what it takes away again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.appliance.conftest import TARGET
from tests.appliance.hosts import BareHost, leftovers

USER, OTHER = 12345, 23456
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


def home_of(probe: Path, directory: str, prefix: Sequence[str] = ()) -> Path:
    """Return where a launcher unpacks that is told a TMPDIR."""
    done = subprocess.run([*prefix, str(probe)], env={"TMPDIR": directory}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    program, interpreter, rpath = done.stdout.splitlines()
    assert program == rpath + b"/dockersave-static"
    assert interpreter == rpath + f"/{TARGET['INTERPRETER']}".encode()
    return Path(os.fsdecode(rpath))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a directory that everybody may pass through."""
    for directory in (tmp_path, *tmp_path.parents):
        directory.chmod(directory.stat().st_mode | 0o055)
    return tmp_path.resolve()


ODD = {
    # name below the base: whether it is used
    "with space and %": True,
    "ünïcödé": True,
    "with:colon": False,
    "with$ORIGIN": False,
    "x" * 150 + "/" + "y" * 150: False,
    "no \udcff\udcfe UTF-8": False,
    "a file": False,
    "missing": False,
    "weak": False,
    "weak/below": False,
    "of another": False,
    "of another/below": False,
}


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_odd_directories(probe: Path, base: Path, name: str) -> None:
    """Whatever TMPDIR is: it runs, there if that is safe, elsewhere if not, and leaves nothing."""
    directory = base / name
    if name == "a file":
        directory.touch()
    elif name != "missing":
        directory.mkdir(parents=True)
    if name.startswith("weak"):
        (base / "weak").chmod(0o777)
    if name.startswith("of another"):
        os.chown(base / "of another", OTHER, OTHER)
    home = home_of(probe, os.fspath(directory))
    assert (home.parent == directory) == ODD[name]
    assert not home.exists()
    assert leftovers(base) == []


def test_relative_and_linked_directories(probe: Path, base: Path) -> None:
    (base / "target").mkdir()
    (base / "link").symlink_to("target")
    for name in (str(base / "link"), os.path.relpath(base / "target")):
        assert home_of(probe, name).parent == base / "target"


def test_no_length_of_the_path_is_cut(probe: Path, base: Path) -> None:
    """The interpreter's path would be a directory that anybody could guess and create."""
    row = 256
    rest = len("/dockersave-" + "x" * 16 + f"/{TARGET['INTERPRETER']}") + len("\0")
    for length in range(row - rest - 20, row - rest + 20):
        directory = base / ("d" * (length - len(str(base)) - 1))
        directory.mkdir()
        fits = length + rest <= row
        assert (home_of(probe, str(directory)).parent == directory) == fits, length


def test_runs_in_the_longest_path(bare: BareHost) -> None:
    name = "d" * (256 - len("//dockersave-" + "x" * 16 + f"/{TARGET['INTERPRETER']}") - 1)
    prepare = f"""
        mkdir $R/{name}
        mount --bind $R $R
        mount -t tmpfs tmpfs $R/{name}
        mount -o remount,ro,bind $R
    """
    done = bare.run("--version", prepare=prepare, environment={"TMPDIR": f"/{name}"})
    assert (done.returncode, done.stderr) == (0, "")


REFUSALS = {
    "other users can write there": "chmod 777 $R/odd",
    "belongs to another user": f"chown {OTHER} $R/odd",
    "its path is not UTF-8": "",
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_nothing_of_another_users_is_executed(bare: BareHost, reason: str) -> None:
    """A directory that another user could exchange is refused, and the refusal says so."""
    name = "odd" if REFUSALS[reason] else os.fsdecode(b"odd\xff")
    (bare.root / name).mkdir()
    prepare = f"""
        {REFUSALS[reason]}
        mount --bind $R $R
        mount --bind "$R/{name}" "$R/{name}"
        mount -o remount,ro,bind $R
    """
    done = bare.run("--version", prepare=prepare, environment={"TMPDIR": f"/{name}"})
    assert done.returncode == 1
    assert reason in done.stderr
    assert "/odd" in done.stderr


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o177, 0o277, 0o777], ids=oct)
def test_whatever_the_umask(binary: Path, probe: Path, base: Path, mask: int) -> None:
    """For an ordinary user, who is subject to permissions."""
    directory = base / "tmp"
    copy = Path(shutil.copy(binary, base))
    directory.mkdir()
    directory.chmod(0o1777)
    process = subprocess.Popen(
        [*AS_USER, str(probe), "umask"],
        env={"TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        umask=mask,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"%03o\n" % mask, "the program has the caller's"
    (home,) = (directory / name for name in leftovers(directory))
    assert home.stat().st_mode & 0o7777 == 0o700
    assert home.stat().st_uid == USER
    process.terminate()
    assert process.wait(20) == 143
    process.stdout.close()
    assert leftovers(directory) == []
    done = subprocess.run(
        [*AS_USER, str(copy), "--version"],
        env={"TMPDIR": str(directory)},
        capture_output=True,
        umask=mask,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_unprivileged_user_namespace(binary: Path) -> None:
    """In a namespace where root's directories seem to belong to the user nobody."""
    command = ["bwrap", "--unshare-user", "--uid", "1000", "--ro-bind", str(binary), "/dockersave"]
    command += ["--proc", "/proc", "--tmpfs", "/tmp", "/dockersave", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_user_in_a_user_namespace(probe: Path, base: Path) -> None:
    """All outside users appear as nobody, so directories of nobody are not safe."""
    directory = base / "of another"
    directory.mkdir()
    directory.chmod(0o1777)
    os.chown(directory, OTHER, OTHER)
    home = home_of(probe, str(directory), [*AS_USER, "unshare", "--user"])
    assert home.parent == Path("/tmp")


LEFT = "dockersave-" + "abcdefghijklmnop"


def test_sweeping_takes_only_what_is_ours(probe: Path, tmp_path: Path) -> None:
    """Names, owner and mode can all be right by chance."""
    kept = [tmp_path / name for name in ("dockersave-backups-20240101", LEFT, LEFT + "q")]
    for directory in kept:
        directory.mkdir(mode=0o700)
        (directory / "data").touch()
    left = [tmp_path / f"dockersave-{letter * 16}" for letter in "ab"]
    for directory in left:
        directory.mkdir(mode=0o700)
    (left[0] / ".unpacked-by-dockersave").touch()
    (left[0] / "python").mkdir()
    (left[0] / "python" / "module.so").touch()
    home_of(probe, str(tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert all((directory / "data").exists() for directory in kept)


def test_sweeping_where_directories_inherit_their_group(probe: Path, tmp_path: Path) -> None:
    """Their mode is no longer 0700 then, but they are still ours."""
    tmp_path.chmod(0o2755)
    run = subprocess.Popen(
        [str(probe), "sleep", "20"], env={"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"ready\n"
    run.kill()
    run.communicate()
    assert len(leftovers(tmp_path)) == 1
    home_of(probe, str(tmp_path))
    assert leftovers(tmp_path) == []


def test_every_place_is_named_once(bare: BareHost) -> None:
    prepare = "mount --bind $R $R; mount -o remount,ro,bind $R"
    done = bare.run("--version", prepare=prepare, environment={"TMPDIR": "/var/tmp"})
    places = re.findall(r"[(;] ?(/\S*|in memory): ", done.stderr)
    assert places == ["/var/tmp", "/tmp", "/dev/shm", "/run", "/", "in memory"]
