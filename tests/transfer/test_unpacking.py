"""Layers that are stored without compression."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from dockersave.errors import ContentError, NetworkError, OutputError
from dockersave.limits import LIMITS
from dockersave.model.digest import Buffer
from dockersave.transfer import unpacking
from dockersave.transfer.cache import Entry
from dockersave.transfer.run_cache import CacheWriter
from dockersave.transfer.sources import LocalBlob
from tests.images import random_layer
from tests.images.content import digest_of, read
from tests.images.layers import Compression, unpack
from tests.transfer.fake_sources import Line, at_work, attempts, broken
from tests.transfer.unpacked_layers import BODY, SAMPLE, fetched, layer_of, threads

__all__ = ["threads"]
pytestmark = pytest.mark.usefixtures("threads")


def breaking(line: Line, *positions: int) -> Line:
    """Break a connection at or after these positions, once each."""
    left = list(positions)

    def break_off(position: int) -> None:
        if left and position >= left[0]:
            left.pop(0)
            raise broken()

    line.during = break_off
    line.most = 50_000
    return line


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("ranged", [True, False])
def test_it_goes_on_where_the_connection_broke(
    ranged: bool, compression: Compression, tmp_path: Path
) -> None:
    sample = random_layer(400_000, 1, compression)
    line = breaking(Line(read(sample.data), ranged=ranged), 100_000, 250_000)
    layer = layer_of(tmp_path, line, sample=sample)
    assert fetched(layer, policy=attempts(0)) == [unpack(sample)]
    assert layer.unpacked_size == sample.unpacked
    assert (layer.present, layer.reused) == (sample.size, 0)
    first, second, third = (start for start, _ in line.ranges)
    assert first == 0
    assert 100_000 <= second < third >= 250_000


def test_several_layers(tmp_path: Path) -> None:
    samples = [random_layer(200_000, seed, "gzip") for seed in range(6)]
    layers = [layer_of(tmp_path, Line(read(each.data)), sample=each) for each in samples]
    assert fetched(*layers) == [unpack(each) for each in samples]
    assert not list(tmp_path.iterdir())


def test_no_more_lie_ready_than_there_is_room_for(tmp_path: Path) -> None:
    """The first one blocks the others, which would otherwise fill the disk."""
    samples = [random_layer(50_000, seed) for seed in range(8)]
    lines = [Line(read(each.data)) for each in samples]
    ready: list[int] = []

    def look(position: int) -> None:
        if position:
            ready.append(sum(bool(line.answers) for line in lines))

    lines[0].during, lines[0].most = look, 5_000
    layers = [
        layer_of(tmp_path, line, sample=each) for line, each in zip(lines, samples, strict=True)
    ]
    assert len(fetched(*layers, jobs=2)) == 8
    assert max(ready) <= 3


def test_a_server_that_takes_fewer_connections(tmp_path: Path) -> None:
    samples = [random_layer(100_000, seed) for seed in range(4)]
    lines = [Line(read(each.data)) for each in samples]

    def refuse(start: int, stop: int) -> None:
        if any(line.open_now for line in lines):
            raise NetworkError("too many", transient=True, crowded=True)

    for line in lines:
        line.before = refuse
    layers = [
        layer_of(tmp_path, line, sample=each) for line, each in zip(lines, samples, strict=True)
    ]
    assert fetched(*layers, jobs=3, policy=attempts(20)) == [unpack(each) for each in samples]


def test_a_layer_of_nothing(tmp_path: Path) -> None:
    empty = replace(SAMPLE, digest=digest_of(b""), diff_id=digest_of(b""), size=0)
    assert fetched(layer_of(tmp_path, Line(b""), sample=empty)) == [b""]


# What is wrong


def wrong_at(position: int) -> bytes:
    body = bytearray(BODY)
    body[position] ^= 1
    return bytes(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(wrong_at(200_000), id="in the middle"),
        pytest.param(wrong_at(len(BODY) - 6), id="the checksum"),
        pytest.param(wrong_at(4), id="the time of compression: what it unpacks to is right"),
        pytest.param(wrong_at(0), id="not compressed"),
        pytest.param(BODY[:3] + bytes(len(BODY) - 3), id="nothing but zeros"),
    ],
)
def test_wrong_bytes_are_fetched_twice_and_no_more(body: bytes, tmp_path: Path) -> None:
    line = Line(body)
    with pytest.raises(ContentError):
        fetched(layer_of(tmp_path, line))
    assert line.ranges == [(0, len(BODY))] * 2


def mending(line: Line) -> Callable[[int, int], None]:
    """Have a server send the right bytes from the second time on."""

    def mend(start: int, stop: int) -> None:
        if len(line.ranges) > 1:
            line.body = BODY

    return mend


def test_bytes_that_were_wrong_once(tmp_path: Path) -> None:
    line = Line(wrong_at(200_000))
    line.before = mending(line)
    layer = layer_of(tmp_path, line)
    assert fetched(layer) == [unpack(SAMPLE)]
    assert layer.present == SAMPLE.size


def test_a_layer_that_is_right_as_it_is_served_and_wrong_when_unpacked(tmp_path: Path) -> None:
    lie = replace(SAMPLE, diff_id=digest_of(b"something else"))
    with pytest.raises(ContentError, match="unpacked, hashes to"):
        fetched(layer_of(tmp_path, Line(BODY), sample=lie))


def test_a_bomb_ends_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "LIMITS", replace(LIMITS, unpacked_layer=1 << 18))
    layer = layer_of(tmp_path, Line(BODY))
    with pytest.raises(ContentError, match="larger than 0 GiB when unpacked"):
        fetched(layer)


def test_no_room(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        fetched(layer_of(tmp_path / "missing", Line(BODY)))


# What lies on this machine


Add = Callable[[bytes, int], LocalBlob]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Add]:
    with closing(Files(tmp_path / "local")) as files:
        yield files.add


class Files:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.files: list[IO[bytes]] = []

    def add(self, body: bytes, size: int) -> LocalBlob:
        path = self.folder / str(len(self.files))
        path.write_bytes(body)
        self.files.append(path.open("rb"))
        return LocalBlob(self.files[-1], 0, size)

    def close(self) -> None:
        for file in self.files:
            file.close()


@pytest.mark.parametrize("unpacked", [False, True])
def test_a_local_layer_packed_or_not(unpacked: bool, local: Add, tmp_path: Path) -> None:
    body = unpack(SAMPLE) if unpacked else BODY
    line = Line(BODY)
    layer = layer_of(tmp_path, local(body, len(body)), line)
    assert fetched(layer) == [unpack(SAMPLE)]
    assert not line.ranges
    assert layer.reused == layer.present == SAMPLE.size


@pytest.mark.parametrize(
    "body",
    [bytes(len(BODY)), BODY[:200_000], wrong_at(200_000), b"", unpack(SAMPLE)[:100_000]],
    ids=["other bytes", "cut off", "a flipped bit", "empty", "unpacked, and cut off"],
)
def test_a_local_layer_that_is_wrong_is_passed_over(
    body: bytes, local: Add, tmp_path: Path
) -> None:
    """Whatever was unpacked of it is of no use: the next one is read from its beginning."""
    line = Line(BODY)
    layer = layer_of(tmp_path, local(body, len(BODY)), line)
    assert fetched(layer) == [unpack(SAMPLE)]
    assert line.ranges == [(0, len(BODY))]
    assert layer.reused == 0


def test_a_layer_that_is_in_its_place_already(tmp_path: Path) -> None:
    layer = layer_of(tmp_path, Line(BODY))
    assert (layer.present, layer.reused, layer.done) == (0, 0, False)
    layer.found(12)
    assert (layer.present, layer.reused, layer.done) == (SAMPLE.size, SAMPLE.size, True)
    assert layer.unpacked_size == 12


# What is kept for other runs


class Kept(Entry):
    """What would be in the cache."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.ends: list[str] = []

    def write(self, position: int, data: Buffer) -> None:
        assert position == len(self.body)
        self.body += data

    def commit(self) -> None:
        self.ends.append("commit")

    def close(self) -> None:
        self.ends.append("close")


