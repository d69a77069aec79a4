"""Standard error without a reader, or with a late one: only lines get lost."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from tests.cli.command import COMMAND, environment, fill, on_a_terminal
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch
from tests.registry.simulator import Simulator

APP = Store.of({"app": image([random_layer(300_000, 1), random_layer(200_000, 2)])})

_NO_THREAD_FOR_WORDS = """import runpy, sys, threading
start = threading.Thread.start
def refuse(self):
    if self.name == "outbox":
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refuse
runpy.run_module("dockersave", run_name="__main__")"""

_NO_THREADS = _NO_THREAD_FOR_WORDS.replace('self.name == "outbox"', "True")

COMMANDS = {
    "threads": COMMAND,
    "no thread for words": [sys.executable, "-c", _NO_THREAD_FOR_WORDS],
    "no threads": [sys.executable, "-c", _NO_THREADS],
}


@contextmanager
def blocked(
    folder: Path, *arguments: str, kind: str = "threads"
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The command, and the reading end of its standard error, which is full."""
    reader, writer = os.pipe()
    fill(reader, f"/proc/self/fd/{writer}")
    process = subprocess.Popen(
        [*COMMANDS[kind], *arguments],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writer,
    )
    os.close(writer)
    try:
        yield reader, process
    finally:
        process.kill()
        process.communicate()
        os.close(reader)


@pytest.mark.parametrize(
    ("progress", "kind"),
    [
        *((progress, "threads") for progress in ("plain", "bar", "json", "none")),
        ("json", "no thread for words"),
        ("bar", "no threads"),
    ],
)
def test_a_save(tmp_path: Path, progress: str, kind: str) -> None:
    with Simulator(APP) as server:
        arguments = ["--insecure", "-v", "--progress", progress, f"{server.host}/app"]
        with blocked(tmp_path, *arguments, kind=kind) as (_, process):
            assert process.wait(100) == 0
    assert (tmp_path / "app-latest.tar").exists()


@pytest.mark.parametrize("kind", ["threads", "no threads"])
def test_questions_and_errors(tmp_path: Path, kind: str) -> None:
    """The output arrives, and the exit code is right."""
    with Simulator(APP) as server:
        app = f"{server.host}/app"
        for arguments, code, said in (
            (["--insecure", "--tags", app, "--reuse", "none.tar"], 2, b""),
            (["--insecure", "--tags", app, "--user", "me", "--password", "word"], 0, b"latest\n"),
            (["--verify", "none.tar"], 2, b""),
            (["--insecure", f"{server.host}/none"], 3, b""),
            (["--no-such-option"], 2, b""),
        )[kind == "no threads" :: 1 + (kind == "no threads")]:
            with blocked(tmp_path, *arguments, kind=kind) as (_, process):
                out, _ = process.communicate(timeout=100)
                assert (process.returncode, out) == (code, said), arguments


def test_a_check(tmp_path: Path) -> None:
    with Simulator(APP) as server:
        subprocess.run(
            [*COMMAND, "--insecure", "-q", f"{server.host}/app", "-o", "app.tar"],
            cwd=tmp_path,
            env=environment(tmp_path),
            check=True,
        )
    with blocked(tmp_path, "--verify", "app.tar") as (_, process):
        assert process.wait(100) == 0
    with (tmp_path / "app.tar").open("r+b") as file:
        file.seek(100_000)
        file.write(b"wrong")
    with blocked(tmp_path, "--verify", "app.tar") as (_, process):
        assert process.wait(100) == 6


def test_the_end_does_not_wait_for_a_reader_for_long(tmp_path: Path) -> None:
    with blocked(tmp_path, "--verify", "none.tar") as (reader, process):
        assert process.wait(100) == 2
        # What had no room is lost with the process: whole lines, here all of them.
        assert set(os.read(reader, 1 << 20)) == {ord("x")}


