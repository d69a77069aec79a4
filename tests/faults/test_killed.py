"""A run that is killed, wherever it is: the next one makes the same archive of what there is."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.saving import fetched, run, settle, sha256, start
from tests.images import Store, image, random_layer
from tests.pace import until
from tests.registry.simulator import Fault, Simulator

MIB = 1 << 20
LAYERS = [random_layer(size * MIB, size) for size in (40, 12, 8)] + [
    random_layer(20_000, seed) for seed in range(100, 110)
]
SMALL = [random_layer(2_000_000, seed, "gzip") for seed in range(3)]
TINY = [random_layer(400_000, seed, "gzip") for seed in range(3)]
"""What xz takes as long for as the others for `SMALL`."""
STORE = Store.of({"sample": image(LAYERS), "small": image(SMALL), "tiny": image(TINY)})
SIZE = sum(layer.size for layer in LAYERS)


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """A slow registry."""
    with Simulator(STORE) as registry:
        registry.faults.add(Fault.rate(6_000_000, on="blob"))
        yield registry


def kill_and_go_on(
    server: Simulator, folder: Path, amount: float, right: str, *arguments: str
) -> tuple[int, int]:
    """Kill a run once this many bytes were sent (negative: at once), then run to the end.

    Returns:
        How many bytes of layers the first run has read, and how many were sent to the second.
    """
    folder.mkdir()
    before = fetched(server)
    command = ["-o", "image.tar", *arguments]
    process = start(server, *command, cwd=folder)
    until(lambda: process.poll() is not None or fetched(server) - before >= amount)
    process.send_signal(signal.SIGSTOP)
    read = fetched(server) - before - unread(server)
    process.kill()
    process.communicate()
    settle(server)
    between = fetched(server)
    done = run(server, *command, cwd=folder)
    assert done.code == 0, done.err
    assert sha256(folder / "image.tar") == right
    assert [path.name for path in folder.iterdir()] == ["image.tar"]
    return read, fetched(server) - between


def unread(server: Simulator) -> int:
    """Bytes in the kernel between a registry and its reader (proc_net_tcp)."""
    port = f":{int(server.host.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    queues = [row[4].split(":") for row in rows if port in (row[1][-5:], row[2][-5:])]
    return sum(int(size, 16) for queue in queues for size in queue)


def check(server: Simulator, folder: Path, times: int, seed: int) -> None:
    """Kill this often, each time at another moment; no progress may be lost."""
    reference = run(server, "-o", "right.tar", cwd=folder)
    assert reference.code == 0, reference.err
    right = sha256(folder / "right.tar")
    dice = random.Random(seed)
    first = []
    for number in range(times):
        amount = dice.uniform(-0.1, 0.95) * SIZE
        read, more = kill_and_go_on(server, folder / str(number), amount, right)
        first.append(read)
        assert read + more <= 1.1 * SIZE, f"killed at {amount:.0f}: {read} + {more} of {SIZE}"
        (folder / str(number) / "image.tar").unlink()
    assert max(first) > SIZE / 4, "it was always killed before it had begun"


def test_killed_at_a_few_moments(server: Simulator, tmp_path: Path) -> None:
    check(server, tmp_path, 8, 1)


@pytest.mark.long
def test_killed_at_a_hundred_moments(server: Simulator, tmp_path: Path) -> None:
    check(server, tmp_path, 100, 2)


def test_killed_again_and_again(server: Simulator, tmp_path: Path) -> None:
    assert run(server, "-o", "right.tar", cwd=tmp_path).code == 0
    for moment in (0.5, 0.9, 0.4, 0.7):
        process = start(server, "-o", "image.tar", cwd=tmp_path)
        time.sleep(moment)
        process.kill()
        process.communicate()
    assert run(server, "-o", "image.tar", cwd=tmp_path).code == 0
    assert sha256(tmp_path / "image.tar") == sha256(tmp_path / "right.tar")


@pytest.mark.parametrize("option", ["--gunzip", "--xz", "--no-rm", "--cache-dir=cache"])
def test_killed_with_other_options(option: str, server: Simulator, tmp_path: Path) -> None:
    right = tmp_path / "right"
    right.mkdir()
    command, name = ["-o", "image.tar", option], "tiny" if option == "--xz" else "small"
    reference = run(server, *command, cwd=right, image=name)
    assert reference.code == 0, reference.err
    expected = {p.relative_to(right): sha256(p) for p in right.rglob("*") if p.is_file()}
    folder = tmp_path / "killed"
    folder.mkdir()
    dice = random.Random(option)
    for _ in range(4):
        process = start(server, *command, cwd=folder, image=name)
        time.sleep(dice.uniform(0.2, reference.seconds))
        process.kill()
        process.communicate()
    done = run(server, *command, cwd=folder, image=name)
    assert done.code == 0, done.err
    assert {p.relative_to(folder): sha256(p) for p in folder.rglob("*") if p.is_file()} == expected
