"""Measure, print a table, and write it down.

python -m tests.bench [--quick] [--rounds N] [--write] [ROW ...]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.rows import ROWS, Bench, Row
from tests.bench.table import chart, markdown

_HERE = Path(__file__).parent
_MEMORY = Path("/dev/shm")


def main() -> int:
    """Measure what was asked for; the exit code does not judge the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, one round")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command")
    parser.add_argument("--write", action="store_true", help="write results.md and results.svg")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="dockersave-bench-", dir=_memory()))
    scale, rounds = (10, 1) if arguments.quick else (1, arguments.rounds)
    rows: list[Row] = []
    bench = Bench(folder, rounds, scale)
    try:
        for name in arguments.rows or ROWS:
            for row in ROWS[name](bench):
                rows.append(row)
                print(markdown([row], "").splitlines()[-1], flush=True)
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
    text = markdown(rows, _about(rounds))
    print(f"\n{text}")
    if arguments.write:
        (_HERE / "results.md").write_text(text)
        (_HERE / "results.svg").write_text(chart(rows))
    return 0


def _memory() -> Path | None:
    return _MEMORY if os.access(_MEMORY, os.W_OK) else None


def _about(rounds: int) -> str:
    versions = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
        for command in (["skopeo", "--version"], ["curl", "--version"])
    ]
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {len(os.sched_getaffinity(0))} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, {versions[0]}, "
        f"{' '.join(versions[1].split()[:2])}, all output on a tmpfs. Ratios are medians of "
        f"{rounds} interleaved pairs; smaller is better unless said otherwise."
    )


if __name__ == "__main__":
    sys.exit(main())
