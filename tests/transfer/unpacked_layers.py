"""Layers to be unpacked, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dockersave.retry_policy import RetryPolicy
from dockersave.transfer.blobs import Blob
from dockersave.transfer.run_cache import CacheWriter
from dockersave.transfer.sources import LocalBlob
from dockersave.transfer.unpacking import UnpackedLayer
from tests.images import Layer, random_layer
from tests.images.content import read
from tests.transfer.fake_sources import Line, at_work, refuse_threads

SAMPLE = random_layer(400_000, 1, "gzip")
BODY = read(SAMPLE.data)


def layer_of(
    folder: Path,
    *sources: Line | LocalBlob,
    sample: Layer = SAMPLE,
    keep: Callable[[], CacheWriter | None] = lambda: None,
) -> UnpackedLayer:
    blob = Blob(sample.digest, sample.size, sources, sequential=True)
    return UnpackedLayer(blob, sample.diff_id, str(folder), keep)


def fetched(
    *layers: UnpackedLayer, jobs: int = 2, policy: RetryPolicy | None = None
) -> list[bytes]:
    """Fetch layers, one after another as they come; returns their unpacked content."""
    bodies: list[bytes] = []
    for number, layer in enumerate(layers):
        layer.blob.base = number

    def steps(grant_room: Callable[[float], None]) -> Iterator[bool]:
        for layer in layers:
            while not layer.done:
                yield False
            bodies.append(moved(layer))
            grant_room(layer.blob.base + jobs + 2)

    blobs = [layer.blob for layer in layers]
    with at_work(blobs, layers, jobs=jobs, policy=policy) as (_, pool):
        pool.grant_room(jobs + 1)
        for layer in layers:
            layer.claim = pool.claim
        order = steps(pool.grant_room)
        pool.run(lambda: next(order, True), lambda: None)
    return bodies


def moved(layer: UnpackedLayer) -> bytes:
    body = bytearray(layer.unpacked_size)

    def write(offset: int, data: bytes) -> None:
        body[offset : offset + len(data)] = data

    layer.move(write, backwards=False)
    return bytes(body)


@pytest.fixture(params=["threads", "no threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it must do without a thread, too."""
    if request.param == "no threads":
        refuse_threads(monkeypatch)
