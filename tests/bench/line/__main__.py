"""`python -m tests.bench.line`: a line for trying things out by hand."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from tests.bench.line import Shape, line, mbit


def main(arguments: Sequence[str] | None = None) -> None:
    """Lay a line until standard input ends; print the port first, and the events in the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.line", description="Lay a line.")
    add = parser.add_argument
    add("port", type=int, help="the server's, on 127.0.0.1")
    add("--rtt", type=float, default=0.0, metavar="MS", help="round trip")
    add("--shared", type=float, default=0.0, metavar="MBIT/S", help="for all connections")
    add("--each", type=float, default=0.0, metavar="MBIT/S", help="for each connection")
    add("--reset", default="", metavar="LO-HI", help="MB after which connections are reset")
    add("--window", type=int, default=14_600, metavar="BYTES", help="first window; 0: none")
    add("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    low, _, high = given.reset.partition("-")
    reset = (float(low) * 1e6, float(high or low) * 1e6) if low else None
    shape = Shape(
        given.rtt / 1e3, mbit(given.shared), mbit(given.each), reset, given.window, given.seed
    )
    with line(given.port, shape) as shaped, suppress(KeyboardInterrupt):
        print(shaped.port, flush=True)
        sys.stdin.read()
    for event in shaped.events:
        print(json.dumps(asdict(event)))


if __name__ == "__main__":
    main()
