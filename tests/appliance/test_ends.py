"""Never without a word, never a leftover that stays: kills, crashes, and calls that are refused."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.appliance.hosts import leftovers, megabytes, program_of
from tests.appliance.test_launcher import run
from tests.appliance.test_limits import SAVE, strace
from tests.appliance.test_signals import WAITING, end, start, wait_until

WORDS = {
    signal.SIGKILL: "dockersave: the program was killed, most likely because memory ran out",
    signal.SIGSYS: "dockersave: the program was killed by a sandbox (seccomp)",
    signal.SIGSEGV: "dockersave: the program crashed (Segmentation fault): its files are damaged",
    signal.SIGBUS: "dockersave: the program crashed (Bus error): its files are damaged",
}


@pytest.mark.parametrize("number", WORDS)
def test_an_end_that_no_handler_could_report(
    probe: Path, tmp_path: Path, number: signal.Signals
) -> None:
    done = run(probe, tmp_path, "kill", str(int(number)))
    assert (done.returncode, leftovers(tmp_path)) == (128 + number, [])
    assert done.stderr.startswith(WORDS[number])
    assert len(done.stderr.splitlines()) == 1


def test_who_stops_it_knows_that(probe: Path, tmp_path: Path) -> None:
    launcher = start(probe, tmp_path, "sleep", "20")
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "ready\n"
    launcher.terminate()
    assert launcher.communicate(timeout=20) == ("", "")
    assert launcher.returncode == 143


def test_the_kernel_kills_the_program_for_the_want_of_memory(binary: Path, tmp_path: Path) -> None:
    launcher = start(binary, tmp_path, *WAITING)
    wait_until(lambda: program_of(launcher.pid))
    program = program_of(launcher.pid)
    assert program is not None
    os.kill(program, signal.SIGKILL)
    _, errors = launcher.communicate(timeout=20)
    assert errors.startswith(WORDS[signal.SIGKILL])
    assert (launcher.returncode, leftovers(tmp_path)) == (137, [])


@pytest.mark.parametrize("call", ["pwrite64", "openat", "mkdirat"])
def test_starts_that_are_killed_leave_one_directory(
    binary: Path, tmp_path: Path, call: str
) -> None:
    """What the one before has left is removed before more is unpacked."""
    kill = ["-e", f"trace={call},flock,unlinkat", "-e", f"inject={call}:signal=KILL:when=10+"]
    if call == "mkdirat":  # the first is the directory itself
        kill[-1] = f"inject={call}:signal=KILL:when=2+"
    for _ in range(4):
        done = subprocess.run(
            [*strace(tmp_path / "log", *kill), str(binary), "--version"],
            env={"TMPDIR": str(tmp_path)},
            capture_output=True,
        )
        assert done.returncode == -signal.SIGKILL
        assert len(leftovers(tmp_path)) <= 1
    assert end(start(binary, tmp_path, "--version")) == 0
    assert leftovers(tmp_path) == []


def refused(binary: Path, directory: Path, call: str) -> subprocess.CompletedProcess[str]:
    options = ["-f", "-e", f"trace={call}", "-e", f"inject={call}:error=EPERM"]
    return subprocess.run(
        [*strace(directory / "log", *options), str(binary), *SAVE],
        env={"TMPDIR": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("call", ["prctl", "socketpair", "sched_getaffinity", "setpgid"])
def test_a_sandbox_refuses_what_can_be_done_without(
    binary: Path, tmp_path: Path, call: str
) -> None:
    """It comes as far as the refused connection, with all that a save needs."""
    done = refused(binary, tmp_path, call)
    assert (done.returncode, leftovers(tmp_path)) == (5, []), done.stderr
    assert "connection refused" in done.stderr
    assert "EPERM" in (tmp_path / "log").read_text()


def test_a_sandbox_refuses_to_list_directories(binary: Path, tmp_path: Path) -> None:
    """No directory is made that could not be removed."""
    done = refused(binary, tmp_path, "getdents64")
    assert (done.returncode, leftovers(tmp_path)) == (1, [])
    assert done.stderr.startswith(
        f"dockersave: no place to unpack {megabytes(binary)} MB "
        f"({tmp_path}: cannot be listed: Operation not permitted; "
    )
    assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_removed_is_named(probe: Path, tmp_path: Path) -> None:
    failing = ["-e", "trace=getdents64", "-e", "inject=getdents64:error=EIO:when=3+"]
    done = subprocess.run(
        [*strace(tmp_path / "log", *failing), str(probe), "exit", "3"],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    (home,) = leftovers(tmp_path)
    said = f"dockersave: cannot remove {tmp_path / home}: I/O error\n"
    assert (done.returncode, done.stderr) == (3, said)
    assert run(probe, tmp_path, "exit", "0").returncode == 0
    assert leftovers(tmp_path) == []
