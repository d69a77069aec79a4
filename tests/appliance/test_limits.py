"""Limits and odd moments: the launcher reports the problem, or continues, and leaves no files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliance.hosts import BareHost, leftovers, program_of
from tests.appliance.test_hosts import PROC, READ_ONLY, tmpfs
from tests.appliance.test_signals import WAITING, terminal, wait_until
from tests.pace import Stopwatch
from tests.processes import program

SAVE = ["127.0.0.1:1/x", "--retries", "0"]
USER = 1_000_000 + os.getpid()
"""Whose processes are those of one test: a limit counts all that run on this machine."""


def run(
    binary: Path, directory: Path, *words: str, prepare: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it in a process that prepares itself, and expect that it leaves nothing."""
    done = subprocess.run(
        [str(binary), *words],
        env={"TMPDIR": str(directory)},
        cwd=directory,
        preexec_fn=prepare,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert leftovers(directory) == []
    return done


def cannot_start(reason: str) -> str:
    return f"dockersave: cannot start: {reason}. See what limits there are (ulimit -a).\n"


def limit(kind: int, most: int, user: int = 0) -> Callable[[], None]:
    def prepare() -> None:
        if user:
            os.setgid(user)
            os.setuid(user)
        resource.setrlimit(kind, (most, most))

    return prepare


@pytest.mark.parametrize("most", [1, 500_000, 3_000_000])
def test_files_must_be_small(binary: Path, tmp_path: Path, most: int) -> None:
    done = run(binary, tmp_path, "--version", prepare=limit(resource.RLIMIT_FSIZE, most))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", cannot_start("File too large"))


@pytest.mark.parametrize("most", range(3, 16))
def test_few_descriptors(binary: Path, tmp_path: Path, most: int) -> None:
    done = run(binary, tmp_path, *SAVE, prepare=limit(resource.RLIMIT_NOFILE, most))
    assert "bug" not in done.stderr
    if done.returncode == 1:
        assert done.stderr == cannot_start("No file descriptors available")
    else:
        assert (done.returncode, most >= 11) == (5, True), done.stderr


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """Return a directory of an ordinary user, without root's privileges."""
    for directory in tmp_path.parents:
        directory.chmod(directory.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    os.chown(tmp_path, USER, USER)
    return tmp_path


def test_no_other_process_may_be_started(binary: Path, users: Path) -> None:
    done = run(binary, users, "--version", prepare=limit(resource.RLIMIT_NPROC, 1, USER))
    reason = "Resource temporarily unavailable"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", cannot_start(reason))


def test_one_other_process_may_be_started(binary: Path, users: Path) -> None:
    """None is left for unpacking the parts that only a save needs, so unpack them first."""
    done = run(binary, users, *SAVE, prepare=limit(resource.RLIMIT_NPROC, 2, USER))
    assert done.returncode == 5, done.stderr
    assert "refused" in done.stderr


def test_arguments_and_variables_are_as_many_as_can_be(probe: Path, tmp_path: Path) -> None:
    """The program gets some bytes more than the launcher."""

    def start(size: int) -> subprocess.CompletedProcess[bytes]:
        words = ["x" * 100_000] * (size // 100_000) + ["x" * (size % 100_000)]
        command = [str(probe), "arguments", *words]
        return subprocess.run(command, env={"TMPDIR": str(tmp_path)}, capture_output=True)

    least, most = 100_000, 8_000_000
    while most - least > 1:
        middle = (least + most) // 2
        try:
            start(middle)
            least = middle
        except OSError:  # the launcher itself cannot be started
            most = middle
    done = start(least)
    assert done.returncode == 1
    assert done.stderr.decode() == cannot_start("Argument list too long")
    assert leftovers(tmp_path) == []


def test_memory_is_given_back_where_it_did_not_help(bare: BareHost) -> None:
    """Places where nothing can be executed and files are few, before one that will do."""
    few = ",noexec,nr_inodes=20"
    places = "".join(tmpfs(place, few) for place in ("tmp", "var/tmp", "dev/shm"))
    prepare = READ_ONLY.format(PROC + places + tmpfs("run", ",noexec"))
    run = bare.start(*WAITING, "--working-dir", "/run", prepare=prepare)
    wait_until(lambda: program_of(run.pid) or run.poll() is not None)
    assert program_of(run.pid) is not None
    # The launcher's: the program has one more of each for a moment, while it loads it.
    files = [os.readlink(file) for file in Path(f"/proc/{run.pid}/fd").iterdir()]
    in_memory = [file for file in files if file.startswith("/memfd:")]
    run.terminate()
    run.communicate(timeout=20)
    assert len(in_memory) == len(set(in_memory)) > 10


def strace(log: Path, *options: str) -> list[str]:
    return [program("strace"), "-qq", "-o", str(log), *options]


def test_ctrl_c_before_the_program_exists(probe: Path, tmp_path: Path) -> None:
    """The key's signal reaches only the launcher, just before its fork."""
    log = tmp_path / "log"
    late = ["-e", "trace=socketpair,fork", "-e", "inject=fork:delay_enter=1000000"]
    # With one processor only the program is forked.
    command = ["taskset", "-c", "0", *strace(log, *late), str(probe), "sleep", "20"]
    watch = Stopwatch()
    _, code = terminal(
        [program("taskset"), *command[1:]],
        tmp_path,
        b"\x03",
        lambda: log.exists() and "socketpair" in log.read_text(),
    )
    assert watch.own < 10
    assert (code, leftovers(tmp_path)) == (130, [])


# Its second look for signals, behind the fork, takes its time.
LOOK = [
    "-e",
    "trace=rt_sigtimedwait,execve",
    "-e",
    "inject=rt_sigtimedwait:delay_enter=700000:when=2",
]


def looks(log: Path) -> bool:
    return log.exists() and log.read_text().count("rt_sigtimedwait(") == 2


def test_ctrl_c_arrives_once_however_late_the_launcher_looks(probe: Path, tmp_path: Path) -> None:
    """The key's signal reaches the program, too, which must not have noticed it by then."""
    count = [*strace(tmp_path / "log", *LOOK), str(probe), "count", str(int(signal.SIGINT))]
    output, code = terminal(count, tmp_path, b"\x03", lambda: looks(tmp_path / "log"))
    assert output.split()[-1] == "1"
    assert (code, leftovers(tmp_path)) == (0, [])


def test_ctrl_c_just_before_the_program_cannot_be_executed(probe: Path, tmp_path: Path) -> None:
    """No other place is tried then."""
    log = tmp_path / "log"
    refused = ["-f", *LOOK, "-e", "inject=execve:error=EACCES:when=1"]
    command = [*strace(log, *refused), str(probe), "sleep", "20"]
    _, code = terminal(command, tmp_path, b"\x03", lambda: looks(log))
    assert code == 130
    assert log.read_text().count("EACCES") == 1
    assert leftovers(tmp_path) == []


def test_stopped_while_the_program_cannot_be_executed(probe: Path, tmp_path: Path) -> None:
    """No other place is tried then."""
    log = tmp_path / "log"
    refused = ["-f", "-e", "trace=execve,exit_group", "-e", "inject=execve:error=EACCES:when=1"]
    late = ["-e", "inject=exit_group:delay_enter=800000"]
    run = subprocess.Popen(
        ["taskset", "-c", "0", *strace(log, *refused, *late), str(probe), "sleep", "20"],
        env={"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: log.exists() and "exit_group(127" in log.read_text())
    launcher = int(Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text())
    os.kill(launcher, signal.SIGTERM)
    assert run.communicate(timeout=20) == (b"", b"")
    assert run.returncode == 143
    assert log.read_text().count("exit_group(127") == 1
    assert leftovers(tmp_path) == []


def test_killed_while_it_removes(probe: Path, tmp_path: Path) -> None:
    """The next start continues, so the mark is removed last."""
    for which in (1, 2, 3):
        kill = ["-e", "trace=unlinkat", "-e", f"inject=unlinkat:signal=KILL:when={which}"]
        subprocess.run(
            [*strace(tmp_path / "log", *kill), str(probe), "exit", "0"],
            env={"TMPDIR": str(tmp_path)},
        )
        assert len(leftovers(tmp_path)) == 1
        assert run(probe, tmp_path, "exit", "0").returncode == 0


def test_what_cannot_be_removed_keeps_the_mark(probe: Path, tmp_path: Path) -> None:
    """The next start tries again."""
    refused = ["-e", "trace=unlinkat", "-e", "inject=unlinkat:error=EIO:when=1..2"]
    done = subprocess.run(
        [*strace(tmp_path / "log", *refused), str(probe), "exit", "0"],
        env={"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0
    assert len(leftovers(tmp_path)) == 1
    assert run(probe, tmp_path, "exit", "0").returncode == 0


def test_a_file_system_without_locks(probe: Path, tmp_path: Path) -> None:
    """It is not usable, and is not tried again and again."""
    log = tmp_path / "log"
    refused = ["-e", "trace=flock,mkdirat", "-e", "inject=flock:error=ENOLCK"]
    done = subprocess.run(
        [*strace(log, *refused), str(probe), "exit", "0"],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"({tmp_path}: No locks available; /tmp: No locks available; " in done.stderr
    assert log.read_text().count("mkdirat(") < 20
    assert leftovers(tmp_path) == []
