"""The module in programs that are stopped, that fork, that end, and that are strict."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import dockersave
from tests.images import Store, image, random_layer
from tests.pace import until
from tests.registry.simulator import Fault, Simulator

PLAIN = dockersave.Network(insecure=True, retries=3)
STORE = Store.of(
    {name: image([random_layer(400_000, seed)]) for seed, name in enumerate("abcdef", start=1)}
)
NAMES = "abcdef"
LONG = 300.0
"""Seconds that nobody waits for."""


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_ctrl_c_while_images_are_resolved() -> None:
    before = threading.active_count()
    begun = time.monotonic()
    with Simulator(STORE) as server:
        server.faults.add(Fault.delay(LONG, on="manifest"))

        def interrupt() -> None:
            until(lambda: len(server.requests) >= 3)
            os.kill(os.getpid(), signal.SIGINT)

        other = threading.Thread(target=interrupt)
        other.start()
        network = dockersave.Network(insecure=True, timeout=LONG)
        with pytest.raises(KeyboardInterrupt):
            dockersave.save(
                *(f"{server.host}/{name}" for name in NAMES), output="x.tar", network=network
            )
        other.join()
        assert time.monotonic() - begun < LONG / 2
        assert not [each for each in threading.enumerate() if "outbox" in each.name]
    until(lambda: threading.active_count() == before)  # one may be about to start, and ends at once
    assert not list(Path().iterdir())


async def ended(task: asyncio.Task[Any]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("on", ["manifest", "blob"])
def test_a_cancelled_task_stops_its_save(on: str) -> None:
    async def main(server: Simulator) -> None:
        network = dockersave.Network(insecure=True, timeout=LONG)
        task = asyncio.create_task(
            dockersave.save_async(f"{server.host}/a", output=Path("a.tar"), network=network)
        )
        while not [each for each in server.requests if on in each.path or "blobs" in each.path]:
            await asyncio.sleep(0.01)
        task.cancel()
        await ended(task)
        # Nothing is still running: another save of the same file is not blocked.
        server.faults.clear()
        saved = await dockersave.save_async(f"{server.host}/a", output="a.tar", network=PLAIN)
        assert saved.paths == ("a.tar",)

    with Simulator(STORE) as server:
        server.faults.add(Fault.delay(LONG, on=on))
        begun = time.monotonic()
        asyncio.run(main(server), debug=True)
        assert time.monotonic() - begun < LONG / 2


def test_a_save_in_a_task_fails_and_ends_as_any_other() -> None:
    async def main(server: Simulator) -> None:
        with pytest.raises(dockersave.NotFoundError):
            await dockersave.save_async(f"{server.host}/none", output="x.tar", network=PLAIN)
        stop = dockersave.Cancellation()
        stop.cancel()
        with pytest.raises(dockersave.CancelledError):
            await dockersave.save_async(
                f"{server.host}/a", output="x.tar", network=PLAIN, cancellation=stop
            )
        server.faults.add(Fault.delay(LONG, on="manifest"))
        mine = dockersave.Cancellation()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await dockersave.save_async(
                    f"{server.host}/b", output="x.tar", network=PLAIN, cancellation=mine
                )
        assert not mine.cancelled, "it is the caller's, and may be used again"

    with Simulator(STORE) as server:
        asyncio.run(main(server), debug=True)
    assert not Path("x.tar").exists()


def test_nothing_of_asyncio_is_loaded_unless_it_is_used() -> None:
    script = "import sys, dockersave; dockersave.save; print('asyncio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_many_threads_at_once() -> None:
    with Simulator(STORE) as server, ThreadPoolExecutor(12) as pool:
        saves = [
            pool.submit(
                dockersave.save,
                f"{server.host}/{name}",
                output=f"{name}{number}.tar",
                network=PLAIN,
            )
            for name in NAMES
            for number in range(2)
        ]
        for save in saves:
            assert dockersave.check_archive(save.result().paths[0]).is_right
    for name in NAMES:
        assert Path(f"{name}0.tar").read_bytes() == Path(f"{name}1.tar").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gunzip": True},
        {"xz": True},
        {"tar": False, "tree": True, "layers_dir": "a.tar"},
        {"tree": True, "layers_dir": "a", "cache_dir": Path("cache")},
    ],
    ids=["file", "gunzip", "in order", "directory", "both, and a cache"],
)
def test_many_threads_and_one_output(options: dict[str, Any]) -> None:
    def one(host: str) -> str:
        try:
            dockersave.save(
                f"{host}/a",
                output="a.tar",
                options=dockersave.Options(**options),
                network=PLAIN,
            )
        except dockersave.OutputError as failure:
            return failure.message
        return ""

    with Simulator(STORE) as server, ThreadPoolExecutor(8) as pool:
        said = list(pool.map(one, [server.host] * 8))
        dockersave.save(
            f"{server.host}/a",
            output="a.tar",
            options=dockersave.Options(**options),
            network=PLAIN,
        )
    assert "" in said
    wrong = [message for message in said if "another dockersave is writing a" not in message]
    assert not any(wrong), wrong
    if Path("a.tar").is_file():
        assert dockersave.check_archive("a.tar").is_right
    assert not list(Path().glob("*.part*"))


class Forking(dockersave.Progress):
    """Starts a process that lives on, as soon as the output is open."""

    def __init__(self) -> None:
        self.processes: list[Any] = []

    def tick(self) -> None:
        if not self.processes and Path("a.tar.part").exists():
            process = multiprocessing.get_context("fork").Process(target=signal.pause)
            process.start()
            self.processes.append(process)
            raise KeyError("enough")


def test_a_process_started_meanwhile_does_not_keep_the_output() -> None:
    progress = Forking()
    with Simulator(STORE) as server:
        try:
            with pytest.raises(KeyError, match="enough"):
                dockersave.save(
                    f"{server.host}/a",
                    output="a.tar",
                    options=dockersave.Options(cache_dir=Path("cache")),
                    network=dockersave.Network(insecure=True, limit_rate=100_000),
                    progress=progress,
                )
            assert Path("a.tar.part").exists()
            saved = dockersave.save(
                f"{server.host}/a",
                output="a.tar",
                options=dockersave.Options(cache_dir=Path("cache")),
                network=PLAIN,
            )
        finally:
            for process in progress.processes:
                process.kill()
                process.join()
    assert saved.paths == ("a.tar",)


class EnoughError(Exception):
    """What a listener raises."""


def enough(*words: object) -> None:
    raise EnoughError(words)


@pytest.mark.parametrize("method", ["phase", "start", "tick", "finish"])
def test_progress_that_raises(method: str) -> None:
    progress = dockersave.Progress()
    setattr(progress, method, enough)
    listening_raises({"progress": progress})


def test_progress_that_raises_when_all_is_fetched() -> None:
    class Late(dockersave.Progress):
        def phase(self, phase: str) -> None:
            if phase == "publishing":
                enough()

    listening_raises({"progress": Late()})


@pytest.mark.parametrize("listener", ["notify", "trace"])
def test_a_listener_that_raises(listener: str) -> None:
    listening_raises({listener: enough})


def listening_raises(listener: dict[str, Any]) -> None:
    """It ends the save, on whichever thread it was called, and leaves nothing locked or running."""
    before = threading.active_count()
    with Simulator(STORE) as server:
        server.faults.add(Fault.status(503, times=1))
        names = [f"{server.host}/{name}" for name in "abc"]
        with pytest.raises(EnoughError):
            dockersave.save(*names, output="x.tar", network=PLAIN, **listener)
        until(lambda: threading.active_count() <= before + 1)
        server.faults.clear()
        dockersave.save(*names, output="x.tar", network=PLAIN)
    assert dockersave.check_archive("x.tar").is_right


STRICT = """
import sys, warnings, dockersave
from pathlib import Path

