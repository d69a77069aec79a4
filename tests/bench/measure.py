"""Running commands and measuring them: wall time, memory, disk, and ratios pair by pair."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Command = Sequence[str | Path]


# What a host sets to be trusted differently would be measured, too. Bytecode is written once, as an
# installer does.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")
} | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a command took.

    Parameters:
        wall: seconds.
        cpu: seconds of user and system time, children included.
        output: what it printed.
        written: bytes for the disk; those for a tmpfs do not count.
    """

    wall: float
    cpu: float
    output: str
    written: int


def run(command: Command, folder: Path, *, is_kept: bool = False) -> Run:
    """Run a command in a folder.

    Parameters:
        command: the command.
        folder: where.
        is_kept: whether the folder stays as it is, instead of being made empty first.

    Raises:
        RuntimeError: it failed; the message has what it printed.
    """
    if not is_kept:
        empty(folder)
    begun = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output, errors = process.stdout.read(), process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begun
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {errors[-2000:]}")
    return Run(wall, used.ru_utime + used.ru_stime, output, used.ru_oublock * 512)


def peak_memory(command: Command, folder: Path) -> int:
    """The largest resident set of a command, in bytes.

    It is started by a small program: what is forked from a large one counts that one's memory.
    """
    note = folder.parent / "memory"
    run(["/usr/bin/time", "-f", "%M", "-o", note, *command], folder)
    return int(note.read_text()) * 1024


def empty(folder: Path) -> None:
    """Make a folder empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def dockersave(*arguments: str | Path) -> Command:
    """The command line that runs dockersave from this tree."""
    return [sys.executable, "-m", "dockersave", *arguments]


def module(name: str, *arguments: str | Path) -> Command:
    """The command line that runs a module of the benchmarks."""
    return [sys.executable, "-m", f"tests.bench.{name}", *arguments]


def inner(measured: Run) -> dict[str, float]:
    """What a command measured of itself, start-up not counted."""
    found: dict[str, float] = json.loads(measured.output)
    return found


def compare(
    ours: Callable[[], float], theirs: Sequence[Callable[[], float]], rounds: int
) -> list[tuple[float, float, float]]:
    """Run ours and each of theirs in turn, and again.

    Returns:
        For each of theirs the median of ours, of theirs, and of the ratios pair by pair.
    """
    pairs: list[list[tuple[float, float]]] = [[] for _ in theirs]
    for _ in range(rounds):
        mine = ours()
        for number, other in enumerate(theirs):
            pairs[number].append((mine, other()))
    return [
        (
            statistics.median(a for a, _ in pair),
            statistics.median(b for _, b in pair),
            statistics.median(a / b for a, b in pair),
        )
        for pair in pairs
    ]


def peak_disk(command: Command, folder: Path) -> int:
    """The most that a folder held, in bytes on the disk, while a command ran in it."""
    empty(folder)
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    most = 0
    while process.poll() is None:
        most = max(most, sum(_blocks(path) for path in folder.rglob("*")))
        time.sleep(0.005)
    if process.returncode:
        raise RuntimeError(f"{command} failed")
    return max(most, sum(_blocks(path) for path in folder.rglob("*")))


def _blocks(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0
