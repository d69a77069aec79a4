"""How long it takes from the start of the process to its first request, as a server sees it."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from tests.bench.measure import ENVIRONMENT, Command, dockersave, empty
from tests.bench.rows import Bench, Row

FLOOR: Command = [os.path.realpath(sys.executable), "-I", "-S", "-c", "pass"]
_PATIENCE = 60.0
"""Seconds until a process that asks for nothing is given up."""
RUNS = 4
"""For each round. The fastest run counts: whatever else the machine does only adds."""


def startup(bench: Bench) -> Iterator[Row]:
    """From exec to the first request over HTTP and TLS, and all of `--version`."""
    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    front.load_cert_chain(bench.registries.certificate_file)
    runs: dict[str, Callable[[], float]] = {
        "floor": partial(_whole, bench, FLOOR),
        "--version": partial(_whole, bench, dockersave("--version")),
        "first request, HTTP": partial(_asking, bench, None),
        "first request, TLS": partial(_asking, bench, front),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(RUNS * bench.rounds):
        for name, run in runs.items():
            taken[name].append(run())
    best = {name: min(each) for name, each in taken.items()}
    floor = best.pop("floor")
    for name, seconds in best.items():
        note = f"{1000 * seconds:.0f} ms against {1000 * floor:.0f} ms"
        goal = 2.0 if name == "--version" else 6.0
        yield Row(name, "python3 -I -S -c pass", seconds / floor, goal, note=note)


def _start(bench: Bench, command: Command) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    words = [str(word) for word in command]
    return subprocess.Popen(
        words, cwd=bench.work, env=ENVIRONMENT, stdin=null, stdout=null, stderr=null
    )


def _whole(bench: Bench, command: Command) -> float:
    empty(bench.work)
    begun = time.perf_counter()
    if _start(bench, command).wait():
        raise RuntimeError(f"{command} failed")
    return time.perf_counter() - begun


def _asking(bench: Bench, front: ssl.SSLContext | None) -> float:
    empty(bench.work)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(_PATIENCE)
        image = f"127.0.0.1:{listening.getsockname()[1]}/bench"
        trust = ("--ca-file", bench.registries.ca_file) if front else ("--insecure",)
        begun = time.perf_counter()
        process = _start(bench, dockersave("-q", *trust, "-o", "ours.tar", image))
        try:
            link, _ = listening.accept()
            link.settimeout(_PATIENCE)
            with front.wrap_socket(link, server_side=True) if front else link as asked:
                request = asked.recv(4)
            taken = time.perf_counter() - begun
        finally:
            process.kill()
            process.wait()
    if request not in (b"GET ", b"HEAD"):
        raise RuntimeError(f"no request came, but {request!r}")
    return taken