network = dockersave.Network(insecure=True, retries=1)
options = [dict(), dict(gunzip=True), dict(tar=False, tree=True), dict(cache_dir=Path("cache"))]
for number, each in enumerate(options):
    output = Path(f"{number}.tar")
    saved = dockersave.save(
        sys.argv[1] + "/a", output=output, options=dockersave.Options(**each), network=network
    )
    assert dockersave.check_archive(Path(saved.paths[0])).is_right
dockersave.save(sys.argv[1] + "/a", output="x.tar.gz", network=network)
try:
    dockersave.save(sys.argv[1] + "/none", output="y.tar", network=network)
except dockersave.NotFoundError as failure:
    assert "Registry.tags" in failure.hint
with dockersave.Registry(network) as registry:
    with registry.open(sys.argv[1] + "/a", registry.resolve(sys.argv[1] + "/a").layers[0]) as blob:
        blob.read(10)
"""


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words[1:], "-c", script, words[0]], capture_output=True, text=True
    )


def test_nothing_is_left_to_warn_of() -> None:
    with Simulator(STORE) as server:
        done = run(STRICT, server.host, "-W", "error", "-X", "dev", "-bb")
    assert (done.returncode, done.stderr) == (0, "")


ENDING = """
import sys, threading

def save():
    threading.main_thread().join()
    import dockersave
    network = dockersave.Network(insecure=True, retries=1)
    for output in ("x.tar", "x.tar.gz"):
        try:
            dockersave.save(*(f"{sys.argv[1]}/{n}" for n in "abc"), output=output, network=network)
            print("saved")
        except dockersave.CancelledError as failure:
            print(failure.message)

threading.Thread(target=save).start()
"""


def test_a_thread_that_saves_while_the_interpreter_ends() -> None:
    with Simulator(STORE) as server:
        done = run(ENDING, server.host)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert set(lines) <= {"saved", "stopped: the interpreter is exiting"}


@pytest.mark.parametrize("failure", [RuntimeError("can't create new thread"), ImportError("gone")])
def test_what_fails_because_the_interpreter_ends(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer Pythons grant it neither threads nor modules."""

    class Ending(dockersave.Progress):
        def phase(self, name: str) -> None:
            raise failure

    with pytest.raises(type(failure)):
        dockersave.save("debian", output="x.tar", progress=Ending())
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    with pytest.raises(dockersave.CancelledError, match="the interpreter is exiting") as caught:
        dockersave.save("debian", output="x.tar", progress=Ending())
    assert caught.value.__cause__ is failure
    assert caught.value.subject == "debian:latest"
