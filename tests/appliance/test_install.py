"""`--install DIR`: the program unpacked for good, whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.appliance.hosts import COMMAND, BareHost, leftovers
from tests.appliance.test_hosts import READ_ONLY, runs, tmpfs
from tests.appliance.test_limits import SAVE, strace
from tests.appliance.test_places import OTHER
from tests.appliance.test_signals import WAITING, end, start, wait_until


def install(binary: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(binary), f"--install={directory}"]
    return subprocess.run(command, env={}, capture_output=True, text=True, timeout=60)


def works(directory: Path) -> bool:
    """Whether the installed command starts, without a place to unpack."""
    command = [str(directory / "dockersave"), "--version"]
    environment = {"TMPDIR": "/none", "LD_LIBRARY_PATH": "/junk"}
    return runs(subprocess.run(command, env=environment, capture_output=True, text=True))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "place"
    directory.mkdir(mode=0o755)
    return directory


def test_installs_and_updates(binary: Path, place: Path) -> None:
    """In a directory that is there, or in a new one."""
    for directory in (place, place / "new"):
        for _ in range(2):
            done = install(binary, directory)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            (home,) = (path for path in directory.iterdir() if path.name.startswith("dockersave-"))
            assert os.readlink(directory / "dockersave").startswith(f"{home.name}/")
            assert works(directory)
    save = subprocess.run([str(place / "dockersave"), *SAVE], env={}, capture_output=True)
    assert save.returncode == 5
    assert b"refused" in save.stderr


def test_another_user_runs_it(binary: Path, place: Path) -> None:
    for parent in place.parents:
        parent.chmod(parent.stat().st_mode | 0o055)
    assert install(binary, place).returncode == 0
    command = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"]
    done = subprocess.run(
        [*command, str(place / "dockersave"), "--version"], capture_output=True, text=True
    )
    assert runs(done)


def test_in_an_empty_root_without_proc(bare: BareHost) -> None:
    assert bare.run("--install", "/opt").returncode == 0
    read_only = READ_ONLY.format("")
    assert runs(bare.run("--version", prepare=read_only, command=["/opt/dockersave"]))


def test_signals_end_it_as_they_would_any_program(binary: Path, place: Path) -> None:
    assert install(binary, place).returncode == 0
    run = start(place / "dockersave", place, *WAITING)
    wait_until(lambda: "dockersave-static" in os.readlink(f"/proc/{run.pid}/exe"))
    run.terminate()
    assert end(run) in (143, -signal.SIGTERM)


REFUSALS = {
    "a directory that others may write": "other users can write there",
    "a directory of another user": "belongs to another user",
    "a file": "Not a directory",
    "a directory in one that is missing": "No such file or directory",
    "a command of somebody else's": "there is a dockersave that is not from --install",
    "a command that is a directory": "there is a dockersave that is not from --install",
    "a copy of the binary": "there is a dockersave that is not from --install",
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals(binary: Path, place: Path, what: str) -> None:
    directory = place
    match what:
        case "a directory that others may write":
            place.chmod(0o1777)
        case "a directory of another user":
            os.chown(place, OTHER, OTHER)
        case "a file":
            directory = place / "file"
            directory.touch()
        case "a directory in one that is missing":
            directory = place / "missing" / "below"
        case "a command of somebody else's":
            (place / "dockersave").symlink_to("/bin/true")
        case "a command that is a directory":
            (place / "dockersave").mkdir()
        case _:
            shutil.copy(binary, place / "dockersave")
    before = sorted(place.iterdir())
    done = install(binary, directory)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr == f"dockersave: cannot install in {directory}: {REFUSALS[what]}\n" or (
        what == "a directory of another user" and REFUSALS[what] in done.stderr
    )
    assert sorted(place.iterdir()) == before


VOLUMES = {
    "full": (tmpfs("opt", ",mode=755,size=10m"), "No space left on device"),
    "read-only": (tmpfs("opt", ",mode=755,ro"), "Read-only file system"),
    "noexec": (tmpfs("opt", ",mode=755,noexec"), "mounted noexec"),
    "almost without inodes": (tmpfs("opt", ",mode=755,nr_inodes=20"), "No space left on device"),
}


@pytest.mark.parametrize("volume", VOLUMES)
def test_volumes_that_will_not_do(bare: BareHost, volume: str) -> None:
    prepare, reason = VOLUMES[volume]
    done = bare.run("--install", "/opt", prepare=prepare)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr == f"dockersave: cannot install in /opt: {reason}\n"
    assert leftovers(bare.root) == []


WRONG = [
    ["--install"],
    ["--install="],
    ["--install", "--help"],
    ["--install", "-"],
    ["--install", "/opt", "x"],
]


@pytest.mark.parametrize("words", WRONG)
def test_wrong_usage(bare: BareHost, words: list[str]) -> None:
    done = bare.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "dockersave: write --install DIRECTORY, with no other option\n"
    assert sorted(path.name for path in bare.root.iterdir()) == [COMMAND]


def test_the_installed_one_cannot_install(binary: Path, place: Path) -> None:
    assert install(binary, place).returncode == 0
    done = install(place / "dockersave", place / "new")
    assert done.returncode == 1
    assert "use dockersave-static" in done.stderr
    assert works(place)


CALLS = {
    "pwrite64": (1, 40),
    "openat": (10, 40),
    "write": (1,),
    "syncfs": (1,),
    "symlinkat": (1,),
    "renameat": (1,),
    "fsync": (1,),
    "unlinkat": (1, 10),
}


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_any_moment(binary: Path, place: Path, call: str) -> None:
    """The command is the old one or the new one; the next installation removes the other."""
    assert install(binary, place).returncode == 0
    for which in CALLS[call]:
        kill = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={which}"]
        # One process unpacks, so that which call comes when is always the same.
        command = ["taskset", "-c", "0", *strace(place.parent / "log", *kill)]
        command += [str(binary), "--install", str(place)]
        done = subprocess.run(command, capture_output=True)
        assert done.returncode == -signal.SIGKILL
        assert works(place)
        assert install(binary, place).returncode == 0
        assert len(leftovers(place)) == 1
        assert works(place)


def test_over_a_running_copy(binary: Path, place: Path) -> None:
    """It keeps its files; the next installation removes them."""
    assert install(binary, place).returncode == 0
    run = start(place / "dockersave", place, *WAITING)
    wait_until(lambda: "dockersave-static" in os.readlink(f"/proc/{run.pid}/exe"))
    assert install(binary, place).returncode == 0
    assert len(leftovers(place)) == 2
    assert works(place)
    run.terminate()
    end(run)
    assert install(binary, place).returncode == 0
    assert len(leftovers(place)) == 1


def test_a_start_there_spares_what_is_installed(binary: Path, place: Path) -> None:
    """Though its directory looks like one that a launcher left."""
    assert install(binary, place).returncode == 0
    assert end(start(binary, place, "--version")) == 0
    assert works(place)


def test_moved(binary: Path, place: Path) -> None:
    assert install(binary, place).returncode == 0
    moved = place.rename(place.with_name("moved"))
    done = subprocess.run([str(moved / "dockersave"), "--version"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("dockersave: cannot start ")
    assert done.stderr.endswith("Install it again, with dockersave-static --install.\n")
