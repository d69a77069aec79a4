"""Archives that are written in order, with the command: to a pipe, or through a compressor."""

from __future__ import annotations

import hashlib
import lzma
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from dockersave.limits import LIMITS
from dockersave.model.options import Options
from dockersave.transfer import window
from tests.faults.saving import fetched, run, saved, sha256, start
from tests.images import Store, image, random_layer
from tests.pace import without_progress
from tests.registry.faults import Fault
from tests.registry.simulator import Simulator

MIB = 1 << 20
LAYERS = [random_layer(2_000_000, 1, "gzip"), random_layer(5_000_000, 2), random_layer(9_000, 3)]
BIG = [random_layer(size * MIB, size) for size in (40, 20, 50)]
STORE = Store.of({"sample": image(LAYERS), "big": image(BIG)})
WAYS = {
    "stream": Options(),
    "file": Options(),
    "gunzip": Options(gunzip=True),
    "xz": Options(xz=True),
}


@pytest.fixture(scope="module")
def plain() -> Iterator[Simulator]:
    with Simulator(STORE) as registry:
        yield registry


@pytest.fixture
def server(plain: Simulator) -> Iterator[Simulator]:
    """A registry that does everything right, until it is told otherwise."""
    yield plain
    plain.faults.clear()


@pytest.fixture(scope="module")
def right(plain: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return what tells the digest of what comes of a way where nothing goes wrong."""

    @cache
    def saved_so(way: str) -> str:
        output = tmp_path_factory.mktemp("right") / "image.tar"
        saved(plain, output, options=WAYS[way])
        return sha256(output)

    return saved_so


def named_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def temporary_size(process: subprocess.Popen[bytes]) -> int:
    """Bytes on the disk of the files without a name that a process holds."""
    total = 0
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            if "(deleted)" in os.readlink(path):
                total += os.stat(path).st_blocks * 512
        except OSError:
            continue
    return total


@pytest.mark.parametrize("option", ["", "--gunzip"])
def test_the_same_as_in_a_file(option: str, server: Simulator, tmp_path: Path) -> None:
    options = list(filter(None, [option]))
    assert run(server, "-o", "image.tar", *options, cwd=tmp_path).code == 0
    piped = run(server, "-o", "-", *options, cwd=tmp_path)
    assert piped.code == 0, piped.err
    assert piped.out == (tmp_path / "image.tar").read_bytes()
    assert named_files(tmp_path) == ["image.tar"]


FAULTS = {
    "no ranges": [Fault.ignore_range(on="blob")],
    "416": [Fault("refuse_range", on="blob")],
    "one connection": [Fault.status(429, on="blob", over=1)],
    "resets": [Fault.reset_after(0.5, on="blob", times=6)],
    "a flipped bit": [Fault.flip_bit(0.7, on="blob", times=1)],
}


@pytest.mark.parametrize(("name", "jobs"), [("nothing", "8"), ("no ranges", "1")])
def test_layers_larger_than_the_window(
    name: str, jobs: str, server: Simulator, tmp_path: Path
) -> None:
    server.faults.add(*FAULTS.get(name, []))
    process = start(server, "-o", "-", "--jobs", jobs, "-q", cwd=tmp_path, image="big")
    assert process.stdout is not None
    largest = size = 0
    while data := process.stdout.read(8 * MIB):
        size += len(data)
        largest = max(largest, temporary_size(process))
        assert not named_files(tmp_path)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert size > sum(layer.size for layer in BIG)
    assert largest <= LIMITS.window + MIB


@pytest.mark.parametrize("name", FAULTS)
def test_faults_leave_no_trace(
    name: str, server: Simulator, right: Callable[[str], str], tmp_path: Path
) -> None:
    expected = right("stream")
    server.faults.add(*FAULTS[name])
    piped = run(server, "-o", "-", cwd=tmp_path)
    assert piped.code == 0, piped.err
    assert hashlib.sha256(piped.out).hexdigest() == expected


def test_wrong_bytes_never_make_a_whole_archive(server: Simulator, tmp_path: Path) -> None:
    right = run(server, "-o", "-", cwd=tmp_path)
    server.faults.add(Fault.flip_bit(0.7, on="blob"))
    piped = run(server, "-o", "-", cwd=tmp_path)
    assert piped.code == 6
    assert len(piped.error) == 2
    assert right.out.startswith(piped.out)
    assert len(piped.out) < len(right.out)


@pytest.mark.parametrize("option", ["", "--gunzip", "--xz"])
def test_a_closed_pipe_ends_it_and_is_said(option: str, server: Simulator, tmp_path: Path) -> None:
    options = list(filter(None, [option]))
    process = start(server, "-o", "-", *options, cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.read(1000)
    process.stdout.close()
    assert process.wait(100) == 7
    assert process.stderr is not None
    said = without_progress(process.stderr.read().decode())
    process.stderr.close()
    error, hint = said.splitlines()
    assert error.endswith("cannot write standard output: Broken pipe")
    assert hint == "  the program that reads it has ended: what does it say?"
    assert not named_files(tmp_path)


def test_a_slow_reader_keeps_the_window_small(server: Simulator, tmp_path: Path) -> None:
    before = fetched(server)
    process = start(server, "-o", "-", cwd=tmp_path, image="big")
    assert process.stdout is not None
    process.stdout.read(1000)
    ahead, now, end = -1, 0, time.monotonic() + 30
    while now > ahead and time.monotonic() < end:
        time.sleep(0.5)
        ahead, now = now, fetched(server) - before
    assert temporary_size(process) <= LIMITS.window + MIB
    assert now < LIMITS.window + 24 * MIB, "much more than the window was fetched"
    process.kill()
    process.communicate()
    assert not named_files(tmp_path)


@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_threads_that_the_system_refuses(
    way: str,
    granted: int,
    server: Simulator,
    right: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One connection does it, too; also for what is larger than the window."""
    expected, output = right(way), tmp_path / "image.tar"
    monkeypatch.setattr(window, "LIMITS", replace(LIMITS, window=MIB))
    real, asked = threading.Thread.start, [0]

    def start_thread(self: threading.Thread) -> None:
        if not self.name.startswith("registry"):
            asked[0] += 1
            if asked[0] > granted:
                raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start_thread)
    if way != "stream":
        saved(server, output, options=WAYS[way])
    else:
        with output.open("wb") as file:
            monkeypatch.setattr("sys.stdout", file)
            saved(server, Path("-"), options=WAYS[way])
    assert sha256(output) == expected
    assert asked[0] > 0


def test_xz_is_the_same_for_any_number_of_threads(server: Simulator, tmp_path: Path) -> None:
    assert run(server, "-o", "image.tar", cwd=tmp_path).code == 0
    for cores, jobs in (("0", "1"), ("0,1", "8")):
        command = ["--xz", "-o", f"{jobs}.tar.xz", "--jobs", jobs]
        done = run(server, *command, cwd=tmp_path, prefix=["taskset", "-c", cores])
        assert done.code == 0, done.err
    packed = (tmp_path / "1.tar.xz").read_bytes()
    assert packed == (tmp_path / "8.tar.xz").read_bytes()
    assert lzma.decompress(packed) == (tmp_path / "image.tar").read_bytes()
