"""Signals, process 1, every kind of exit: the right exit code, once, and no files left."""

from __future__ import annotations

import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.appliance.hosts import BareHost, leftovers, program_of
from tests.pace import Stopwatch

WAITING = ["127.0.0.1:1/x", "--wait", "60", "--quiet", "-o", "x.tar"]
"""Arguments with which the binary is busy until it is stopped."""
FATAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(binary: Path, directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(binary), *arguments],
        env={"TMPDIR": str(directory)},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # no terminal, as for an init script
    )


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def end(run: subprocess.Popen[str]) -> int:
    run.communicate(timeout=30)
    return run.returncode


def stop_at(binary: Path, directory: Path, number: signal.Signals, delay: float) -> None:
    """Stop a run after a delay in seconds, and check what is left."""
    run = start(binary, directory, *WAITING)
    time.sleep(delay)
    run.send_signal(number)
    assert end(run) == 128 + number, f"{number.name} after {delay:.4f} s"
    assert leftovers(directory) == [], f"{number.name} after {delay:.4f} s"


def test_signals_at_random_moments(binary: Path, tmp_path: Path) -> None:
    chance = random.Random(4)
    for _ in range(12):
        stop_at(binary, tmp_path, chance.choice(FATAL), chance.uniform(0, 0.3))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_signals_at_200_random_moments(binary: Path, tmp_path: Path) -> None:
    chance = random.Random()
    for _ in range(200):
        stop_at(binary, tmp_path, chance.choice(FATAL), chance.uniform(0, 0.3))


OTHERS = ["QUIT", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "XCPU", "ABRT"]
OTHERS += ["RTMIN", "RTMAX"]


@pytest.mark.parametrize("number", [signal.Signals[f"SIG{name}"] for name in OTHERS])
def test_other_signals_end_it_cleanly(binary: Path, tmp_path: Path, number: signal.Signals) -> None:
    stop_at(binary, tmp_path, number, 0.5)


def test_a_signal_ignored_by_the_caller_stays_ignored(probe: Path, tmp_path: Path) -> None:
    command = ["sh", "-c", 'trap "" HUP; exec "$0" sleep 1', str(probe)]
    run = subprocess.Popen(
        command, env={"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, start_new_session=True
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGHUP)
    run.communicate()
    assert (run.returncode, leftovers(tmp_path)) == (0, [])


@pytest.mark.parametrize("to_group", [False, True], ids=["the process", "the process group"])
def test_a_signal_arrives_once(probe: Path, tmp_path: Path, to_group: bool) -> None:
    run = start(probe, tmp_path, "count", str(int(signal.SIGTERM)))
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    (os.killpg if to_group else os.kill)(run.pid, signal.SIGTERM)
    assert run.communicate(timeout=20)[0] == "1\n"


def terminal(
    command: list[str],
    directory: Path,
    keys: bytes,
    ready: Callable[[], bool] = lambda: False,
) -> tuple[str, int]:
    """Run a command on a terminal, and press keys once it is ready; return output and exit code.

    Args:
        command: what is run.
        directory: its TMPDIR.
        keys: what is pressed; none hang up.
        ready: whether it is, if it does not say so.
    """
    child, descriptor = pty.fork()
    if child == 0:
        os.execve(command[0], command, {"TMPDIR": str(directory), "TERM": "dumb"})
    output = b""
    pressed = False
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.05)[0]:
            try:
                output += os.read(descriptor, 4096)
            except OSError:
                break
        if not pressed and (b"ready" in output or ready()):
            pressed = True
            if not keys:
                break
            os.write(descriptor, keys)
    os.close(descriptor)
    return output.decode(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_ctrl_c_on_a_terminal_arrives_once(probe: Path, tmp_path: Path) -> None:
    command = [str(probe), "count", str(int(signal.SIGINT))]
    output, code = terminal(command, tmp_path, b"\x03")
    assert re.search(r"(\d+)\s*$", output).group(1) == "1"  # type: ignore[union-attr]
    assert (code, leftovers(tmp_path)) == (0, [])


@pytest.mark.parametrize(("key", "code"), [(b"\x03", 130), (b"\x1c", 131)], ids=["C-c", "C-\\"])
def test_keys_end_it(probe: Path, tmp_path: Path, key: bytes, code: int) -> None:
    _, ended = terminal([str(probe), "sleep", "20"], tmp_path, key)
    assert (ended, leftovers(tmp_path)) == (code, [])


def test_the_terminal_is_gone(probe: Path, tmp_path: Path) -> None:
    """Only the first process of its session is told: the launcher, after `ssh -t HOST COMMAND`."""
    watch = Stopwatch()
    _, code = terminal([str(probe), "sleep", "20"], tmp_path, b"")
    assert (code, leftovers(tmp_path)) == (129, [])
    assert watch.own < 10


def test_a_timer_of_the_callers_on_a_terminal(probe: Path, tmp_path: Path) -> None:
    """The kernel sends its signal like a key's, but only to the launcher."""
    script = "import os, signal, sys; signal.alarm(1); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", script, str(probe), "sleep", "20"]
    _, code = terminal(command, tmp_path, b"\n")
    assert (code, leftovers(tmp_path)) == (128 + signal.SIGALRM, [])


