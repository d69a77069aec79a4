"""Measure, print a table, and write it down.

python -m tests.bench [--quick] [--rounds N] [--write] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.file_systems import flattening, updating
from tests.bench.lines import as_used, capped, resets, versus
from tests.bench.memory import images, memory, windows
from tests.bench.peers import CURRENT, peers
from tests.bench.ranges import without_ranges
from tests.bench.rows import BASIC, Bench, Row
from tests.bench.startup import RUNS, startup
from tests.bench.table import chart, lines, markdown
from tests.generated import write_between

_ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    **BASIC,
    "startup": startup,
    "line-capped": capped,
    "line-used": as_used,
    "line-resets": resets,
    "line-peers": versus,
    "rootfs": flattening,
    "update": updating,
    "ranges": without_ranges,
    "memory": memory,
    "memory-windows": windows,
    "memory-images": images,
}
_HERE = Path(__file__).parent
_README = _HERE.parent.parent / "README.md"
ALL, LINES = "all figures: python -m tests.bench", "real connections: python -m tests.bench"
"""Marks: of all figures, in README.md beside this file; and of the table in the project's."""
_VERSION = re.compile(r"\d+(\.\d+)+")
_MEMORY = Path("/dev/shm")


def main() -> int:
    """Run the requested measurements; the exit code does not depend on the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, one round")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write README.md, its chart and the table in the project's README",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="NAME",
        help=f"rows whose names begin so, of {', '.join(_ROWS)}",
    )
    arguments = parser.parse_args()
    wanted = [name for name in _ROWS if name.startswith(tuple(arguments.only))]
    if not wanted:
        parser.error(f"no such rows: {', '.join(arguments.only)}")
    folder = Path(tempfile.mkdtemp(prefix="dockersave-bench-", dir=_memory()))
    scale, rounds = (10, 1) if arguments.quick else (1, arguments.rounds)
    rows: list[Row] = []
    bench = Bench(folder, rounds, scale)
    try:
        for name in wanted:
            for row in _ROWS[name](bench):
                rows.append(row)
                print(markdown([row], "").splitlines()[-1], flush=True)
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
    versions = _versions()
    text = markdown(rows, _about(rounds, versions))
    print(f"\n{text}")
    if arguments.write:
        write_between(ALL, text, _HERE / "README.md")
        current = [row for row in rows if versions.get(row.against) == CURRENT.get(row.against, "")]
        if current:
            write_between(LINES, lines(current, versions), _README)
            (_HERE / "results.svg").write_text(chart(current))
    return 0


def _memory() -> Path | None:
    return _MEMORY if os.access(_MEMORY, os.W_OK) else None


def _versions() -> dict[str, str]:
    """The versions of the programs that it is compared with."""
    commands = [["skopeo", "--version"], ["curl", "--version"]]
    commands += [[name, "version"] for name in peers("", "") if name != "skopeo"]
    versions = {}
    for command in commands:
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        version = _VERSION.search(shown)
        versions[command[0]] = version[0] if version else "of an unknown version"
    return versions


def _about(rounds: int, versions: Mapping[str, str]) -> str:
    programs = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {len(os.sched_getaffinity(0))} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, "
        f"{programs}, all output on a tmpfs. Ratios are medians of "
        f"{rounds} interleaved pairs, except those to bare Python: there the fastest of "
        f"{RUNS * rounds} runs counts. Smaller is better unless said otherwise."
    )


if __name__ == "__main__":
    sys.exit(main())
