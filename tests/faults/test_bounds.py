"""How much memory, disk and time a run takes at most."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave.archive.read.verify import check_archive
from dockersave.errors import ContentError, NetworkError
from dockersave.limits import Limits
from dockersave.model.options import Options
from dockersave.transfer import unpacking
from tests.faults.saving import command, environment, fetched, run, saved, sha256, start
from tests.images import Store, bomb_layer, config_document, image, random_layer
from tests.images.layers import windowed_layer
from tests.pace import Stopwatch
from tests.processes import free_port
from tests.registry.faults import Fault
from tests.registry.simulator import Simulator

MIB = 1 << 20
SAMPLES = {
    "small": (3 * MIB, 1),
    "small-127": (3 * MIB, 127),
    "medium": (150 * MIB, 1),
    "medium-127": (150 * MIB, 127),
}
PACKED = [random_layer(size * MIB, size, "gzip") for size in (40, 20, 3)]
OPTIONS = ["", "--gunzip", "-o-", "--no-tar", "--no-rm", "--cache-dir=cache", "--jobs=64"]


def sample(size: int, layers: int) -> object:
    """An image of so many bytes; its layers differ in a name, since noise takes time to make."""
    return image([random_layer(size // layers, path=f"{number}") for number in range(layers)])


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    store = Store.of({name: sample(*shape) for name, shape in SAMPLES.items()})  # type: ignore[misc]
    store.add("packed", image(PACKED), "latest")
    store.add("bomb", image([bomb_layer(200 * MIB)]), "latest")
    with Simulator(store) as registry:
        yield registry


WRAPPER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""A child's memory is measured from before its exec, so its parent must be small."""


def peak(server: Simulator, name: str, folder: Path, *options: str) -> float:
    """MiB of memory that a run holds at most."""
    prefix = [sys.executable, "-S", "-c", WRAPPER]
    done = run(server, "-q", *options, cwd=folder, image=name, prefix=prefix, timeout=600)
    assert done.code == 0, done.err
    return int(done.out) / 1024


def most(option: str) -> int:
    """MiB that a run may hold: 64 threads have a stack and a connection each."""
    return 40 if option == "--jobs=64" else 36


@pytest.mark.parametrize("option", OPTIONS)
def test_memory_of_a_small_image(option: str, server: Simulator, tmp_path: Path) -> None:
    for name in ("small", "small-127"):
        assert peak(server, name, tmp_path, *filter(None, [option])) <= most(option)


@pytest.mark.parametrize("option", ["", "--gunzip", "-o-", "--jobs=64"])
def test_memory_does_not_grow_with_the_image(
    option: str, server: Simulator, tmp_path: Path
) -> None:
    options = list(filter(None, [option]))
    small = peak(server, "small", tmp_path, *options)
    large = peak(server, "medium", tmp_path, *options)
    many = peak(server, "medium-127", tmp_path, *options)
    assert max(small, large, many) <= most(option), (small, large, many)
    # Buffers fill up that a small image does not need.
    assert large - small <= 8, (small, large)


def with_config(size: int, seed: int) -> object:
    """An image whose config has this many bytes."""
    layers = [random_layer(1000, seed)]
    config = config_document(layers, labels={"x": f"{seed}" + "x" * size})
    return image(layers, config=config)


@pytest.mark.parametrize("form", ["docker", "legacy"])
@pytest.mark.parametrize(("size", "count"), [(2, 4), (4, 2), (7.9, 2), (7.9, 4)])
def test_memory_of_large_configs(size: float, count: int, form: str, tmp_path: Path) -> None:
    """What can be saved and what is refused, all at once, in one budget."""
    store = Store()
    for number in range(count):
        one = with_config(int(size * MIB), number)
        store.add(f"i{number}", one, "latest")  # type: ignore[arg-type]
    prefix = [sys.executable, "-S", "-c", WRAPPER]
    with Simulator(store) as server:
        others = [f"{server.host}/i{number}" for number in range(1, count)]
        words = ["-q", "-o", "x.tar", f"--format={form}", *others]
        done = run(server, *words, cwd=tmp_path, image="i0", prefix=prefix, timeout=600)
    fits = size * count * (4 if form == "legacy" else 1) < 17
    assert done.code == (0 if fits else 6), done.err
    assert int(done.out) / 1024 <= 64


