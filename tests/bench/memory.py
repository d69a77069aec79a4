"""Rows about memory: the largest resident set, whatever is saved."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from dockersave.limits import MIB
from tests.bench.measure import peak_memory
from tests.bench.rows import Bench, Row, hash_of
from tests.images import image, layer
from tests.images.layers import file, windowed_layer

_IMAGES = 1000


def memory(bench: Bench) -> Iterator[Row]:
    """The largest resident set, whatever the image."""
    small = bench.layers("bench/memory-small", 3, MIB)
    large = bench.layers("bench/memory-large", 10, 30 * MIB)
    many = bench.layers("bench/memory-many", 127, 20 * 1024)
    cases: Sequence[tuple[str, str, tuple[str, ...]]] = (
        ("3 MiB", small, ()),
        ("300 MiB", large, ()),
        ("127 layers", many, ()),
        ("300 MiB, --gunzip", large, ("--gunzip",)),
        ("300 MiB, --no-tar", large, ("--no-tar",)),
        ("300 MiB, -o -", large, ("-o", "-")),
        ("300 MiB, --jobs 16", large, ("--jobs", "16")),
    )
    for name, repository, options in cases:
        command = bench.save(repository, *options)
        if "-" in options:
            command = ["sh", "-c", f"exec {shlex.join(map(str, command))} > out"]
        used = peak_memory(command, bench.work)
        yield Row(f"peak memory, {name}", "", used / MIB, 32, "MiB")


def windows(bench: Bench) -> Iterator[Row]:
    """Layers whose decompression needs a window of 128 MiB."""
    size = 160 * MIB  # smaller ones get smaller windows
    repository = bench.push(
        "bench/windows", lambda: image([windowed_layer(size, n) for n in range(4)], flavor="oci")
    )
    used = peak_memory(bench.save(repository, "--gunzip"), bench.work)
    work = "peak memory, --gunzip, 4 zstd layers with windows of 128 MiB"
    yield Row(work, "", used / MIB, 128 + 32, "MiB")


def images(bench: Bench) -> Iterator[Row]:
    """A thousand images in one archive."""
    count = _IMAGES // bench.scale
    names = [f"bench/images/{number}" for number in range(count)]
    for name in names:
        own = layer([file(name, str(hash_of(name, 0)))])
        bench.push(name, lambda own=own: image([own], flavor="oci"))  # type: ignore[misc]
    first, *rest = names
    others = [f"{bench.tls.host}/{name}" for name in rest]
    used = peak_memory([*bench.save(first), *others], bench.work)
    yield Row(f"peak memory, {count:,} images in one archive", "", used / MIB, 40, "MiB")
