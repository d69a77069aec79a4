"""Signals: how soon, with which message, what is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dockersave import Cancellation, CancelledError, ContentError, DockersaveError
from dockersave.cli import command
from dockersave.cli.console.console import Console
from tests.cli.command import COMMAND, Runner, environment, fill, on_a_terminal
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch
from tests.registry.simulator import Simulator

BIG = Store.of({"big": image([random_layer(8_000_000, 1), random_layer(8_000_000, 2)])})


@contextmanager
def slow_save(folder: Path, *arguments: str, **settings: object) -> Iterator[subprocess.Popen[str]]:
    """A save that takes far too long, and has fetched some of it."""
    with Simulator(BIG) as server:
        process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
            [*COMMAND, "--insecure", "--limit-rate", "500k", f"{server.host}/big", *arguments],
            cwd=folder,
            env=environment(folder),
            stderr=subprocess.PIPE,
            text=True,
            **settings,
        )
        try:
            end = time.monotonic() + 60
            while not any(request.kind == "blob" for request in server.requests):
                assert time.monotonic() < end
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(1.0)
            yield process
        finally:
            process.kill()
            process.communicate()


def _bytes_in(part: Path) -> int:
    """How many bytes of random layers are in a file with room for all of them."""
    content = part.read_bytes()
    return len(content) - content.count(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_within_a_second(tmp_path: Path, number: signal.Signals) -> None:
    with slow_save(tmp_path) as process:
        watch = Stopwatch()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert watch.own < 1.3, "a second, and the time to notice it here"
    assert process.returncode == 128 + number
    lines = said.splitlines()
    assert lines[-2] == f"dockersave: stopped by {number.name}"
    assert "big-latest.tar.part keeps what was fetched" in lines[-1]
    assert not (tmp_path / "big-latest.tar").exists()
    assert (tmp_path / "big-latest.tar.part").exists()


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--no-tar"], "big-latest.part"),
        (["--no-tar", "-o", "deeper/b"], "deeper/b.part"),
        (["--no-rm"], "big-latest.part"),
        (["--xz"], ""),
        (["-o", "-"], ""),
    ],
    ids=str,
)
def test_what_a_signal_leaves_is_named(tmp_path: Path, arguments: list[str], kept: str) -> None:
    (tmp_path / "deeper").mkdir()
    with slow_save(tmp_path, *arguments, stdout=subprocess.DEVNULL) as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    lines = said.splitlines()
    hint = f"  {kept} keeps what was fetched: the same command continues from there"
    assert lines[lines.index("dockersave: stopped by SIGTERM") :][1:] == [hint] * bool(kept)
    found = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.part")]
    assert found == [kept] * bool(kept)


def test_a_stopped_run_is_continued(tmp_path: Path, run: Runner) -> None:
    with slow_save(tmp_path) as process:
        part, end = tmp_path / "big-latest.tar.part", time.monotonic() + 60
        while _bytes_in(part) < 200_000:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    with Simulator(BIG) as server:
        done = run("--insecure", f"{server.host}/big")
    assert done.returncode == 0, done.stderr
    assert "reused" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("delay", [0, 0.001, 0.005, 0.02])
def test_the_same_signal_by_two_ways_is_one(
    tmp_path: Path, number: signal.Signals, delay: float
) -> None:
    """As from a supervisor, which signals the launcher as well."""
    with slow_save(tmp_path) as process:
        process.send_signal(number)
        time.sleep(delay)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"dockersave: stopped by {number.name}\n" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_heard_where_nobody_reads(tmp_path: Path, number: signal.Signals) -> None:
    with slow_save(tmp_path) as process:
        assert process.stderr is not None
        fill(process.stderr.fileno(), f"/proc/{process.pid}/fd/2")
        watch = Stopwatch()
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert watch.own < 1.3, "a second, and the time to notice it here"
    assert (tmp_path / "big-latest.tar.part").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_insists_need_not_wait(tmp_path: Path, number: signal.Signals) -> None:
    """Not even if nobody reads its output."""
    with slow_save(tmp_path) as process:
        assert process.stderr is not None
        fill(process.stderr.fileno(), f"/proc/{process.pid}/fd/2")
        watch = Stopwatch()
        process.send_signal(number)
        time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert watch.own < 0.9, "it did not wait for a reader"


def test_a_signal_that_comes_too_late_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A published archive is not reported as stopped."""

    def almost_done(cancellation: Cancellation) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not cancellation.cancelled:
            time.sleep(0.01)

    monkeypatch.setattr(command, "_command", lambda arguments, console: almost_done)
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        command.Run(Namespace(), Console()).run()
        os.kill(os.getpid(), signal.SIGTERM)  # and neither does its echo
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


def test_a_signal_that_comes_as_soon_as_it_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    install = signal.signal

    def at_once(number: signal.Signals, handler: signal.Handlers) -> object:
        replaced = install(number, handler)
        if number == signal.SIGINT and not ended:
            signal.raise_signal(number)
        return replaced

    monkeypatch.setattr(signal, "signal", at_once)
    before = {number: signal.getsignal(number) for number in command._SIGNALS}
    monkeypatch.setattr(command.Run, "_end_by_signal", lambda run: ended.append(run._signal))
    try:
        command.Run(Namespace(), Console(quiet=True)).run()
    finally:
        for number, handler in before.items():
            install(number, handler)
    assert ended == [signal.SIGINT]


@pytest.mark.parametrize("kind", [CancelledError, ContentError])
def test_hints_of_errors_that_come_of_a_signal_are_not_shown(
    kind: type[DockersaveError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(cancellation: Cancellation) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not cancellation.cancelled:
            time.sleep(0.01)
        raise kind("it is damaged", "save it again")

    monkeypatch.setattr(command, "_command", lambda arguments, talk: stopped)
    monkeypatch.setattr(os, "_exit", lambda code: None)
    before = {number: signal.getsignal(number) for number in command._SIGNALS}
    try:
        with pytest.raises(kind):
            command.Run(Namespace(), Console()).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    said = "dockersave: stopped by SIGTERM\n"
    assert capsys.readouterr().err == said + "  save it again\n" * (kind is CancelledError)


def test_nohup_stays_nohup(tmp_path: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with slow_save(tmp_path, preexec_fn=ignore) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(1.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_signal_while_the_registry_is_silent(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        process = subprocess.Popen(
            [*COMMAND, "--insecure", f"127.0.0.1:{server.getsockname()[1]}/x"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stderr=subprocess.PIPE,
            text=True,
        )
        with server.accept()[0]:
            time.sleep(0.2)
            watch = Stopwatch()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert watch.own < 1.3
    assert process.returncode == 130
    assert said.splitlines()[-1] == "dockersave: stopped by SIGINT"


def test_ctrl_c_leaves_a_clean_terminal(tmp_path: Path) -> None:
    with Simulator(BIG) as server:
        arguments = ["--insecure", "--limit-rate", "500k", f"{server.host}/big"]
        with on_a_terminal(tmp_path, *arguments) as terminal:
            terminal.read_until("kB/s")
            terminal.type("\x03")
            assert terminal.wait() == 130
    after = terminal.output.decode().rpartition("\x1b[J")[2]
    assert after.splitlines() == [
        "dockersave: stopped by SIGINT",
        "  big-latest.tar.part keeps what was fetched: the same command continues from there",
    ]
