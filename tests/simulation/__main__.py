"""`python -m tests.simulation SEED [COUNT]`: repeat a run and say what happens, or run many."""

from __future__ import annotations

import argparse
import time

from tests.simulation.run import Plan, run, run_all


def main() -> None:
    """Repeat one, or run many."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1, help="run so many, from there on")
    arguments = parser.parse_args()
    if arguments.count == 1:
        print(Plan.of(arguments.seed))
        print(run(arguments.seed, say=print))
        return
    begun = time.monotonic()
    print(run_all(range(arguments.seed, arguments.seed + arguments.count)))
    print(f"{time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
