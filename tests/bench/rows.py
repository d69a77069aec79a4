"""What is measured: each row of the table is a function that measures and judges itself."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dockersave.limits import MIB
from tests.bench.measure import (
    Command,
    compare,
    dockersave,
    inner,
    module,
    peak_disk,
    run,
)
from tests.images import Document, Image, image, layer, random_layer
from tests.images.layers import Layer, file
from tests.registry.fronts import delayed, nginx
from tests.registry.real import Registries, Registry

_COMMON_WORDS = b"the of and to in is that for it as was with be by on not he his but at are this "


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Parameters:
        work: what was done.
        against: what it is compared with.
        value: what was measured, a ratio unless `unit` says otherwise.
        goal: what it should be.
        smaller: whether a smaller value is better.
        note: the figures behind a ratio.
        seconds: what this program and another take over a line as users have them: what the
            README shows.
    """

    work: str
    against: str
    value: float
    goal: float
    unit: str = "×"
    smaller: bool = True
    note: str = ""
    seconds: tuple[float, float] | None = None

    @property
    def reached(self) -> bool:
        """Whether it is as it should be."""
        return self.value <= self.goal if self.smaller else self.value >= self.goal


class Bench:
    """The images, the registries, and a folder in memory.

    Parameters:
        folder: on a tmpfs, so that no disk is measured.
        rounds: how often each command of a pair runs.
        scale: divides the sizes, for trying the benchmark out.
    """

    def __init__(self, folder: Path, rounds: int, scale: int) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.rounds = rounds
        self.scale = scale
        self.registries = Registries()
        self.plain = self.registries.get()
        self.tls = self.registries.get(tls=True)
        certificates = folder / "certificates"
        certificates.mkdir(parents=True)
        (certificates / "ca.crt").write_bytes(self.registries.ca_file.read_bytes())
        self.certificates = certificates
        self._pushed: set[str] = set()

    def close(self) -> None:
        """End the registries."""
        self.registries.close()

    def push(self, name: str, make: Callable[[], Document]) -> str:
        """Put an image into the registries, once; return its repository."""
        if name not in self._pushed:
            self._pushed.add(name)
            self.registries.push({name: make()})
        return name

    def layers(self, name: str, count: int, size: int) -> str:
        """An image of `count` layers of `size` bytes of noise, in gzip's stored blocks."""
        size = max(1024, size // self.scale)

        def make() -> Image:
            parts = [
                random_layer(size, hash_of(name, number), "gzip", self.folder)
                for number in range(count)
            ]
            return image(parts, flavor="oci")

        return self.push(name, make)

    def text(self, name: str, count: int, size: int) -> str:
        """An image with layers that compress like programs and text: to about a third."""
        size = max(4096, size // self.scale)

        def make() -> Image:
            return image([_text_layer(hash_of(name, n), size) for n in range(count)], flavor="oci")

        return self.push(name, make)

    def save(self, repository: str, *options: str, registry: Registry | None = None) -> Command:
        """The command that saves an image with dockersave."""
        registry = registry or self.tls
        trust = ("--ca-file", self.registries.ca_file) if registry.tls else ("--insecure",)
        where = () if "-o" in options or "--no-tar" in options else ("-o", "ours.tar")
        return dockersave("-q", *trust, *where, *options, f"{registry.host}/{repository}")

    def skopeo(self, repository: str, target: str) -> Command:
        """The command that copies an image with skopeo."""
        source = f"docker://{self.tls.host}/{repository}:latest"
        trust = ("--src-cert-dir", self.certificates)
        return ["skopeo", "copy", "-q", *trust, source, f"{target}:theirs.tar"]

    def curl(self, repository: str, url: str, *options: str, check: bool = True) -> Command:
        """The command that fetches an image's layers with curl, and hashes them."""
        trust = ["--cacert", str(self.registries.ca_file)]
        wanted = [f"-o {d[7:]} {url}/v2/{repository}/blobs/{d}" for d in self.digests(repository)]
        command = " ".join(["curl", "-sf", *trust, *options, *wanted])
        return ["sh", "-c", f"{command} && sha256sum * > sums" if check else command]

    def digests(self, repository: str) -> list[str]:
        """The digests of an image's layers."""
        shown = run(
            dockersave("-q", "--insecure", "--metadata", f"{self.plain.host}/{repository}"),
            self.work,
        )
        return [entry["digest"] for entry in json.loads(shown.output)["layers"]]

    def wall(self, command: Command) -> float:
        """Seconds that a command takes."""
        return run(command, self.work).wall


def hash_of(name: str, number: int) -> int:
    """A seed, the same on every day."""
    return sum(name.encode()) * 100_003 + number


def text(seed: int, size: int) -> bytes:
    """Bytes that compress to about a third."""
    words = _COMMON_WORDS.split()
    state, lines = seed, []
    for _ in range(4096):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        lines.append(words[state >> 59 & 15] + b" %x" % (state >> 40))
    block = b" ".join(lines)
    parts = [b"%d %s\n" % (number, block) for number in range(size // len(block) + 1)]
    return b"".join(parts)[:size]


def _text_layer(seed: int, size: int) -> Layer:
    return layer([file(f"text-{seed}", text(seed, size))], "gzip")


def versus_peers(bench: Bench) -> Iterator[Row]:
    """Twenty layers and one large layer, against what people use today."""
    for work, count, size in (("20 × 10 MiB", 20, 10 * MIB), ("1 × 500 MiB", 1, 500 * MIB)):
        repository = bench.layers(f"bench/{count}", count, size)
        others = {
            "skopeo → oci-archive": (bench.skopeo(repository, "oci-archive"), 0.6),
            "skopeo → docker-archive": (bench.skopeo(repository, "docker-archive"), 0.45),
            "curl in parallel; sha256sum": (
                bench.curl(repository, bench.tls.url, "--parallel"),
                0.5,
            ),
        }
        measured = compare(
            partial(bench.wall, bench.save(repository)),
            [partial(bench.wall, command) for command, _ in others.values()],
            bench.rounds,
        )
        for (name, (_, goal)), (ours, theirs, ratio) in zip(others.items(), measured, strict=True):
            note = f"{ours:.2f} s against {theirs:.2f} s"
            yield Row(f"{work}, TLS, wall", name, ratio, goal, note=note)


def versus_floor(bench: Bench) -> Iterator[Row]:
    """The same, against a bare loop in the same interpreter."""
    for work, count, size in (("20 × 10 MiB", 20, 10 * MIB), ("1 × 500 MiB", 1, 500 * MIB)):
        repository = bench.layers(f"bench/{count}", count, size)
        arguments = (bench.tls.host, repository, "out", bench.registries.ca_file)
        pairs = []
        for _ in range(2 * bench.rounds):
            ours = inner(run(module("ours", *arguments), bench.work))
            floor = inner(run(module("floor", *arguments), bench.work))
            pairs.append((ours, floor))
        for figure in ("wall", "cpu"):
            ratio = statistics.median(ours[figure] / floor[figure] for ours, floor in pairs)
            mine = statistics.median(ours[figure] for ours, _ in pairs)
            note = f"{mine:.2f} s against {mine / ratio:.2f} s"
            goal = {"wall": 1.0, "cpu": 1.05}[figure]
            yield Row(f"{work}, TLS, {figure}", "the floor", ratio, goal, note=note)


def throttled(bench: Bench) -> Iterator[Row]:
    """One layer through a line that is slow for each connection."""
    repository = bench.layers("bench/throttled", 1, 200 * MIB)
    rate = 8 * MIB
    with nginx(bench.registries, bench.plain, limit_rate=rate) as front:
        ours = partial(bench.wall, bench.save(repository, registry=_at(bench, front.port)))
        curl = partial(bench.wall, bench.curl(repository, front.url, check=False))
        ((mine, theirs, ratio),) = compare(ours, [curl], max(1, bench.rounds // 3))
    note = f"{mine:.2f} s against {theirs:.2f} s"
    yield Row(
        "1 × 200 MiB at 8 MiB/s a connection",
        "curl, one connection",
        1 / ratio,
        6.0,
        "× faster",
        smaller=False,
        note=note,
    )


def distant(bench: Bench) -> Iterator[Row]:
    """Many small layers over a line with long round trips."""
    repository = bench.layers("bench/small", 60, 20 * 1024 * bench.scale)
    with delayed(bench.plain.port, 0.05) as port:
        registry = Registry(port, False, None, bench.plain.log)
        ours = partial(bench.wall, bench.save(repository, registry=registry))
        curl = partial(bench.wall, bench.curl(repository, f"http://127.0.0.1:{port}", check=False))
        ((mine, theirs, ratio),) = compare(ours, [curl], bench.rounds)
    note = f"{mine:.2f} s against {theirs:.2f} s"
    yield Row(
        "60 × 20 KiB, 50 ms to each answer", "one request after another", ratio, 0.3, note=note
    )


def unpacking(bench: Bench) -> Iterator[Row]:
    """Layers stored uncompressed."""
    repository = bench.text("bench/text", 6, 120 * MIB)
    ((mine, theirs, ratio),) = compare(
        partial(bench.wall, bench.save(repository, "--gunzip")),
        [partial(bench.wall, bench.skopeo(repository, "docker-archive"))],
        bench.rounds,
    )
    note = f"{mine:.2f} s against {theirs:.2f} s"
    yield Row("--gunzip, 6 × 120 MiB unpacked", "skopeo → docker-archive", ratio, 0.6, note=note)


def compressing(bench: Bench) -> Iterator[Row]:
    """The archive compressed."""
    repository = bench.text("bench/text", 6, 120 * MIB)
    kept = bench.folder / "kept.tar"
    run(bench.save(repository, "-o", str(kept)), bench.work)
    ((mine, theirs, ratio),) = compare(
        partial(bench.wall, bench.save(repository, "--xz", "-o", "ours.tar.xz")),
        [partial(bench.wall, ["sh", "-c", f"xz -T1 -c {kept} > theirs.tar.xz"])],
        max(1, bench.rounds // 3),
    )
    note = f"{mine:.2f} s against {theirs:.2f} s"
    yield Row("--xz, 6 × 120 MiB unpacked", "xz -T1 of the same archive", ratio, 0.6, note=note)


def disk(bench: Bench) -> Iterator[Row]:
    """What the folder holds at the worst moment, beyond the archive."""
    repository = bench.layers("bench/memory-large", 10, 30 * MIB)
    most = peak_disk(bench.save(repository), bench.work)
    size = (bench.work / "ours.tar").stat().st_size
    yield Row("disk at any moment, beyond the archive", "", (most - size) / MIB, 1.0, "MiB")


def growth(bench: Bench) -> Iterator[Row]:
    """What ten times the work costs."""
    seconds = {}
    for size in (1, 10, 100, 1000):
        repository = bench.layers(f"bench/size-{size}", 1, size * MIB)
        seconds[size] = min(bench.wall(bench.save(repository)) for _ in range(3))
    note = ", ".join(f"{size} MiB {taken:.2f} s" for size, taken in seconds.items())
    rate = (seconds[1000] - seconds[1]) / 999
    expected = seconds[1] + 99 * rate
    yield Row(
        "1 → 10 → 100 → 1000 MiB",
        "a straight line",
        seconds[100] / expected,
        1.3,
        note=note,
    )
    taken = {}
    for count in (1, 32, 127):
        repository = bench.layers(f"bench/count-{count}", count, 64 * 1024 * bench.scale)
        taken[count] = min(bench.wall(bench.save(repository)) for _ in range(3))
    each = (taken[127] - taken[1]) / 126
    expected = taken[1] + 31 * each
    note = ", ".join(f"{count} layers {second:.2f} s" for count, second in taken.items())
    yield Row(
        "1 → 32 → 127 layers",
        "a straight line",
        taken[32] / expected,
        1.3,
        note=note,
    )


def progress(bench: Bench) -> Iterator[Row]:
    """What the bar costs."""
    repository = bench.layers("bench/1", 1, 500 * MIB)
    with_bar = [word for word in bench.save(repository, "--progress", "bar") if word != "-q"]
    ((mine, theirs, ratio),) = compare(
        partial(bench.wall, with_bar), [partial(bench.wall, bench.save(repository))], bench.rounds
    )
    note = f"{mine:.2f} s against {theirs:.2f} s"
    yield Row("--progress bar, 1 × 500 MiB", "--quiet", ratio, 1.01, note=note)


def _at(bench: Bench, port: int) -> Registry:
    return Registry(port, True, bench.registries.ca_file, bench.plain.log)


BASIC: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "peers": versus_peers,
    "floor": versus_floor,
    "throttled": throttled,
    "distant": distant,
    "gunzip": unpacking,
    "xz": compressing,
    "disk": disk,
    "growth": growth,
    "progress": progress,
}
