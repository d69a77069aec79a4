"""Words and frames on their way to a standard error that is not read, fails, or comes back."""

from __future__ import annotations

import fcntl
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest

from dockersave.cli.console import outbox as module
from dockersave.cli.console.bar import Bar
from dockersave.cli.console.jsonlines import JsonLines
from dockersave.cli.console.outbox import Outbox
from dockersave.limits import LIMITS
from tests.cli.console.screen import MB, Clock, Layer

PIPE = 16 * 4096


class Pipe:
    """Standard error as a pipe that is read when a test says so."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
        os.set_blocking(self.reader, False)
        self.stream = open(writer, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115

    def fill(self) -> None:
        """Leave no room for a single byte."""
        descriptor = self.stream.fileno()
        os.set_blocking(descriptor, False)
        with suppress(BlockingIOError):
            while True:
                os.write(descriptor, b"x")
        os.set_blocking(descriptor, True)

    def read(self) -> str:
        """What is in it now."""
        with suppress(BlockingIOError):
            return os.read(self.reader, 1 << 20).decode()
        return ""

    def read_until(self, end: str) -> str:
        """What comes until a text has come, or fail; what filled it is left out."""
        text = ""
        deadline = time.monotonic() + 20
        while not text.endswith(end):
            assert time.monotonic() < deadline, text
            text += self.read()
            time.sleep(0.001)
        return text.lstrip("x")

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.reader)
        self.stream.close()


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    made, before = Pipe(), threading.enumerate()
    # Of sys itself, pytest replaces it when the test begins.
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=made.stream))
    yield made
    # A thread that still waits for a reader ends: there is none any more.
    with suppress(OSError):
        os.close(made.reader)
    end = time.monotonic() + 20
    while any(thread not in before for thread in threading.enumerate()):
        assert time.monotonic() < end, "a thread is left"
        time.sleep(0.01)
    made.close()


@pytest.fixture(params=["a thread", "no threads"])
def outbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    """An outbox where the system grants threads, and where it does not."""
    if request.param == "no threads":
        refuse_threads(monkeypatch)
    made = Outbox()
    yield made
    made.flush(0.0)


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_all_is_written_in_order(pipe: Pipe, outbox: Outbox) -> None:
    for number in range(20):
        outbox.say(f"{number}\n")
    outbox.flush()
    assert pipe.read() == "".join(f"{number}\n" for number in range(20))


def test_after_a_flush_it_goes_on(pipe: Pipe, outbox: Outbox) -> None:
    for word in ("one\n", "two\n"):
        outbox.say(word)
        outbox.flush()
        assert pipe.read() == word


def test_who_says_something_never_waits(pipe: Pipe, outbox: Outbox) -> None:
    pipe.fill()
    # If it did, there would be no end to it.
    for number in range(1000):
        outbox.say(f"{number}\n")
        outbox.show(lambda: "frame\n")
    begun = time.monotonic()
    outbox.flush(0.2)
    assert time.monotonic() - begun > 0.15
    assert pipe.read() == "x" * PIPE


def test_who_comes_back_gets_all_words_and_the_newest_frame(pipe: Pipe, outbox: Outbox) -> None:
    pipe.fill()
    outbox.say("first\n")
    # The thread has taken the first word by now, or it takes none of the frames.
    for number in range(50):
        outbox.show(lambda number=number: f"frame {number}\n")  # type: ignore[misc]
        if number == 20:
            outbox.say("second\n")
    outbox.say("third\n")
    text = _read_while_flushing(pipe, outbox, "third\n")
    assert text == "first\nsecond\nframe 49\nthird\n"


def _read_while_flushing(pipe: Pipe, outbox: Outbox, end: str) -> str:
    """What comes, where it may be that only `flush` writes."""
    text = pipe.read()
    deadline = time.monotonic() + 20
    while not text.endswith(end):
        assert time.monotonic() < deadline, text
        outbox.flush(0.01)
        text += pipe.read()
    return text.lstrip("x")


def test_too_many_words_drop_the_oldest(pipe: Pipe, outbox: Outbox) -> None:
    pipe.fill()
    line = "y" * 999 + "\n"
    for _ in range(2 * LIMITS.unread // len(line)):
        outbox.say(line)
    outbox.say("the end\n")
    text = _read_while_flushing(pipe, outbox, "the end\n")
    assert LIMITS.unread - 2000 < len(text) < LIMITS.unread + 2000
    assert set(text.splitlines()) == {line.rstrip(), "the end"}


def test_the_last_words_may_be_long(pipe: Pipe, outbox: Outbox) -> None:
    """What was saved, of ten thousand images."""
    pipe.fill()
    outbox.say("before\n")
    outbox.say("before\n")
    outbox.say("z" * (2 * LIMITS.unread) + "\n")
    text = _read_while_flushing(pipe, outbox, "z\n")
    assert text.endswith("z" * (2 * LIMITS.unread) + "\n")


def test_a_frame_that_does_not_differ_is_not_written(pipe: Pipe, outbox: Outbox) -> None:
    outbox.show(lambda: "")
    outbox.say("word\n")
    outbox.flush()
    assert pipe.read() == "word\n"


def test_nobody_is_there_to_read(pipe: Pipe, outbox: Outbox) -> None:
    os.close(pipe.reader)
    for _ in range(3):
        outbox.say("word\n")
        outbox.flush(20)


def test_somebody_else_has_made_it_non_blocking(pipe: Pipe, outbox: Outbox) -> None:
    pipe.fill()
    os.set_blocking(pipe.stream.fileno(), False)
    text = "".join(f"{number}\n" for number in range(5000))
    outbox.say(text)
    assert _read_while_flushing(pipe, outbox, "4999\n") == text
    assert not os.get_blocking(pipe.stream.fileno()), "it is theirs"


def test_the_descriptor_is_left_as_it_is(pipe: Pipe, outbox: Outbox) -> None:
    outbox.say("word\n")
    outbox.flush()
    assert os.get_blocking(pipe.stream.fileno())


def test_a_full_disk_tears_no_line(
    pipe: Pipe, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there is room again, writing continues where the torn line ended."""
    room = 12
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        nonlocal room
        if descriptor != pipe.stream.fileno():
            return write(descriptor, data)
        if not room:
            raise OSError(28, "No space left on device")
        written = write(descriptor, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", full)
    outbox.say("whole\nand torn\nnot begun\n")
    outbox.flush()
    outbox.say("lost\n")
    outbox.flush()
    room = 1000
    outbox.say("after\n")
    outbox.flush()
    assert pipe.read() == "whole\nand torn\nafter\n"


def test_what_is_no_file_is_written_to_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    refuse_threads(monkeypatch)  # it would be of no use
    outbox = Outbox()
    outbox.say("word\n")
    outbox.show(lambda: "frame\n")
    assert stream.getvalue() == "word\nframe\n"


def test_the_encoding_is_standard_errors(pipe: Pipe, outbox: Outbox) -> None:
    pipe.stream.reconfigure(encoding="ascii", errors="strict")
    outbox.say("ü█\n")
    outbox.flush()
    assert pipe.read() == "\\xfc\\u2588\n"


@pytest.mark.parametrize("threads", [True, False])
def test_json_lines_are_whole_whoever_pauses(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, threads: bool
) -> None:
    if not threads:
        refuse_threads(monkeypatch)
    clock = Clock()
    layers = [Layer("ab"[n % 2], MB) for n in range(200)]
    lines = JsonLines(clock=clock)
    pipe.fill()
    lines.phase("resolving")
    lines.start(layers)
    text = ""
    for round_, layer in enumerate(layers):
        layer.finish()
        clock.now += 1
        lines.tick()
        if round_ % 100 == 99:
            text += pipe.read()
    lines.note("the last")
    text += _read_while_flushing(pipe, lines.outbox, '"the last"}\n')
    events = [json.loads(line) for line in text.lstrip("x").splitlines()]
    names = [event["event"] for event in events]
    assert names[:2] == ["phase", "start"]
    assert names.count("layer") == 200, "words are not dropped while they are few"
    assert names.count("progress") < 200
    lines.flush()
    newest = [event for event in events if event["event"] == "progress"][-1]
    assert newest["layers_done"] == 200


def test_a_bar_that_was_stopped_goes_on_where_it_was(pipe: Pipe) -> None:
    """Ctrl-S, and after a while Ctrl-Q: the frames between are never drawn."""
    clock = Clock()
    bar = Bar(clock, lambda: os.terminal_size((80, 24)))
    layers = [Layer("a", 100 * MB), Layer("b", 100 * MB)]
    bar.start(layers)
    assert "  0 %" in pipe.read_until("\x1b[J")
    pipe.fill()
    for _ in range(50):
        clock.now += 1
        layers[0].present += MB
        bar.tick()
        bar.note("slow")
    text = ""
    while text.count("slow") < 50 or not text.endswith("left"):
        text += pipe.read()
    assert text.count("\x1b[J") <= 53, "a frame that was under way, the newest, and above each note"
    assert "25 %  50/200 MB" in text.splitlines()[-1]
    bar.finish()
    bar.note("the end")
    assert pipe.read_until("the end\n") == "\r\x1b[1A\x1b[Jdockersave: the end\n"
    bar.flush()


def test_no_frame_after_the_last(pipe: Pipe) -> None:
    """A thread that is slow to stop may still show what it does."""
    bar = Bar(Clock(), lambda: os.terminal_size((80, 24)))
    bar.start([Layer("a", MB)])
    bar.finish()
    bar.phase("publishing")
    bar.start([Layer("a", MB)])
    bar.note("the end")
    bar.flush()
    assert pipe.read().rpartition("\x1b[J")[2] == "dockersave: the end\n"
