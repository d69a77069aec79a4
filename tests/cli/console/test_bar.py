"""Bars on a terminal, which is emulated."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import pytest

from dockersave.cli.console.bar import Bar, Style
from tests.cli.console.screen import MB, Clock, Layer, Terminal, saved


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_bars_fit_the_terminal_and_are_as_long_as_one_another(
    terminal: Callable[[int], Terminal], clock: Clock, columns: int
) -> None:
    screen = terminal(columns)
    bar = Bar(clock, lambda: screen.size)
    layers = [Layer("a", 10 * MB), Layer("b", 20 * MB, 5 * MB, 5 * MB), Layer("c", 3 * MB)]
    bar.start(layers)
    layers[0].present = 5 * MB
    clock.now += 1
    bar.tick()
    shown = screen.shown
    assert len(shown) == 3, "a line for each layer that has begun, and one for all"
    assert all(len(line) < columns for line in shown)
    assert shown[0].startswith("aaaaaaaaaaaa ")
    assert "50 %" in shown[0]
    assert "25 %" in shown[1]
    assert shown[2].startswith("0/3 layers ")
    assert "30 %" in shown[2]
    bars = [sum(line.count(cell) for cell in "█▓░") for line in shown]
    assert bars[0] == bars[1] == bars[2] >= 6
    assert "▓" in shown[1], "what was here before looks different"
    assert "▓" not in shown[0]
    assert "0:05" in shown[2], "23 MB are left at 5 MB/s"
    if columns >= 80:
        assert "10/33 MB" in shown[2]
        assert "5 MB/s" in shown[2]
        assert "5 MB reused" in shown[1]
    if columns >= 200:
        assert "5 MB reused" in shown[2]


def test_the_bar_leaves_nothing_behind(terminal: Callable[[int], Terminal], clock: Clock) -> None:
    screen = terminal(80)
    screen.write("$ dockersave debian\n")
    bar = Bar(clock, lambda: screen.size)
    bar.phase("resolving")
    assert screen.shown == ["$ dockersave debian", "resolving"]
    bar.start([Layer("a", MB, 1000), Layer("b", MB, 1000)])
    assert len(screen.shown) == 4
    bar.phase("publishing")
    assert "publishing" in screen.shown[-1]
    bar.finish()
    assert screen.shown == ["$ dockersave debian"]
    bar.saved(saved())
    assert (
        "".join(screen.shown[1:3]) == f"dockersave: debian:12: sha256:{'0' * 64} for linux/arm/v7"
    )
    assert screen.shown[3:] == ["dockersave: debian.tar: 50 MB, 20 MB of it reused"]


def test_notes_stand_above_the_bars(terminal: Callable[[int], Terminal], clock: Clock) -> None:
    screen = terminal(80)
    bar = Bar(clock, lambda: screen.size)
    bar.start([Layer("a", MB, 1000)])
    bars = screen.shown
    bar.note("the registry is slow")
    assert screen.shown == ["dockersave: the registry is slow", *bars]
    bar.note("and slower")
    assert screen.shown[2:] == bars
    bar.finish()
    assert screen.shown == ["dockersave: the registry is slow", "dockersave: and slower"]


@pytest.mark.parametrize("columns", [79, 60, 50, 33, 20, 8, 1])
def test_a_terminal_that_becomes_narrower(
    terminal: Callable[[int], Terminal], clock: Clock, columns: int
) -> None:
    wide = terminal(80)
    size = os.terminal_size((80, 24))
    bar = Bar(clock, lambda: size)
    layer = Layer("a", MB, 1000)
    bar.start([layer, Layer("b", MB, 2000)])
    before = wide.shown
    # A terminal wraps what no longer fits: as if it had been written to a narrow one.
    narrow = Terminal(columns, 200)
    sys.stderr = narrow
    narrow.write("$ dockersave debian\n")
    prompt = narrow.shown
    narrow.write("\n".join(before))
    size = os.terminal_size((columns, 24))
    layer.present = 500_000
    clock.now += 1
    bar.tick()
    assert narrow.shown[: len(prompt)] == prompt, "what stood there before is still there"
    assert all(len(line) <= columns for line in narrow.shown)
    bar.finish()
    assert narrow.shown == prompt


def test_a_frame_is_one_write_and_only_when_it_differs(
    terminal: Callable[[int], Terminal], clock: Clock
) -> None:
    screen = terminal(80)
    bar = Bar(clock, lambda: screen.size)
    layer = Layer("a", MB)
    bar.start([layer])
    assert len(screen.frames) == 1
    for _ in range(50):
        bar.tick()
    assert len(screen.frames) == 1, "no time has passed"
    clock.now += 0.2
    bar.tick()
    assert len(screen.frames) == 1, "nothing has changed"
    layer.present = 500_000
    bar.tick()
    assert len(screen.frames) == 1, "too soon after the last frame"
    clock.now += 0.2
    bar.tick()
    assert len(screen.frames) == 2


def test_more_layers_than_lines(terminal: Callable[[int], Terminal], clock: Clock) -> None:
    screen = terminal(80)
    bar = Bar(clock, lambda: os.terminal_size((80, 5)))
    layers = [Layer("ab"[n % 2], MB, 1000) for n in range(127)]
    bar.start(layers)
    assert len(screen.shown) == 4
    assert screen.shown[-1].startswith("0/127 ")
    for layer in layers:
        layer.finish()
    clock.now += 1
    bar.tick()
    assert len(screen.shown) == 1
    assert screen.shown[0].startswith("127/127 ")
    assert "100 %" in screen.shown[0]


def test_an_image_without_bytes(terminal: Callable[[int], Terminal], clock: Clock) -> None:
    screen = terminal(80)
    bar = Bar(clock, lambda: screen.size)
    bar.start([Layer("a", 0, 0, 0, True)])
    assert "100 %" in screen.shown[0]
    bar.start([])
    clock.now += 1
    bar.tick()
    bar.finish()
    assert screen.shown == [""]


def test_one_transfer_needs_one_line(terminal: Callable[[int], Terminal], clock: Clock) -> None:
    screen = terminal(80)
    bar = Bar(clock, lambda: screen.size)
    bar.start([Layer("a", MB, 1000)])
    assert len(screen.shown) == 1
    assert screen.shown[0].startswith("aaaaaaaaaaaa ")


def test_an_ascii_terminal_gets_an_ascii_bar() -> None:
    assert Style.of("utf-8").fetched == "█"
    for encoding in ("ascii", "latin-1", None, "no-such-encoding"):
        style = Style.of(encoding)
        assert (style.fetched + style.reused + style.missing).isascii()


def test_notes_from_many_threads_do_not_garble_the_bars(
    terminal: Callable[[int], Terminal],
) -> None:
    screen = terminal(80)
    ticks = iter(range(1_000_000))
    bar = Bar(lambda: float(next(ticks)), lambda: screen.size)
    layer = Layer("a", MB, 1)
    bar.start([layer, Layer("b", MB)])

    def note() -> None:
        for _ in range(50):
            bar.note("note")

    notes = [threading.Thread(target=note) for _ in range(4)]
    for thread in notes:
        thread.start()
    while any(thread.is_alive() for thread in notes):
        layer.present += 1
        bar.tick()
    for thread in notes:
        thread.join()
    bar.tick()
    lines = screen.shown
    assert all(line == "dockersave: note" for line in lines[:-2])
    assert lines[-2].startswith("aaaaaaaaaaaa ")
    assert lines[-1].startswith("0/2 layers ")
