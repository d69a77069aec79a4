"""What a run shows of itself, on a terminal that is emulated, in a log, and to a program."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyte
import pytest

from dockersave import DockersaveError, Platform, Reference, Saved, SavedImage
from dockersave.cli.console.bar import Bar, Style
from dockersave.cli.console.choice import console
from dockersave.cli.console.console import Console
from dockersave.cli.console.jsonlines import JsonLines
from dockersave.cli.console.plain import Plain
from dockersave.errors import NetworkError, SaveFailures
from dockersave.progress import Transfer

MB = 1_000_000


@dataclass
class Layer:
    """A transfer whose state a test sets."""

    name: str
    size: int
    present: int = 0
    reused: int = 0
    done: bool = False

    @property
    def digest(self) -> str:
        return f"sha256:{self.name * 64}"[:71]

    def finish(self) -> None:
        self.present, self.done = self.size, True


class Clock:
    """A clock that advances when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A terminal: what is written to it appears on a screen of `columns` × `lines`."""

    def __init__(self, columns: int, lines: int = 16) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self.frames: list[str] = []

    encoding = "utf-8"

    def write(self, text: str) -> int:
        self.frames.append(text)
        # What a terminal's line discipline does.
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    @property
    def shown(self) -> list[str]:
        """The lines on the screen, without those that are empty at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n").split("\n")

    @property
    def size(self) -> os.terminal_size:
        return os.terminal_size((self.screen.columns, self.screen.lines))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Terminal]:
    def make(columns: int) -> Terminal:
        made = Terminal(columns)
        monkeypatch.setattr(sys, "stderr", made)
        return made

    return make


def _saved() -> Saved:
    reference = Reference.parse("debian:12")
    platform = Platform("linux", "arm", "v7")
    image = SavedImage(reference, "sha256:" + "0" * 64, platform, (platform,))
    return Saved(("debian.tar",), (image,), 50 * MB, 30 * MB, 20 * MB, False)


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
    bar.saved(_saved())
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


def test_a_log_gets_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    plain = Plain(clock)
    layer = Layer("a", 1000 * MB, 100 * MB, 100 * MB)
    plain.start([layer, Layer("b", 1000 * MB)])
    for _ in range(1200):
        clock.now += 0.1
        layer.present += MB // 10
        plain.tick()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5, "after 2, 6, 14, 30 and 62 seconds; the next is due after 122"
    assert lines[0] == ("dockersave: 5 % of 2 GB, 0 of 2 layers, 100 MB reused, 1 MB/s, 31:38 left")


def test_a_program_gets_json(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = JsonLines(clock=clock)
    layers = [Layer("a", 100, 40, 40), Layer("b", 100)]
    progress.phase("resolving")
    progress.start(layers)
    progress.tick()
    clock.now += 1
    layers[0].finish()
    progress.tick()
    progress.note("a note\nof two lines \x1b[31m")
    progress.saved(_saved())
    progress.finish()
    progress.failed(DockersaveError("it failed", "try again"))
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert events == [
        {"event": "phase", "name": "resolving"},
        {
            "event": "start",
            "size": 200,
            "present": 40,
            "reused": 40,
            "layers": 2,
            "layers_done": 0,
        },
        {"event": "layer", "digest": layers[0].digest, "size": 100, "reused": 40},
        {
            "event": "progress",
            "size": 200,
            "present": 100,
            "reused": 40,
            "layers": 2,
            "layers_done": 1,
            "rate": 60,
            "seconds_left": 1.7,
        },
        {"event": "note", "message": "a note\nof two lines \x1b[31m"},
        {
            "event": "saved",
            "images": [
                {
                    "reference": "debian:12",
                    "digest": "sha256:" + "0" * 64,
                    "platform": "linux/arm/v7",
                    "platforms": ["linux/arm/v7"],
                }
            ],
            "paths": ["debian.tar"],
            "size": 50 * MB,
            "fetched": 30 * MB,
            "reused": 20 * MB,
            "unchanged": False,
        },
        {
            "event": "error",
            "message": "it failed",
            "hint": "try again",
            "exit_code": 1,
            "failures": [],
        },
    ]


def test_each_of_several_failures_names_options_as_the_command_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    several = [NetworkError("no answer; --timeout waits longer").about(each) for each in "ab"]
    made = JsonLines()
    made.failed(SaveFailures(several))
    made.flush()
    event = json.loads(capsys.readouterr().err)
    assert event["failures"] == [f"{each}: no answer; --timeout waits longer" for each in "ab"]


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    for stream in (None, Closed(), closed):
        monkeypatch.setattr(sys, "stderr", stream)
        for progress in (Console(), Plain(), Bar(), JsonLines(), console("auto")):
            progress.start([Layer("a", 10, 5)])
            progress.note("hello")
            progress.finish()
            progress.failed(DockersaveError("it failed"))


def test_quiet_says_nothing_but_failures(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("auto", "bar", "plain", "json", "none"):
        talk = console(kind, quiet=True)
        talk.phase("resolving")
        talk.start([Layer("a", 10, 5)])
        talk.tick()
        talk.note("hello")
        talk.saved(_saved())
        talk.finish()
        assert capsys.readouterr() == ("", "")
        talk.failed(DockersaveError("it failed", "try again"))
        assert "it failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "is_terminal", "term", "expected"),
    [
        ("auto", True, "xterm", Bar),
        ("auto", True, "dumb", Plain),
        ("auto", True, None, Plain),
        ("auto", False, "xterm", Plain),
        ("bar", False, None, Bar),
        ("plain", True, "xterm", Plain),
        ("json", True, "xterm", JsonLines),
        ("none", True, "xterm", Console),
    ],
)
def test_which_progress_fits(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    is_terminal: bool,
    term: str | None,
    expected: type[Console],
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    assert type(console(kind)) is expected


@pytest.mark.parametrize("make", [Bar, Plain, JsonLines])
def test_what_progress_costs(
    terminal: Callable[[int], Terminal], make: Callable[[], Console]
) -> None:
    """At most 1 % of the time, whatever the speed: ten ticks take no more than 10 ms a second."""
    sys_stderr = terminal(200)
    sys_stderr.write = len  # type: ignore[method-assign, assignment]
    layers: Sequence[Transfer] = [Layer("a", MB, 1000 + n) for n in range(127)]
    progress = make()
    progress.start(layers)
    begun = time.thread_time()
    for tick in range(20):
        layers[0].present = tick  # type: ignore[misc]
        progress._next = 0.0  # type: ignore[attr-defined]
        progress.tick()
    assert (time.thread_time() - begun) / 20 < 0.001
