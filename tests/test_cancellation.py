"""Stopping: at once, wherever the run is, with true messages, and without leftovers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError
from dockersave.model.options import Options
from tests.faults.saving import fetched, run, saved, sha256, start
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch, until
from tests.registry.simulator import Auth, Fault, Simulator

LAYERS = [random_layer(6_000_000, 1, "gzip"), random_layer(2_000_000, 2)]
STORE = Store.of({"sample": image(LAYERS)})
SIZE = sum(layer.size for layer in LAYERS)


def test_a_flag_that_wakes() -> None:
    flag, called = Cancellation(), threading.Event()
    flag.check()
    with flag.interrupting(called.set):
        timer = threading.Timer(0.05, flag.cancel)
        timer.start()
        watch = Stopwatch()
        with pytest.raises(CancelledError):
            flag.wait(10)
        assert watch.own < 1
        timer.join()
    assert called.is_set()
    assert flag.cancelled
    with pytest.raises(CancelledError), flag.interrupting(called.clear):
        raise AssertionError("it began")
    assert called.is_set()


def test_a_signal_handler_may_cancel_wherever_its_own_thread_waits() -> None:
    """It comes between any two lines, also while its thread holds a lock."""

    def wait(at: int) -> None:
        flag, lines = Cancellation(), 0

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal lines
            lines += event == "line"
            if lines == at:
                flag.cancel()
            return trace

        sys.settrace(trace)
        with suppress(CancelledError):
            flag.wait(0.01)
        sys.settrace(None)

    for at in range(1, 60):
        thread = threading.Thread(target=wait, args=(at,), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), f"it hangs if it is cancelled at line {at}"


def test_a_callback_is_forgotten() -> None:
    flag, called = Cancellation(), threading.Event()
    with flag.interrupting(called.set):
        pass
    flag.cancel()
    assert not called.is_set()


def test_a_child_hears_its_parent_and_keeps_to_itself() -> None:
    parent = Cancellation()
    child, other = parent.child(), parent.child()
    other.cancel()
    assert [parent.cancelled, child.cancelled] == [False, False]
    parent.cancel()
    assert child.cancelled
    assert parent.child().cancelled


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> tuple[int, str, float]:
    """Send a signal; return the exit code, the output, and how long it took by itself."""
    watch = Stopwatch()
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, err.decode(), watch.own


STAGES = {
    "resolving": [Fault.stall_after(-1, on="manifest")],
    "in a manifest": [Fault.stall_after(10, on="manifest")],
    "a token": [Fault.stall_after(-1, on="token")],
    "a config": [Fault.stall_after(5, on="config")],
    "a layer's answer": [Fault.stall_after(-1, on="blob")],
    "a layer": [Fault.stall_after(0.5, on="blob")],
    "a slow layer": [Fault.rate(50_000, on="blob")],
    "a pause": [Fault.status(503, retry_after="30", on="blob")],
}


@pytest.mark.parametrize("option", ["", "--gunzip", "--xz", "--no-tar"])
@pytest.mark.parametrize("stage", STAGES)
def test_within_a_second(stage: str, option: str, tmp_path: Path) -> None:
    with Simulator(STORE, auth=Auth(anonymous=True)) as server:
        server.faults.add(*STAGES[stage])
        process = start(server, *filter(None, [option]), cwd=tmp_path)
        until(server.faults.struck)
        time.sleep(0.2)
        code, err, seconds = stop(process)
        assert code == 143
        assert seconds < 1.2
        assert "stopped by SIGTERM" in err
        assert "Traceback" not in err
        left = [path.name for path in tmp_path.iterdir()]
        assert all(name.endswith(".part") for name in left)
        # What it says is kept must be.
        for name in left:
            assert (f"{name} keeps what was fetched" in err) == (option != "--xz")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_and_the_next_run_goes_on(number: int, tmp_path: Path) -> None:
    with Simulator(STORE) as server:
        server.faults.add(Fault.rate(2_000_000, on="blob"))
        process = start(server, "-o", "image.tar", cwd=tmp_path)
        until(lambda: fetched(server) > SIZE / 3)
        code, err, seconds = stop(process, number)
        assert code == 128 + number
        assert seconds < 1.2
        assert "image.tar.part keeps what was fetched: the same command continues" in err
        server.faults.clear()
        before = fetched(server)
        done = run(server, "-o", "image.tar", cwd=tmp_path)
        assert done.code == 0, done.err
        assert fetched(server) - before < SIZE
        right = run(server, "-o", "right.tar", cwd=tmp_path)
        assert right.code == 0
        assert sha256(tmp_path / "image.tar") == sha256(tmp_path / "right.tar")


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As with nohup."""
    with Simulator(STORE) as server:
        server.faults.add(Fault.rate(2_000_000, on="blob"))
        process = start(
            server, "-o", "image.tar", cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )  # fmt: skip
        until(lambda: fetched(server) > 100_000)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=100)
        assert process.returncode == 0


