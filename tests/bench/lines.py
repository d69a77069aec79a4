"""Rows on lines as users have them: what a save takes over what the line could do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dockersave.limits import MIB
from tests.bench.line import Shape, Shaped, line, mbit
from tests.bench.measure import Command, run
from tests.bench.peers import peers
from tests.bench.rows import Bench, Row, hash_of
from tests.images import image, random_layer
from tests.registry.real import Registry

_MB = 1_000_000
_CONNECTIONS = 8  # what a save may be expected to use where each connection is capped
_NEAR = Shape(rtt=0.030, each=mbit(20), shared=mbit(200))
_FAR = Shape(rtt=0.200, each=mbit(10), shared=mbit(100))
_WIDE = Shape(rtt=0.030, shared=mbit(200))


@dataclass(frozen=True, slots=True)
class Work:
    """An image, and a line to fetch it through.

    Parameters:
        name: of the row.
        sizes: of its layers, in bytes.
        shape: of the line.
        goal: the most that it may take, over what the line could do.
    """

    name: str
    sizes: tuple[int, ...]
    shape: Shape
    goal: float

    def ideal(self, size: int) -> float:
        """Seconds for so many bytes: eight connections all busy, or the line full but for three
        round trips (connecting, manifest, config)."""
        shape = self.shape
        return size / (shape.shared or _CONNECTIONS * shape.each) + 3 * shape.rtt


_CAPPED = [
    Work(
        f"{' + '.join(map(str, sizes))} MiB at {rate / 1e6:g} MB/s a connection",
        tuple(size * MIB for size in sizes),
        Shape(each=rate, window=0),
        1.2,
    )
    for rate in (400e3, 3e6)
    for sizes in ((16,), (24,), (48,), (16, 2, 6, 1, 10))
]
_AS_USED = [
    Work("48 MB, 30 ms, 20 of 200 Mbit/s a connection", (48 * _MB,), _NEAR, 1.4),
    Work("48 MB, 200 ms, 10 of 100 Mbit/s a connection", (48 * _MB,), _FAR, 1.5),
    Work("30 × 1 MB, 30 ms, 20 of 200 Mbit/s a connection", (_MB,) * 30, _NEAR, 1.4),
    Work("30 × 1 MB, 200 ms, 10 of 100 Mbit/s a connection", (_MB,) * 30, _FAR, 1.5),
    Work("3.5 MB, 30 ms, 100 Mbit/s", (3_500_000,), Shape(0.030, shared=mbit(100)), 1.5),
]
_PYTHON = tuple(round(size * _MB) for size in (48.5, 24.0, 64.4, 204.9, 6.2, 3.9, 0.1))
"""Layers as those of an image of Python, 352 MB."""
_VERSUS = [
    Work("python-like, 352 MB, 30 ms, 20 of 200 Mbit/s a connection", _PYTHON, _NEAR, 1.4),
    Work("python-like, 352 MB, 200 ms, 10 of 100 Mbit/s a connection", _PYTHON, _FAR, 1.5),
    *_AS_USED,
]
"""What other programs are sent through, too."""
_RESET = [
    Work(
        f"200 MB, 30 ms, 200 Mbit/s, resets after {low / _MB:g} to {high / _MB:g} MB",
        (200 * _MB,),
        replace(_WIDE, reset=(low, high)),
        goal,
    )
    for low, high, goal in ((3 * _MB, 30 * _MB, 1.1), (0.3 * _MB, _MB, 1.4))
]


def capped(bench: Bench) -> Iterator[Row]:
    """Lines where each connection is slow, and more of them are faster."""
    for work in _CAPPED:
        yield _measure(bench, work)


def as_used(bench: Bench) -> Iterator[Row]:
    """Lines near and far, and what the others need for the same."""
    for work in _AS_USED:
        yield _measure(bench, work)


def resets(bench: Bench) -> Iterator[Row]:
    """Lines that break connections, often and very often."""
    for work in _RESET:
        yield _measure(bench, work)


def versus(bench: Bench) -> Iterator[Row]:
    """The same lines against the programs that people use, those of them that are here."""
    for work in _VERSUS:
        repository, _ = _image(bench, work)
        pairs: dict[str, list[tuple[float, float]]] = {}
        for number in range(max(1, bench.rounds // 3)):
            ours, _ = _timed(bench, work, repository, number)
            for name in peers("", ""):
                theirs, _ = _timed(bench, work, repository, number, name)
                pairs.setdefault(name, []).append((ours, theirs))
        for name, pair in pairs.items():
            ratio = statistics.median(mine / theirs for mine, theirs in pair)
            mine, theirs = (statistics.median(side) for side in zip(*pair, strict=True))
            note = f"{mine:.2f} s against {theirs:.2f} s"
            yield Row(work.name, name, ratio, 1.0, note=note, seconds=(mine, theirs))


def _measure(bench: Bench, work: Work) -> Row:
    repository, size = _image(bench, work)
    ideal = work.ideal(size)
    taken, notes = [], []
    try:
        for number in range(max(1, bench.rounds // 2)):
            seconds, shaped = _timed(bench, work, repository, number)
            taken.append(seconds)
            notes.append(
                f"asks for a blob after {shaped.asked():.2f} s, "
                f"{shaped.most_at_once()} answers at once"
            )
    except RuntimeError as error:
        why = " ".join(str(error).split())[-120:]
        return Row(work.name, "the line", float("inf"), work.goal, note=f"fails: {why}")
    middle = statistics.median_low(taken)
    note = f"{middle:.2f} s against {ideal:.2f} s; {notes[taken.index(middle)]}"
    return Row(work.name, "the line", middle / ideal, work.goal, note=note)


def _image(bench: Bench, work: Work) -> tuple[str, int]:
    """Its repository, and the bytes of its layers."""
    sizes = [max(1024, size // bench.scale) for size in work.sizes]
    name = f"bench/line-{'-'.join(map(str, sizes[:5]))}-{len(sizes)}"
    layers = [
        random_layer(size, hash_of(name, number), "gzip", bench.folder)
        for number, size in enumerate(sizes)
    ]
    repository = bench.push(name, lambda: image(layers, flavor="oci"))
    return repository, sum(layer.size for layer in layers)


def _timed(
    bench: Bench, work: Work, repository: str, seed: int, peer: str = ""
) -> tuple[float, Shaped]:
    """Seconds from the first connection to the end of the process: start-up is not the line's."""
    with line(bench.plain.port, replace(work.shape, seed=seed)) as shaped:
        command: Command
        if peer:
            command = peers(f"127.0.0.1:{shaped.port}", repository)[peer]
        else:
            registry = Registry(shaped.port, False, None, bench.plain.log)
            command = bench.save(repository, registry=registry)
        run(command, bench.work)
        end = time.monotonic()
    return end - shaped.opened(), shaped