def test_who_reads_late_at_the_end_gets_the_last_words(tmp_path: Path) -> None:
    with blocked(tmp_path, "--no-such-option") as (reader, process):
        text = b""
        while data := os.read(reader, 1 << 20):
            text += data
        assert process.wait(100) == 2
    assert text.lstrip(b"x").decode().splitlines()[0] == (
        "dockersave: error: unknown option --no-such-option"
    )


def test_a_reader_that_comes_back(tmp_path: Path) -> None:
    """It gets every word, and of the progress only the newest."""
    with Simulator(APP) as server:
        arguments = ["--insecure", "--limit-rate", "100k", f"{server.host}/app"]
        with blocked(tmp_path, *arguments, "--progress", "json") as (reader, process):
            end = time.monotonic() + 100
            while not any(request.kind == "blob" for request in server.requests):
                assert time.monotonic() < end
                time.sleep(0.02)
            time.sleep(2)
            text = os.read(reader, 1 << 20).lstrip(b"x")
            while text.count(b"\n") < 3:
                text += os.read(reader, 1 << 20)
            assert process.poll() is None, "it goes on"
            process.send_signal(signal.SIGTERM)
            while data := os.read(reader, 1 << 20):
                text += data
            assert process.wait(100) == 143
    events = [json.loads(line) for line in text.lstrip(b"x").splitlines()]
    assert [event["event"] for event in events[:3]] == ["phase", "start", "progress"]
    assert events[2]["present"] > 100_000, "the newest state"
    assert events[-1]["message"] == "stopped by SIGTERM"


def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    with Simulator(APP) as server:
        arguments = ["--insecure", "--limit-rate", "400k", f"{server.host}/app"]
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--progress", "json"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        assert process.stderr.readline()
        process.stderr.close()
        assert process.wait(100) == 0
    assert (tmp_path / "app-latest.tar").exists()


CTRL_S, CTRL_Q = "\x13", "\x11"


def test_ctrl_s_stops_the_terminal_alone(tmp_path: Path) -> None:
    with Simulator(APP) as server:
        arguments = ["--insecure", "--limit-rate", "200k", f"{server.host}/app"]
        with on_a_terminal(tmp_path, *arguments) as terminal:
            terminal.read_until("kB/s")
            terminal.type(CTRL_S)
            end = time.monotonic() + 100
            while not (tmp_path / "app-latest.tar").exists():
                assert time.monotonic() < end, "it goes on meanwhile"
                time.sleep(0.02)
            terminal.type(CTRL_Q)
            assert terminal.wait() == 0
    assert _screen(terminal.output)[-1].startswith("dockersave: app-latest.tar: 5")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_terminal_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    with Simulator(APP) as server:
        arguments = ["--insecure", "--limit-rate", "50k", f"{server.host}/app"]
        with on_a_terminal(tmp_path, *arguments) as terminal:
            terminal.read_until("kB/s")
            terminal.type(CTRL_S)
            time.sleep(0.5)
            watch = Stopwatch()
            os.kill(terminal.pid, number)
            assert terminal.wait() == 128 + number
            assert watch.own < 1.3, "a second, and the time to notice it here"


def _screen(output: bytes) -> list[str]:
    screen = pyte.Screen(80, 24)
    pyte.ByteStream(screen).feed(output)
    return [line.rstrip() for line in screen.display if line.strip()]


@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_heard_where_nobody_takes_the_archive(
    kind: str, number: signal.Signals, tmp_path: Path
) -> None:
    """`-o - | something` that has stopped reading; with no threads, too."""
    reader, writer = os.pipe()
    with Simulator(APP) as server:
        process = subprocess.Popen(
            [*COMMANDS[kind], "--insecure", f"{server.host}/app", "-o", "-"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=writer,
            stderr=subprocess.PIPE,
        )
        try:
            until_full(writer)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
            os.close(reader)
            os.close(writer)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}".encode() in said


def until_full(writer: int) -> None:
    """Wait until a pipe is full."""
    while select.select([], [writer], [], 0)[1]:
        time.sleep(0.01)