@pytest.fixture(scope="module")
def large_manifests() -> Store:
    """Many images, each with a manifest that is nearly too large."""
    store, layers = Store(), [random_layer(1000, 1)]
    for number in range(60):
        labels = {"x": f"{number}" + "x" * int(3.9 * MIB)}
        store.add(f"i{number}", image(layers, top={"annotations": labels}), "latest")
    return store


@pytest.mark.parametrize("jobs", [8, 64])
@pytest.mark.parametrize("is_said", [True, False], ids=["length", "chunked"])
def test_memory_of_large_manifests(
    jobs: int, is_said: bool, large_manifests: Store, tmp_path: Path
) -> None:
    """All at once, whether or not it is known how large they are before they are read."""
    prefix = [sys.executable, "-S", "-c", WRAPPER]
    with Simulator(large_manifests) as server:
        if not is_said:
            server.faults.add(Fault.chunked(on="manifest"))
        others = [f"{server.host}/{name}" for name in large_manifests.repositories if name != "i0"]
        words = ["-q", "-o", "x.tar", f"--jobs={jobs}", *others]
        done = run(server, *words, cwd=tmp_path, image="i0", prefix=prefix, timeout=600)
    assert done.code == 6, done.err
    assert "manifests and configs have more than" in done.err
    assert int(done.out) / 1024 <= 64


def test_memory_of_large_windows(tmp_path: Path) -> None:
    """However many layers look back on 128 MiB, one at a time is unpacked."""
    store = Store.of({"windows": image([windowed_layer(150 * MIB, n) for n in range(3)])})
    with Simulator(store) as server:
        assert peak(server, "windows", tmp_path, "--gunzip") <= 128 + 40


@pytest.mark.long
@pytest.mark.parametrize("layers", [1, 127])
@pytest.mark.parametrize("option", OPTIONS)
def test_memory_of_a_large_image(layers: int, option: str, tmp_path: Path) -> None:
    store = Store()
    store.add("large", sample(4096 * MIB, layers), "latest")  # type: ignore[arg-type]
    with Simulator(store) as server:
        assert peak(server, "large", tmp_path, *filter(None, [option])) <= most(option)


def disk(folder: Path, pid: int) -> int:
    """Bytes on the disk: files in a directory, and those of a process that have no name."""
    found = {}
    paths = [*folder.iterdir(), *Path(f"/proc/{pid}/fd").iterdir()]
    for path in paths:
        try:
            if path.parent == folder or "(deleted)" in os.readlink(path):
                status = path.stat()
                found[status.st_ino] = status.st_blocks * 512
        except OSError:
            continue
    return sum(found.values())


