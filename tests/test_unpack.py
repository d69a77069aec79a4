"""Layers that are stored without compression."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import pytest

from dockersave.archive.members import Blob
from dockersave.cancellation import Cancellation
from dockersave.errors import ContentError, NetworkError
from dockersave.flow import Flow
from dockersave.oci import Descriptor
from dockersave.options import Network
from dockersave.registry.retry import Retry
from dockersave.sources import LocalBlob
from dockersave.unpack import UnpackedLayer, UnpackPool
from tests.images import Layer, random_layer
from tests.images.content import read
from tests.images.layers import Compression, unpack


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between two tries."""
    monkeypatch.setattr("dockersave.registry.retry._FIRST_PAUSE", 0.01)


@dataclass
class Remote:
    """A source in memory, with failures."""

    body: bytes
    failures: list[Exception] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    is_local: bool = False

    @property
    def size(self) -> int:
        return len(self.body)

    def open(self, start: int, stop: int) -> Answer:
        self.opened.append(start)
        if self.failures:
            raise self.failures.pop(0)
        return Answer(self.body[:stop], start, self.breaks.pop(0) if self.breaks else None)


@dataclass
class Answer:
    """What a source sends, up to where it breaks off."""

    body: bytes
    start: int
    breaks: int | None
    ranged: bool = True

    def __post_init__(self) -> None:
        self.position = self.start

    def readinto(self, buffer: memoryview) -> int:
        if self.breaks is not None and self.position >= self.breaks:
            raise NetworkError("broken", transient=True)
        data = self.body[self.position : self.position + min(len(buffer), 50_000)]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def read(self, amount: int) -> bytes:
        buffer = bytearray(amount)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


def blob_of(layer: Layer) -> Blob:
    served = Descriptor(layer.media_type, layer.digest, layer.size)
    return Blob(served, Descriptor(layer.media_type, layer.diff_id, -1), 0)


def fetch(layer: UnpackedLayer) -> bytes:
    flag = Cancellation()
    retry = Retry(Network(retries=3), flag, lambda line: None)
    layer.fetch(retry, Flow(None, 5, flag), lambda: False)
    body = os.pread(layer.fd, layer.unpacked_size, 0)
    layer.close()
    return body


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_it_goes_on_where_the_connection_broke(compression: Compression, tmp_path: object) -> None:
    sample = random_layer(400_000, 1, compression)
    remote = Remote(read(sample.data), breaks=[100_000, 250_000])
    layer = UnpackedLayer(blob_of(sample), [remote], str(tmp_path))
    assert fetch(layer) == unpack(sample)
    assert layer.done
    assert layer.unpacked_size == sample.unpacked
    assert remote.opened[0] == 0
    assert 100_000 <= remote.opened[1] < remote.opened[2] >= 250_000


def test_wrong_bytes_are_fetched_twice_and_no_more(tmp_path: object) -> None:
    sample = random_layer(400_000, 1, "gzip")
    wrong = bytearray(read(sample.data))
    wrong[200_000] ^= 1
    remote = Remote(bytes(wrong))
    with pytest.raises(ContentError):
        fetch(UnpackedLayer(blob_of(sample), [remote], str(tmp_path)))
    assert remote.opened == [0, 0]


def test_a_local_layer_that_is_wrong_is_passed_over(tmp_path: object) -> None:
    sample = random_layer(400_000, 1, "gzip")
    path = os.path.join(str(tmp_path), "blob")
    with open(path, "w+b") as file:
        file.write(bytes(sample.size))
        file.flush()
        layer = UnpackedLayer(
            blob_of(sample),
            [LocalBlob(file, 0, sample.size), Remote(read(sample.data))],
            str(tmp_path),
        )
        assert fetch(layer) == unpack(sample)
        assert layer.reused == 0


@pytest.mark.parametrize("backwards", [False, True])
def test_moving_gives_all_of_it(backwards: bool, tmp_path: object) -> None:
    sample = random_layer(5_000_000, 1)
    layer = UnpackedLayer(blob_of(sample), [Remote(read(sample.data))], str(tmp_path))
    flag = Cancellation()
    layer.fetch(Retry(Network(), flag, lambda line: None), Flow(None, 5, flag), lambda: False)
    target = bytearray(sample.unpacked)

    def write(offset: int, data: bytes) -> None:
        target[offset : offset + len(data)] = data
        if backwards:
            assert os.fstat(layer.fd).st_size <= offset + len(data)

    layer.move(write, backwards=backwards)
    assert target == unpack(sample)
    assert layer.fd == -1


def test_a_pool_makes_do_with_fewer_connections(tmp_path: object) -> None:
    samples = [random_layer(100_000, seed) for seed in range(4)]
    layers = [
        UnpackedLayer(blob_of(each), [Remote(read(each.data))], str(tmp_path)) for each in samples
    ]
    flag = Cancellation()
    retry = Retry(Network(), flag, lambda line: None)
    busy: list[object] = []

    def work(layer: UnpackedLayer, stopping: object) -> None:
        busy.append(layer)
        try:
            if len(busy) > 1:
                raise NetworkError("too many", transient=True, crowded=True)
            layer.fetch(retry, Flow(100_000, 5, flag), lambda: False)
        finally:
            busy.remove(layer)

    pool = UnpackPool(layers, threads=3, work=work, cancellation=flag)
    try:
        for layer in layers:
            assert pool.take(lambda: None) is layer
    finally:
        pool.close()


def test_the_last_layer_of_a_pool_fails_once(tmp_path: object) -> None:
    """When there is nothing else to do: somebody must still be there to try again."""
    samples = [random_layer(100_000, seed) for seed in range(2)]
    layers = [
        UnpackedLayer(blob_of(each), [Remote(read(each.data))], str(tmp_path)) for each in samples
    ]
    flag = Cancellation()
    retry = Retry(Network(), flag, lambda line: None)
    failures = [NetworkError("too many", transient=True)]

    def work(layer: UnpackedLayer, stopping: object) -> None:
        if layer is layers[1] and failures:
            time.sleep(0.3)  # the other thread has nothing left meanwhile
            raise failures.pop()
        layer.fetch(retry, Flow(None, 5, flag), lambda: False)

    pool = UnpackPool(layers, threads=2, work=work, cancellation=flag)
    deadline = time.monotonic() + 10

    def tick() -> None:
        assert time.monotonic() < deadline, "nobody tries again"

    try:
        for layer in layers:
            assert pool.take(tick) is layer
    finally:
        pool.close()
