"""What the static binary's start costs, as ratios taken in one run: `make bench-startup`."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from tests.appliance.hosts import temporary_space
from tests.appliance.memory import MIB, least
from tests.images import big_image
from tests.registry.real import Registries

ROOT = Path(__file__).parents[2]
BINARY = ROOT / "dockersave-static"
WORK = ROOT / "build" / "out" / "static"
FLOOR = [os.path.realpath(sys.executable), "-I", "-S", "-c", "pass"]
ROUNDS = 40
REFUSED = ["127.0.0.1:1/x", "--retries", "0", "--quiet"]
"""Arguments with which it loads all that a save needs, and ends with code 5."""
PAYLOADS = {
    "one stream with zstd -22, all of it at each start": ["22"],
    "the same with zstd -3": ["3"],
    "start with zstd -22, the rest when asked for": ["22", "22"],
    "**start with zstd -18, the rest with zstd -22 when asked for**": ["18", "22"],
    "start with zstd -1, the rest with zstd -22": ["1", "22"],
}
"""Payloads for the launcher, as accepted by `build/stage.py pack`."""


def seconds(command: list[str], environment: Mapping[str, str], code: int = 0) -> float:
    """Return how long a command takes that ends with an exit code."""
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True)
    taken = time.perf_counter() - begin
    if done.returncode != code:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr.decode()}")
    return taken


def interleaved(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Take turns, so that other load on the machine affects all of them."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(run())
    return taken


def payloads(folder: Path) -> dict[str, Path]:
    """Pack what could be packed; return the files by what is in them."""
    packed: dict[str, Path] = {}
    stage = [str(WORK / "venv" / "bin" / "python"), str(ROOT / "build" / "stage.py"), "pack"]
    for number, (name, levels) in enumerate(PAYLOADS.items()):
        packed[name] = folder / f"payload-{number}"
        files = [str(WORK / "launcher"), str(WORK / "files.tar"), str(packed[name])]
        seconds([*stage, *files, *levels], os.environ)
    return packed


def starts(folder: Path, environment: Mapping[str, str]) -> None:
    """Print what starts cost: of the binary, and of what could be packed."""
    packed = payloads(folder)

    def run(words: list[str], code: int = 0) -> Callable[[], float]:
        return lambda: seconds(words, environment, code)

    runs = {
        "floor": run(FLOOR),
        "--version": run([str(BINARY), "--version"]),
        "--help": run([str(BINARY), "--help"]),
    }
    subprocess.run([str(BINARY), "--install", str(folder / "bin")], check=True)
    runs["--version, installed"] = run([str(folder / "bin" / "dockersave"), "--version"])
    for name, path in packed.items():
        runs[f"{name}: start"] = run([str(path), "--version"])
        runs[f"{name}: save"] = run([str(path), *REFUSED], 5)
    taken = {name: median(times) for name, times in interleaved(runs, ROUNDS).items()}
    floor = taken["floor"]
    print("| what | measured | goal |\n|---|---|---|")
    print(f"| size | {BINARY.stat().st_size / 1e6:.2f} MB | ≤ 7.5 MB |")
    print(f"| `{' '.join(['python3', *FLOOR[1:]])}` | {floor * 1000:.1f} ms | |")
    for name, goal in (("--version", 3.5), ("--help", 5), ("--version, installed", 1.6)):
        print(f"| `dockersave-static {name}` | {taken[name] / floor:.1f} × that | ≤ {goal} × |")
    with tempfile.TemporaryDirectory() as empty:
        most = temporary_space(BINARY, Path(empty))
    print(f"| temporary space | {most / 1e6:.1f} MB | ≤ 18 MB |")
    print("\n| payload | MB | `--version` | ready to save |\n|---|---|---|---|")
    for name, path in packed.items():
        start, save = (taken[f"{name}: {what}"] / floor for what in ("start", "save"))
        print(f"| {name} | {path.stat().st_size / 1e6:.1f} | {start:.1f} | {save:.1f} |")


def save(folder: Path, environment: Mapping[str, str]) -> None:
    """Print what a whole save costs more than with the same program unpacked."""
    registries = Registries()
    registry = registries.get(tls=True)
    archive = folder / "a.tar"
    words = [registry.reference("docker"), "-o", str(archive), "--quiet"]
    words += ["--ca-file", str(registry.ca_file)]

    def fresh(command: list[str]) -> Callable[[], float]:
        def run() -> float:
            archive.unlink(missing_ok=True)
            return seconds([*command, *words], environment)

        return run

    runs = {"venv": fresh([sys.executable, "-m", "dockersave"]), "binary": fresh([str(BINARY)])}
    try:
        taken = interleaved(runs, ROUNDS // 2)
    finally:
        registries.close()
    more = 1000 * (median(taken["binary"]) - median(taken["venv"]))
    print("\n| what | measured | goal |\n|---|---|---|")
    print(f"| a small save over TLS, binary − virtual environment | {more:+.0f} ms | ≤ 150 ms |")


def memory(folder: Path) -> None:
    """Print with how much memory, at least, 150 MiB are saved."""
    registries = Registries()
    registry = registries.get(tls=True)
    registries.push({"big": big_image(3, 50 * MIB)})
    words = [registry.reference("big"), "-o", "a.tar", "--quiet"]
    words += ["--ca-file", str(registry.ca_file)]
    in_memory = folder / "memory"
    in_memory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", in_memory], check=True)
    installed = folder / "bin" / "dockersave"
    try:
        for what, command, place, goal in (
            ("with TMPDIR in memory", BINARY, in_memory, 32),
            ("with TMPDIR on a disk", BINARY, folder, 20),
            ("installed", installed, folder, 20),
        ):
            most = least([str(command), *words], folder, {"TMPDIR": str(place)})
            print(f"| memory for 150 MiB, {what} | {most} MiB | ≤ {goal} MiB |")
    finally:
        subprocess.run(["umount", "--lazy", in_memory], check=True)
        registries.close()


def main() -> None:
    """Print Markdown tables."""
    today = datetime.datetime.now(datetime.UTC).date()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {today}, {ROUNDS} rounds\n")
    with tempfile.TemporaryDirectory() as folder:
        environment = {"TMPDIR": folder, "PATH": os.environ["PATH"]}
        starts(Path(folder), environment)
        save(Path(folder), environment)
        memory(Path(folder))


if __name__ == "__main__":
    main()
