"""What the static binary's start costs, as ratios taken in one run: `make bench-startup`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from tests.registry.real import Registries

ROOT = Path(__file__).parents[2]
BINARY = ROOT / "dockersave-static"
FLOOR = [os.path.realpath(sys.executable), "-I", "-S", "-c", "pass"]


def seconds(command: list[str], environment: Mapping[str, str]) -> float:
    """Return how long a command takes."""
    begin = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def interleaved(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Take turns, so that whatever else the machine does falls on all of them."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(run())
    return taken


def main() -> None:
    """Print a Markdown table."""
    registries = Registries()
    with tempfile.TemporaryDirectory() as folder:
        environment = {"TMPDIR": folder, "PATH": os.environ["PATH"]}
        registry = registries.get(tls=True)
        save = [registry.reference("docker"), "-o", f"{folder}/a.tar", "--quiet"]
        save += ["--ca-file", str(registry.ca_file)]
        module = [sys.executable, "-m", "dockersave", *save]

        def fresh(command: list[str]) -> Callable[[], float]:
            def run() -> float:
                Path(folder, "a.tar").unlink(missing_ok=True)
                return seconds(command, environment)

            return run

        try:
            starts = interleaved(
                {
                    "floor": lambda: seconds(FLOOR, environment),
                    "--version": lambda: seconds([str(BINARY), "--version"], environment),
                    "--help": lambda: seconds([str(BINARY), "--help"], environment),
                },
                40,
            )
            saves = interleaved({"venv": fresh(module), "binary": fresh([str(BINARY), *save])}, 15)
        finally:
            registries.close()
    floor = median(starts["floor"])
    ratio = {name: median(taken) / floor for name, taken in starts.items()}
    more = 1000 * (median(saves["binary"]) - median(saves["venv"]))
    print("| what | measured | goal |\n|---|---|---|")
    print(f"| size | {BINARY.stat().st_size / 1e6:.2f} MB | ≤ 10 MB |")
    print(f"| `{' '.join(['python3', *FLOOR[1:]])}` | {floor * 1000:.1f} ms | |")
    for name in ("--version", "--help"):
        print(f"| `dockersave-static {name}` | {ratio[name]:.1f} × that | ≤ 5 × |")
    print(f"| a small save over TLS, binary − virtual environment | {more:+.0f} ms | ≤ 150 ms |")


if __name__ == "__main__":
    main()
