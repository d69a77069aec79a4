"""Which progress is shown where: lines in a log, JSON for a program; and what it costs."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Sequence

import pytest

from dockersave import DockersaveError
from dockersave.cli.console.bar import Bar
from dockersave.cli.console.choice import console_for
from dockersave.cli.console.console import Console
from dockersave.cli.console.jsonlines import JsonLines
from dockersave.cli.console.plain import Plain
from dockersave.errors import NetworkError, SaveFailures
from dockersave.progress import Transfer
from tests.cli.console.screen import MB, Clock, Layer, Terminal, saved


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
    progress.saved(saved())
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
                    "signers": [],
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
        for progress in (Console(), Plain(), Bar(), JsonLines(), console_for("auto")):
            progress.start([Layer("a", 10, 5)])
            progress.note("hello")
            progress.finish()
            progress.failed(DockersaveError("it failed"))


def test_quiet_says_nothing_but_failures(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("auto", "bar", "plain", "json", "none"):
        shown = console_for(kind, quiet=True)
        shown.phase("resolving")
        shown.start([Layer("a", 10, 5)])
        shown.tick()
        shown.note("hello")
        shown.saved(saved())
        shown.finish()
        assert capsys.readouterr() == ("", "")
        shown.failed(DockersaveError("it failed", "try again"))
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
    assert type(console_for(kind)) is expected


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