@pytest.mark.parametrize("code", [0, 1, 7, 77, 255])
def test_exit_codes(probe: Path, tmp_path: Path, code: int) -> None:
    run = start(probe, tmp_path, "exit", str(code))
    assert (end(run), leftovers(tmp_path)) == (code, [])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_ends_of_the_program_by_a_signal(probe: Path, tmp_path: Path, number: int) -> None:
    run = start(probe, tmp_path, "kill", str(int(number)))
    assert (end(run), leftovers(tmp_path)) == (128 + number, [])


def gone(process: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return True


def test_kill_takes_the_program_along_and_the_next_start_sweeps(
    binary: Path, tmp_path: Path
) -> None:
    run = start(binary, tmp_path, *WAITING)
    wait_until(lambda: program_of(run.pid))
    program = program_of(run.pid)
    assert program is not None
    run.kill()
    assert end(run) == -signal.SIGKILL
    wait_until(lambda: gone(program))
    assert len(leftovers(tmp_path)) == 1
    strange = tmp_path / "dockersave-notours"
    strange.mkdir()
    assert end(start(binary, tmp_path, "--version")) == 0
    assert leftovers(tmp_path) == []
    assert strange.exists()


def test_sweeping_spares_the_living(binary: Path, tmp_path: Path) -> None:
    run = start(binary, tmp_path, *WAITING)
    wait_until(lambda: program_of(run.pid))
    for _ in range(3):
        assert end(start(binary, tmp_path, "--version")) == 0
    assert len(leftovers(tmp_path)) == 1
    run.terminate()
    assert end(run) == 143
    assert leftovers(tmp_path) == []


def many_starts(binary: Path, directory: Path, count: int) -> None:
    def once(_: int) -> tuple[int, str]:
        done = subprocess.run(
            [str(binary), "--version"],
            env={"TMPDIR": str(directory)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stderr

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(once, range(count))) == {(0, "")}
    assert leftovers(directory) == []


def test_starts_at_once(binary: Path, tmp_path: Path) -> None:
    many_starts(binary, tmp_path, 48)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_1000_starts(binary: Path, tmp_path: Path) -> None:
    many_starts(binary, tmp_path, 1000)


NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")


@pytest.mark.parametrize("number", FATAL)
def test_process_1_ends_by_signals(bare: BareHost, number: signal.Signals) -> None:
    """Process 1 has no default actions, so it must take signals itself."""
    unshare = subprocess.Popen(
        [
            "/usr/bin/unshare",
            *NAMESPACES,
            "/usr/sbin/chroot",
            str(bare.root),
            "/dockersave-static",
            "127.0.0.1:1/x",
            "--wait",
            "60",
            "--quiet",
        ],
        env={},
    )

    def process_1() -> list[str]:
        path = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        return path.read_text().split()

    wait_until(process_1)
    launcher = int(process_1()[0])
    wait_until(lambda: Path(f"/proc/{launcher}/task/{launcher}/children").read_text())
    time.sleep(0.5)
    os.kill(launcher, number)
    assert unshare.wait(20) == 128 + number
    assert leftovers(bare.root) == []


def test_process_1_reaps_orphans(tmp_path: Path, probe: Path) -> None:
    host = BareHost(tmp_path / "root", probe)
    done = host.run("orphan", namespaces=NAMESPACES)
    assert (done.stdout, done.stderr, done.returncode) == ("reaped\n", "", 0)


def test_process_1_in_bubblewrap(binary: Path) -> None:
    command = ["bwrap", "--unshare-all", "--as-pid-1", "--ro-bind", str(binary), "/dockersave"]
    command += ["--tmpfs", "/tmp", "--cap-add", "ALL", "/dockersave", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"dockersave \d", done.stdout)
