"""Rows about registries without ranges: saves from a slow one all end, and all are right."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dockersave.limits import MIB
from tests.bench.measure import ENVIRONMENT, dockersave, empty
from tests.bench.rows import Bench, Row, hash_of
from tests.images import Layer, Store, image, random_layer
from tests.registry.simulator import Fault, Simulator

_SAVES, _AT_ONCE = 200, 16
_SIZES = tuple(size * MIB for size in (2, 5, 12, 24, 48))
_PATIENCE = 120.0  # seconds for one of them; alone it takes about one
# Each comes or does not: together any of 32 delays from 0 to 0.5 s.
_DELAYS = tuple(0.5 / 2**power for power in range(2, 7))


def without_ranges(bench: Bench) -> Iterator[Row]:
    """Two hundred saves from a registry without ranges whose answers come 0 to 0.5 s late."""
    layers = [
        random_layer(max(1024, size // bench.scale), hash_of("ranges", number), folder=bench.folder)
        for number, size in enumerate(_SIZES)
    ]
    store = Store()
    for number, layer in enumerate(layers):
        store.add(f"layer-{number}", image([layer], flavor="oci"), "latest")
    saves = _SAVES // bench.scale
    empty(bench.work)
    with Simulator(store) as registry, ThreadPoolExecutor(_AT_ONCE) as pool:
        registry.faults.add(Fault.ignore_range())
        for number, delay in enumerate(_DELAYS):
            registry.faults.add(Fault.delay(delay, probability=0.5, seed=number))

        def save(number: int) -> str:
            which = number % len(layers)
            folder = bench.work / str(number)
            return _judged(f"{registry.host}/layer-{which}", layers[which], folder)

        failures = [why for why in pool.map(save, range(saves)) if why]
    note = f"of {saves}" + "".join(f"; {why}" for why in sorted(set(failures))[:3])
    yield Row(
        "saves that fail or do not end, no ranges, answers 0 to 0.5 s late",
        "",
        len(failures),
        0,
        "saves",
        note=note,
    )


def _judged(reference: str, layer: Layer, folder: Path) -> str:
    """Save and check the layer in the archive; return what is wrong with it."""
    folder.mkdir()
    command = dockersave("-q", "--insecure", "-o", "ours.tar", reference)
    try:
        subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=_PATIENCE,
        )
        with tarfile.open(folder / "ours.tar") as archive:
            member = archive.extractfile(f"blobs/sha256/{layer.digest.partition(':')[2]}")
            found = hashlib.sha256()
            while chunk := member.read(MIB) if member else b"":
                found.update(chunk)
        return "" if layer.digest == f"sha256:{found.hexdigest()}" else "wrong bytes"
    except subprocess.TimeoutExpired:
        return "does not end"
    except subprocess.CalledProcessError as error:
        return f"exit code {error.returncode}: {error.stderr.strip()[-120:]}"
    finally:
        shutil.rmtree(folder)