def test_while_a_slow_reader_sleeps(tmp_path: Path) -> None:
    with Simulator(STORE) as server:
        reading, writing = os.pipe()
        try:
            process = start(server, "-o", "-", cwd=tmp_path, stdout=writing)
            os.close(writing)
            until(lambda: fetched(server) > SIZE / 2)
            time.sleep(0.3)
            code, err, seconds = stop(process)
            assert code == 143
            assert seconds < 1.5
            assert "stopped by SIGTERM" in err
        finally:
            os.close(reading)
        assert not list(tmp_path.iterdir())


@contextmanager
def deaf(backlog: int) -> Iterator[str]:
    """A server that accepts nothing, or accepts and is silent."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        waiting = [socket.socket() for _ in range(3 if not backlog else 0)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for each in waiting:
            each.close()


@pytest.mark.parametrize(
    ("backlog", "option"), [(0, "--insecure"), (5, "--insecure"), (5, "--skip-tls-verify")]
)
def test_while_connecting_and_shaking_hands(backlog: int, option: str, tmp_path: Path) -> None:
    with Simulator(STORE) as unused, deaf(backlog) as host:
        unused.host = host
        process = start(unused, option, cwd=tmp_path)
        time.sleep(1.0)
        assert process.poll() is None
        code, err, seconds = stop(process, signal.SIGINT)
        assert code == 130
        assert seconds < 1.2
        assert "stopped by SIGINT" in err


@pytest.mark.parametrize("way", ["file", "gunzip", "xz", "tree", "unchanged"])
def test_no_thread_outlives_a_cancelled_call(way: str, tmp_path: Path) -> None:
    options = Options(
        gunzip=way == "gunzip", xz=way == "xz", tar=way != "tree", tree=way == "tree",
        working_dir=str(tmp_path), layers_dir="tree",
    )  # fmt: skip
    with Simulator(STORE) as server:
        output = tmp_path / "image.tar"
        if way == "unchanged":
            saved(server, output)
        else:
            server.faults.add(Fault.stall_after(0.3, on="blob"))
        flag = Cancellation()
        delay = 0.05 if way == "unchanged" else 0.5
        timer = threading.Timer(delay, flag.cancel)
        timer.start()
        watch = Stopwatch()
        try:
            saved(server, output, options=options, cancellation=flag, timeout=30.0)
        except CancelledError:
            pass
        else:
            assert way == "unchanged", "it ended by itself"
        timer.join()
        assert watch.own < delay + 1.0


def test_no_thread_outlives_a_failure(tmp_path: Path) -> None:
    """One layer is refused while the answers of the others are still awaited."""
    with Simulator(STORE) as server:
        server.faults.add(Fault.status(404, on="blob", reference=LAYERS[1].digest))
        server.faults.add(Fault.stall_after(-1, on="blob", reference=LAYERS[0].digest))
        watch = Stopwatch()
        with pytest.raises(Exception, match=LAYERS[1].digest):
            saved(server, tmp_path / "image.tar", timeout=30.0)
        assert watch.own < 2
