"""`--install DIR`: the program is kept in a directory, and starts without being unpacked."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.appliance.test_limits import strace


def ran(*command: str | Path, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {"TMPDIR": str(directory)}
    return subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def target(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir(0o755)
    return directory


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    directory = tmp_path / "tmp"
    directory.mkdir()
    return directory


def test_it_starts_from_there_and_unpacks_nothing(
    binary: Path, target: Path, temporary: Path
) -> None:
    done = ran(binary, "--install", target, directory=temporary)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    command = target / "dockersave"
    temporary.chmod(0)
    for arguments, code in ((["--version"], 0), (["--no-such-option"], 2)):
        expected = ran(binary, *arguments, directory=target.parent)
        found = ran(command, *arguments, directory=temporary)
        assert (found.returncode, found.stdout) == (code, expected.stdout)
    refused = ran(command, "-o", target / "x.tar", "127.0.0.1:1/x", directory=temporary)
    assert refused.returncode == 5, "a save needs TLS, which is there as well"
    assert "connection refused" in refused.stderr
    assert len(sorted(os.listdir(target))) == 2


def test_again_replaces_it(binary: Path, target: Path, temporary: Path) -> None:
    for _ in range(2):
        assert ran(binary, f"--install={target}", directory=temporary).returncode == 0
        assert ran(target / "dockersave", "--version", directory=temporary).returncode == 0
        assert len(sorted(os.listdir(target))) == 2


def test_a_directory_is_made(binary: Path, target: Path, temporary: Path) -> None:
    assert ran(binary, "--install", target / "new", directory=temporary).returncode == 0
    assert ran(target / "new" / "dockersave", "--version", directory=temporary).returncode == 0


def test_what_others_could_change_is_refused(binary: Path, target: Path, temporary: Path) -> None:
    target.chmod(0o777)
    done = ran(binary, "--install", target, directory=temporary)
    assert (done.returncode, sorted(os.listdir(target))) == (1, [])
    assert done.stderr.startswith(f"dockersave: cannot install in {target}: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_a_command_of_somebody_elses_is_kept(
    binary: Path, target: Path, temporary: Path, kind: str
) -> None:
    theirs = target / "dockersave"
    if kind == "file":
        theirs.write_text("mine")
    elif kind == "link":
        theirs.symlink_to("/bin/true")
    else:
        theirs.mkdir()
    done = ran(binary, "--install", target, directory=temporary)
    assert (done.returncode, sorted(os.listdir(target))) == (1, ["dockersave"])
    assert done.stderr == (
        f"dockersave: cannot install in {target}: "
        "there is a dockersave that is not from --install\n"
    )


def test_a_file_is_no_directory(binary: Path, target: Path, temporary: Path) -> None:
    place = target / "file"
    place.touch()
    done = ran(binary, "--install", place, directory=temporary)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_a_directory_has_to_be_named(binary: Path, temporary: Path) -> None:
    for arguments in (["--install"], ["--install="], ["--install", "a", "b"]):
        done = ran(binary, *arguments, directory=temporary)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("dockersave: use it as --install DIRECTORY")


@pytest.mark.parametrize(
    ("call", "nth"),
    [("mkdirat", 2), ("openat", 20), ("pwrite64", 5), ("symlinkat", 1), ("renameat", 1)],
)
def test_killed_at_any_moment_the_one_before_is_there(
    binary: Path, target: Path, temporary: Path, call: str, nth: int
) -> None:
    assert ran(binary, "--install", target, directory=temporary).returncode == 0
    before = os.readlink(target / "dockersave")
    kill = ["-f", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={nth}+"]
    tracing = strace(temporary / "log", *kill)
    done = ran(*tracing, binary, "--install", target, directory=temporary)
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL, 1), done
    after = os.readlink(target / "dockersave")
    assert after == before or call == "renameat", "the rename itself comes last"
    assert ran(target / "dockersave", "--version", directory=temporary).returncode == 0
    assert ran(binary, "--install", target, directory=temporary).returncode == 0
    assert len(sorted(os.listdir(target))) == 2, "what was begun is removed"
