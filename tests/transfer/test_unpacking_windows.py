"""Layers with large windows: one of them is unpacked at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dockersave.compression import Decompressor
from dockersave.transfer.unpacking import UnpackedLayer
from tests.images import Layer, random_layer, raw_layer
from tests.images.content import digest_of, read
from tests.images.layers import unpack, windowed_layer
from tests.transfer.fake_sources import Line
from tests.transfer.unpacked_layers import fetched, layer_of, threads

__all__ = ["threads"]
pytestmark = pytest.mark.usefixtures("threads")


def windowed(seed: int, window_log: int) -> Layer:
    return windowed_layer(300 << 10, seed, window_log)


class Windows:
    """Counts the layers with large windows that are being unpacked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: set[int] = set()
        self.most = 0
        feed, original = Decompressor.feed, UnpackedLayer._forget

        def counted(decompressor: Decompressor, data: bytes) -> Iterator[bytes]:
            yield from feed(decompressor, data)
            if not decompressor.held and decompressor._stream is not None:
                self.begun.add(id(decompressor))
            self.most = max(self.most, len(self.begun))

        def forget(layer: UnpackedLayer) -> None:
            self.begun.discard(id(layer._decompressor))
            original(layer)

        monkeypatch.setattr(Decompressor, "feed", counted)
        monkeypatch.setattr(UnpackedLayer, "_forget", forget)


@pytest.mark.parametrize(("window_log", "most"), [(27, 1), (20, 3)])
def test_one_large_window_at_a_time(
    window_log: int,
    most: int,
    threads: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Layers with small windows are unpacked in parallel, if there are threads."""
    has_threads = request.node.callspec.params["threads"] == "threads"
    samples = [windowed(seed, window_log) for seed in range(5)]
    together = threading.Barrier(3)

    def meeting() -> Callable[[int], object]:
        """None of the first three continues before all of them have started."""
        once = iter([has_threads and most == 3])
        return lambda position: position and next(once, False) and together.wait(60)

    lines = [Line(read(each.data), most=60_000) for each in samples]
    for line in lines[:3]:
        line.during = meeting()
    seen = Windows(monkeypatch)
    layers = [
        layer_of(tmp_path, line, sample=each) for line, each in zip(lines, samples, strict=True)
    ]
    assert fetched(*layers, jobs=3) == [read(random_layer(300 << 10, n).data) for n in range(5)]
    assert seen.most == (most if has_threads else 1)
    assert all(not line.open_now for line in lines)


def test_a_large_window_behind_a_small_one(tmp_path: Path) -> None:
    """The window of a layer may become known only in its middle: it continues from there."""
    first, second = (windowed(seed, 20) for seed in (1, 2))
    large = [windowed(seed, 27) for seed in (3, 4)]
    body = read(first.data) + read(large[0].data)
    both = unpack(first) + unpack(large[0])
    mixed = replace(raw_layer(body, "none"), diff_id=digest_of(both))
    layers = [
        layer_of(tmp_path, Line(read(large[1].data), most=20_000), sample=large[1]),
        layer_of(tmp_path, Line(body, most=50_000), sample=mixed),
        layer_of(tmp_path, Line(read(second.data)), sample=second),
    ]
    assert fetched(*layers, jobs=3) == [unpack(large[1]), both, unpack(second)]
