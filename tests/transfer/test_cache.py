"""The cache: shared, bounded, verified on every hit, and never the reason for a failure."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError
from dockersave.model.options import Options
from dockersave.transfer.cache import Cache, Entry
from tests.faults.saving import fetched, run, saved, sha256, start
from tests.images import Store, image, random_layer
from tests.images.content import digest_of
from tests.pace import until
from tests.registry.faults import Fault
from tests.registry.simulator import Simulator

LAYERS = [random_layer(2_000_000, 1, "gzip"), random_layer(300_000, 2)]
SMALL = [random_layer(200_000, 4, "gzip"), random_layer(30_000, 5)]
"""What xz takes its time for."""
STORE = Store.of(
    {
        "sample": image(LAYERS),
        "other": image([LAYERS[1], random_layer(500_000, 3)]),
        "small": image(SMALL),
    }
)
SIZE = sum(layer.size for layer in LAYERS)


@pytest.fixture
def server() -> Iterator[Simulator]:
    """A registry that does everything right."""
    with Simulator(STORE) as registry:
        yield registry


def cached(folder: Path) -> dict[str, int]:
    """The blobs in a cache, each of which must be what its name says."""
    found = {}
    for path in folder.glob("blobs/*/*"):
        assert digest_of(path.read_bytes()) == f"{path.parent.name}:{path.name}"
        found[path.name] = path.stat().st_size
    assert not list(folder.glob("tmp/*"))
    return found


WAYS = {
    "": Options(),
    "--gunzip": Options(gunzip=True),
    "--xz": Options(xz=True),
    "--no-tar": Options(tar=False, tree=True),
    "-o-": None,
}


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_any_run_fills_it_for_any_other(
    first: str, second: str, server: Simulator, tmp_path: Path
) -> None:
    save_by(first, server, tmp_path, "one")
    assert sum(cached(tmp_path / "cache").values()) == sum(layer.size for layer in SMALL)
    before = fetched(server)
    save_by(second, server, tmp_path, "two")
    assert fetched(server) == before


def save_by(way: str, server: Simulator, folder: Path, name: str) -> None:
    """Save into a directory of this name, with a cache; only the command writes into a pipe."""
    (folder / name).mkdir()
    options, cache = WAYS[way], str(folder / "cache")
    if options is None:
        done = run(server, f"--cache-dir={cache}", way, cwd=folder / name, image="small")
        assert done.code == 0, done.err
    else:
        options = replace(options, cache_dir=cache, working_dir=str(folder / name))
        saved(server, folder / name / "image.tar", "small", options=options)


def test_what_two_images_share_is_fetched_once(server: Simulator, tmp_path: Path) -> None:
    options = Options(cache_dir=str(tmp_path / "cache"))
    saved(server, tmp_path / "one.tar", options=options)
    assert saved(server, tmp_path / "two.tar", "other", options=options).reused == LAYERS[1].size


@pytest.mark.parametrize("gunzip", [False, True])
def test_what_is_damaged_is_replaced(gunzip: bool, server: Simulator, tmp_path: Path) -> None:
    options = Options(cache_dir=str(tmp_path / "cache"), gunzip=gunzip)
    saved(server, tmp_path / "one.tar", options=options)
    for path in (tmp_path / "cache").glob("blobs/*/*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    for name in ("two.tar", "three.tar"):
        saved(server, tmp_path / name, options=options)
        assert sha256(tmp_path / name) == sha256(tmp_path / "one.tar")
    assert sum(cached(tmp_path / "cache").values()) == SIZE
    assert saved(server, tmp_path / "four.tar", options=options).fetched == 0


def test_a_resumed_blob_enters_it_whole(server: Simulator, tmp_path: Path) -> None:
    output = tmp_path / "image.tar"
    server.faults.add(Fault.status(404, on="blob", skip=1))
    with pytest.raises(Exception, match="sha256:"):
        saved(server, output, jobs=1)
    server.faults.clear()
    saved(server, output, options=Options(cache_dir=str(tmp_path / "cache")))
    assert sum(cached(tmp_path / "cache").values()) == SIZE


def store(cache: Cache, number: int, size: int) -> bool:
    """Keep a made-up blob."""
    body = bytes([number]) * size
    entry = cache.begin(digest_of(body), size)
    if entry is None:
        return False
    entry.write(0, body)
    entry.commit()
    return True


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    lines: list[str] = []
    cache = Cache(str(tmp_path), 1000, lines.append)
    digests = [digest_of(bytes([number]) * 300) for number in range(5)]
    for number in range(3):
        assert store(cache, number, 300)
        time.sleep(0.01)
    assert cache.find(digests[0])
    assert store(cache, 3, 300)
    kept = [bool(cache.find(digest)) for digest in digests]
    assert kept == [True, False, True, True, False]
    assert not store(cache, 9, 1001)
    assert not lines


def test_blobs_on_their_way_count(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), 1000, lambda line: None)
    first = cache.begin(digest_of(b"1"), 600)
    assert isinstance(first, Entry)
    assert cache.begin(digest_of(b"2"), 600) is None
    first.close()
    second = cache.begin(digest_of(b"2"), 600)
    assert second is not None
    second.close()
    assert not list(tmp_path.glob("tmp/*"))


def test_what_a_killed_run_left_is_removed(server: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    server.faults.add(Fault.rate(500_000, on="blob"))
    process = start(server, f"--cache-dir={folder}", cwd=tmp_path)
    until(lambda: list(folder.glob("tmp/*")))
    process.kill()
    process.communicate()
    server.faults.clear()
    done = run(server, f"--cache-dir={folder}", cwd=tmp_path)
    assert done.code == 0, done.err
    assert sum(cached(folder).values()) == SIZE


def test_several_processes_at_once(server: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    processes = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        options = [f"--cache-dir={folder}", "--cache-size=2200k"]
        name = "sample" if number % 2 else "other"
        processes.append(start(server, *options, cwd=tmp_path / str(number), image=name))
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert sum(cached(folder).values()) <= 2_200 * 1024


def test_a_lock_that_is_held_is_not_waited_for_long(
    server: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dockersave.transfer.cache._PATIENCE", 0.2)
    folder = tmp_path / "cache"
    folder.mkdir()
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        saved(server, tmp_path / "image.tar", options=Options(cache_dir=str(folder)))
    assert not cached(folder)


@pytest.mark.parametrize("reason", ["a file", "a full disk", "a read-only disk"])
def test_a_cache_that_cannot_be_written_fails_nothing(
    reason: str, server: Simulator, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    mounted = False
    if reason == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        size = "size=64k" if reason == "a full disk" else "ro"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
        mounted = True
    try:
        done = run(server, f"--cache-dir={folder}", "-o", "image.tar", cwd=tmp_path)
        assert done.code == 0, done.err
        said = [line for line in done.err.splitlines() if "cache" in line]
        assert len(said) == 1
        why = "its disk is nearly full" if reason == "a full disk" else "cannot be written"
        assert why in said[0]
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)
    assert os.path.exists(tmp_path / "image.tar")


# What is no cache


def snapshot(folder: Path) -> dict[str, int]:
    """All that is in a directory."""
    return {str(path.relative_to(folder)): path.lstat().st_mode for path in folder.rglob("*")}


def layout(folder: Path) -> None:
    (folder / "blobs/sha256").mkdir(parents=True)
    (folder / "blobs/sha256" / ("a" * 64)).write_bytes(b"x" * 1000)
    (folder / "oci-layout").write_text("{}")
    (folder / "index.json").write_text("{}")


def without_documents(folder: Path) -> None:
    layout(folder)
    (folder / "oci-layout").unlink()
    (folder / "index.json").unlink()


def linked(folder: Path) -> None:
    layout(folder.parent / "image")
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "blobs").symlink_to("../image/blobs")


def home(folder: Path) -> None:
    (folder / "tmp").mkdir(parents=True)
    (folder / "tmp/thesis.txt").write_text("years of work")
    (folder / ".profile").write_text("")


def scratch(folder: Path) -> None:
    home(folder)
    (folder / ".profile").unlink()


@pytest.mark.parametrize("make", [without_documents, scratch])
def test_what_no_cache_has_made_is_used_and_left_as_it_is(
    make: Callable[[Path], None], server: Simulator, tmp_path: Path
) -> None:
    make(tmp_path / "it")
    before = snapshot(tmp_path / "it")
    done = run(server, "--cache-dir=it", "--cache-size=1k", "-o", "image.tar", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "was not created by --cache-dir: nothing is kept or removed there" in done.err
    assert snapshot(tmp_path / "it") == before


@pytest.mark.parametrize("make", [layout, linked, home])
def test_a_directory_that_is_something_else_is_refused(
    make: Callable[[Path], None], server: Simulator, tmp_path: Path
) -> None:
    make(tmp_path / "it")
    before = snapshot(tmp_path)
    done = run(server, "--cache-dir=it", "--cache-size=1k", "-o", "image.tar", cwd=tmp_path)
    assert (done.code, len(done.error)) == (2, 2), done.err
    assert "--cache-dir it holds" in done.error[0]
    assert "empty directory" in done.error[1]
    assert snapshot(tmp_path) == before


def test_who_waits_for_another_process_hears_that_the_run_is_stopped(tmp_path: Path) -> None:
    stopped = Cancellation()
    cache = Cache(str(tmp_path), 1000, lambda line: None, stopped.wait)
    assert store(cache, 1, 300)
    with (tmp_path / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        stopped.cancel()
        with pytest.raises(CancelledError):
            cache.begin(digest_of(b"\x02" * 300), 300)


def test_a_directory_that_is_empty_or_a_file_systems_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    cache = Cache(str(tmp_path), 1000, lambda line: None)
    assert store(cache, 1, 300)
    assert Cache(str(tmp_path), 1000, lambda line: None).find(digest_of(b"\x01" * 300))


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))


def a_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [a_pipe, a_device, a_link, Path.mkdir])
@pytest.mark.parametrize("gunzip", [False, True])
def test_what_is_there_and_no_file_is_passed_over(
    gunzip: bool, make: Callable[[Path], object], server: Simulator, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    (folder / "tmp").mkdir()
    (folder / "lock").touch()
    names = [layer.digest.partition(":")[2] for layer in LAYERS]
    paths = [blobs / names[0], blobs / ("b" * 64), folder / "tmp" / f"{names[0]}.1.1"]
    for path in paths:
        make(path)
    before = [path.lstat().st_mode for path in paths]
    option = ["--gunzip"] if gunzip else []
    done = run(server, "--cache-dir=cache", "-o", "image.tar", *option, cwd=tmp_path, timeout=60)
    assert done.code == 0, done.err
    assert [path.lstat().st_mode for path in paths] == before
    assert (blobs / names[1]).is_file(), "the others are kept"


def test_only_blobs_make_room(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), 1000, lambda line: None)
    assert store(cache, 1, 600)
    notes = [tmp_path / "blobs/sha256/notes.txt", tmp_path / "tmp/notes.txt"]
    for path in notes:
        path.write_bytes(b"x" * 800)
        os.utime(path, (1, 1))
    assert store(cache, 2, 600)
    assert all(path.exists() for path in notes)
    assert not cache.find(digest_of(b"\x01" * 600))


def test_a_lock_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    lines: list[str] = []
    assert not store(Cache(str(tmp_path), 1000, lines.append), 1, 300)
    assert len(lines) == 1


@pytest.mark.parametrize("way", ["", "--gunzip", "tar.zst", "--no-rm"])
def test_it_takes_no_room_that_the_output_needs(
    way: str, server: Simulator, tmp_path: Path
) -> None:
    """On one disk with the output it does without, rather than filling it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    # Unpacked layers are on the disk before they have their place.
    size = f"size={(2 if way in ('--no-rm', '--gunzip') else 1) * SIZE + 1_500_000}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)
    try:
        options = Options(
            working_dir=str(disk),
            cache_dir=str(disk / "cache"),
            gunzip=way == "--gunzip",
            tree=way == "--no-rm",
        )
        output = disk / ("image.tar.zst" if way == "tar.zst" else "image.tar")
        saved(server, output, options=options)
        assert output.exists()
        kept = set(cached(disk / "cache"))
        assert LAYERS[0].digest.partition(":")[2] not in kept, "there is no room for it"
        assert os.statvfs(disk).f_bavail, "the disk is not left full"
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_what_it_cannot_keep_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    cache = Cache(str(tmp_path / "cache"), 1 << 62, said.append)
    cache.leave_room(str(tmp_path), 1 << 60)
    for layer in LAYERS:
        assert cache.begin(layer.digest, layer.size) is None
    assert said == [f"the cache {tmp_path / 'cache'} keeps less: its disk is nearly full"]
    cache.leave_room("/proc", 1 << 60)
    entry = cache.begin(LAYERS[0].digest, LAYERS[0].size)
    assert entry is not None, "another disk's room is not its concern"
    entry.close()
