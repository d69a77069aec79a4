"""What a file system of an image takes: against umoci, and for itself."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dockersave.limits import MIB
from tests.bench.measure import Command, compare, peak_memory, run
from tests.bench.rows import Bench, Row, text
from tests.images import Entry, Image, directory, file, image, layer

_FILES, _MANY = 9_600, 500_000
_AS_DIRECTORY = ("--format", "rootfs", "--no-tar", "-o", "ours")
_DISK = "/var/tmp"


def flattening(bench: Bench) -> Iterator[Row]:
    """178 MB in 9,800 files of three layers, as a directory."""
    repository = bench.push("bench/rootfs", partial(_usual, _FILES // bench.scale))
    layout = bench.folder / "layout"
    run(bench.save(repository, "--format", "oci", "--no-tar", "-o", str(layout)), bench.work)
    ours = bench.save(repository, *_AS_DIRECTORY)
    theirs: Command = ["umoci", "unpack", "--image", f"{layout}:latest", "theirs"]
    for what, goal in (("cpu", 0.4), ("wall", 0.6)):

        def taken(command: Command, what: str = what) -> float:
            found = run(command, bench.work)
            return found.cpu if what == "cpu" else found.wall

        ((mine, other, ratio),) = compare(
            partial(taken, ours), [partial(taken, theirs)], bench.rounds
        )
        note = f"{mine:.2f} s with fetching, against {other:.2f} s without"
        work = f"--format rootfs --no-tar, 178 MB, {what}"
        yield Row(work, "umoci unpack", ratio, goal, note=note)
    as_tar = bench.save(repository, "--format", "rootfs")
    for name, command in (("a directory", ours), ("a tar", as_tar)):
        most = peak_memory(command, bench.work) / MIB
        yield Row(f"--format rootfs, 178 MB, as {name}", "", most, 48, "MiB")
    repository = bench.push("bench/many-files", partial(_many, _MANY // bench.scale))
    most = peak_memory(bench.save(repository, "--format", "rootfs"), bench.work) / MIB
    yield Row(f"--format rootfs, {_MANY:,} files, as a tar", "", most, 96, "MiB")


def updating(bench: Bench) -> Iterator[Row]:
    """A hundredth of the files replaced, over what the first save made, on a disk."""
    files = _FILES // bench.scale
    commands = [
        bench.save(bench.push(name, partial(_usual, files, is_newer=is_newer)), *_AS_DIRECTORY)
        for name, is_newer in (("bench/rootfs", False), ("bench/rootfs-newer", True))
    ]
    pairs = []
    with tempfile.TemporaryDirectory(prefix="dockersave-bench-", dir=_DISK) as folder:
        for _ in range(bench.rounds):
            # The first one begins when nothing is left to be brought to the disk.
            os.sync()
            first = run(commands[0], Path(folder, "work"))
            pairs.append((first, run(commands[1], Path(folder, "work"), is_kept=True)))
    work = "--format rootfs --no-tar, 178 MB, 1 % of the files replaced"
    for what, unit, figures in (
        ("wall", "s", [(one.wall, two.wall) for one, two in pairs]),
        ("written", "MB", [(one.written / 1e6, two.written / 1e6) for one, two in pairs]),
    ):
        one, two = (statistics.median(column) for column in zip(*figures, strict=True))
        ratio = statistics.median(two / one for one, two in figures)
        note = f"{two:.2f} {unit} against {one:.2f} {unit}"
        yield Row(f"{work}, {what}, on a disk", "the first save", ratio, 0.15, note=note)


def _usual(files: int, *, is_newer: bool = False) -> Image:
    """Three layers: the upper ones replace a sixth of the files.

    Parameters:
        files: how many.
        is_newer: whether a fourth one replaces a hundredth of them.
    """
    body = text(1, 37_000)
    folders = [directory(f"usr/share/d{number}") for number in range(files // 50)]

    def some(numbers: range, kind: int) -> Iterator[Entry]:
        for number in numbers:
            size = number * 7919 % len(body)
            name = f"usr/share/d{number // 50}/file-{number}-of-a-usual-name"
            yield file(name, b"%d %d\n" % (kind, number) + body[:size])

    layers = [
        layer([*folders, *some(range(files), 1)], level=6),
        layer(some(range(0, files, 8), 2), level=6),
        layer(some(range(0, files, 24), 3), level=6),
    ]
    newer = [layer(some(range(0, files, 100), 4), level=6)] if is_newer else []
    return image([*layers, *newer], flavor="oci")


def _many(files: int) -> Image:
    """One layer of small files."""
    names = (f"d{n // 1000}/file-with-a-usual-length-of-name-{n}.txt" for n in range(files))
    return image([layer((file(name, b"x") for name in names), level=1)], flavor="oci")