def peak_disk(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Bytes that a run has on the disk at its worst moment."""
    most = 0
    while process.poll() is None:
        try:
            most = max(most, disk(folder, process.pid))
        except OSError:
            break
    process.communicate()
    return most


@pytest.mark.parametrize(
    ("option", "name"), [("", "medium"), ("", "packed"), ("--gunzip", "packed")]
)
def test_disk_at_any_moment(option: str, name: str, server: Simulator, tmp_path: Path) -> None:
    options = list(filter(None, [option]))
    process = start(server, "-q", "-o", "image.tar", *options, cwd=tmp_path, image=name)
    most = peak_disk(process, tmp_path)
    assert process.returncode == 0
    size = (tmp_path / "image.tar").stat().st_size
    # While a layer moves from its spool into the archive, one chunk is on the disk twice.
    spare = 3 * MIB if option else MIB
    assert most <= size + spare, f"{most - size} bytes more than the archive"


@pytest.mark.parametrize("option", ["--format=docker", "--format=oci", "--format=legacy"])
def test_unpacking_goes_on_where_it_was(option: str, server: Simulator, tmp_path: Path) -> None:
    """Existing blobs are neither fetched nor stored twice."""
    arguments = ["-q", "-o", "image.tar", "--gunzip", option, "--jobs=1", "--retries=0"]
    server.faults.add(Fault.reset(on="blob", reference=PACKED[2].digest))
    assert run(server, *arguments, cwd=tmp_path, image="packed").code == 5
    server.faults.clear()
    before = fetched(server)
    process = start(server, *arguments, cwd=tmp_path, image="packed")
    most = peak_disk(process, tmp_path)
    assert process.returncode == 0
    assert fetched(server) - before == PACKED[2].size
    assert most <= (tmp_path / "image.tar").stat().st_size + 3 * MIB
    assert check_archive(tmp_path / "image.tar").is_right


def test_unpacking_into_a_directory_goes_on_where_it_was(server: Simulator, tmp_path: Path) -> None:
    arguments = ["-q", "--no-tar", "--gunzip", "--jobs=1", "--retries=0"]
    server.faults.add(Fault.reset(on="blob", reference=PACKED[2].digest))
    assert run(server, *arguments, cwd=tmp_path, image="packed").code == 5
    server.faults.clear()
    before = fetched(server)
    assert run(server, *arguments, cwd=tmp_path, image="packed").code == 0
    assert fetched(server) - before == PACKED[2].size
    (folder,) = tmp_path.iterdir()
    assert check_archive(folder).is_right


@pytest.mark.parametrize("options", [["-o", "image.tar"], ["-o", "image.tar", "--gunzip"]])
def test_the_same_bytes_whatever_the_circumstances(
    options: list[str], server: Simulator, tmp_path: Path
) -> None:
    digests = set()
    for number, umask in enumerate((0o022, 0o077, 0o000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        old = os.umask(umask)
        try:
            jobs = str(1 + 7 * number)
            done = run(server, *options, "--jobs", jobs, cwd=folder, image="packed")
        finally:
            os.umask(old)
        assert done.code == 0, done.err
        digests.add(sha256(folder / "image.tar"))
    assert len(digests) == 1


@pytest.mark.parametrize("jobs", [1, 8])
@pytest.mark.parametrize("rate", [1_000_000, 3_000_000])
def test_a_rate_holds(rate: int, jobs: int, server: Simulator, tmp_path: Path) -> None:
    watch = Stopwatch()
    done = saved(server, tmp_path / "image.tar", "small", limit_rate=rate, jobs=jobs)
    assert done.fetched / watch.elapsed <= 1.1 * rate
    assert done.fetched / watch.own >= 0.8 * rate  # start-up counts


@pytest.mark.parametrize("rate", [1, 100])
@pytest.mark.parametrize("kind", ["manifest", "config", "blob"])
def test_a_trickle_is_given_up(kind: str, rate: int, server: Simulator, tmp_path: Path) -> None:
    server.faults.add(Fault.rate(rate, on=kind))
    try:
        watch = Stopwatch()
        with pytest.raises(NetworkError):
            saved(server, tmp_path / "image.tar", "small", timeout=0.5, retries=1)
        assert watch.own < 6
    finally:
        server.faults.clear()


def test_a_bomb_ends_at_the_bound(
    server: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "LIMITS", Limits(unpacked_layer=50 * MIB))
    with pytest.raises(ContentError, match="larger than") as caught:
        saved(server, tmp_path / "image.tar", "bomb", options=Options(gunzip=True))
    assert caught.value.exit_code == 6
    assert not list(tmp_path.iterdir())


def test_waiting_for_a_registry(server: Simulator, tmp_path: Path) -> None:
    port = free_port()
    store = Store.of({"sample": image([random_layer(50_000, 1)])})
    late = Simulator(store, port=port)
    # Already bound, but it does not listen before the context is entered: use another port.
    for listener in late._servers:
        listener._listener.close()
    process = subprocess.Popen(
        command(late, "--wait", "100", "-o", "image.tar"),
        cwd=tmp_path, env=environment(), stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    assert b"waiting up to" in process.stderr.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.5)
    with Simulator(store, port=port):
        _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert b"waiting up to" not in err, "it is said once"


def test_connections_are_bounded(server: Simulator, tmp_path: Path) -> None:
    for jobs in (1, 3):
        server.requests.clear()
        server.faults.add(Fault.delay(0.02, on="blob"))
        before = fetched(server)
        saved(server, tmp_path / f"{jobs}.tar", "small-127", jobs=jobs)
        server.faults.clear()
        assert fetched(server) > before
        blobs = server.of("blob")
        at_once = max(
            sum(1 for other in blobs if other.started <= one.started < (other.ended or 0))
            for one in blobs
        )
        assert at_once <= jobs
        assert len({request.connection for request in server.requests}) <= jobs + 1