def test_it_is_kept_as_it_is_served(local: Add, tmp_path: Path) -> None:
    kept: list[Kept] = []

    def begin() -> Kept:
        kept.append(Kept())
        return kept[-1]

    line = Line(wrong_at(200_000))
    line.before = mending(line)
    layer = layer_of(tmp_path, local(BODY[:9], len(BODY)), line, keep=lambda: CacheWriter(begin))
    assert fetched(layer) == [unpack(SAMPLE)]
    wrong, right = kept
    assert wrong.ends == ["close"]
    assert right.body == BODY
    assert right.ends == ["commit", "close"]


# Moving


@pytest.mark.parametrize("backwards", [False, True])
def test_moving_gives_all_of_it(backwards: bool, tmp_path: Path) -> None:
    sample = random_layer(5_000_000, 1)
    layer = layer_of(tmp_path, Line(read(sample.data)), sample=sample)
    target = bytearray(sample.unpacked)
    with at_work([layer.blob], [layer]) as (ledger, pool):
        pool.run(lambda: ledger.is_done, lambda: None)
        fd = layer._fd

        def write(offset: int, data: bytes) -> None:
            target[offset : offset + len(data)] = data
            if backwards:
                assert os.fstat(fd).st_size <= offset + len(data), "what was moved is freed"

        layer.move(write, backwards=backwards)
    assert target == unpack(sample)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
