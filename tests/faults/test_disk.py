"""Disks that fill up, fail, or have something else in the place of the output."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dockersave.archive import disk
from dockersave.cli import main
from dockersave.errors import OutputError
from dockersave.model.options import Options
from tests.faults.saving import fetched, run, saved, sha256
from tests.images import Store, file, image, layer, random_layer
from tests.pace import without_progress
from tests.registry.simulator import Simulator

LAYERS = [random_layer(1_500_000, 1, "gzip"), random_layer(300_000, 2)]
STORE = Store.of(
    {
        "sample": image(LAYERS),
        "other": image([random_layer(400_000, 5)]),
        "small": image([random_layer(150_000, 6, "gzip"), random_layer(30_000, 7)]),
        # As large as the sample, and soon compressed.
        "zeros": image([layer([file("zeros", bytes(1_500_000))], "none"), random_layer(30_000)]),
    }
)
SIZE = sum(layer.size for layer in LAYERS)
WAYS = {
    "file": Options(),
    "gunzip": Options(gunzip=True),
    "xz": Options(xz=True),
    "tree": Options(tar=False, tree=True, layers_dir="image.tar"),
}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    """A registry that does everything right."""
    with Simulator(STORE) as registry:
        yield registry


@pytest.mark.parametrize("size", ["0k", "16k", "500k", "1200k", "1760k"])
@pytest.mark.parametrize("option", ["", "--gunzip", "--no-tar", "--no-rm"])
def test_a_full_disk(
    size: str,
    option: str,
    server: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As the command tells it, in this process."""
    if size == "0k":
        size = "4k"
    arguments = [] if option == "--no-tar" else ["-o", "image.tar"]
    arguments += ["--insecure", *filter(None, [option]), f"{server.host}/sample"]
    with small_disk(tmp_path / "disk", size) as disk, monkeypatch.context() as patch:
        patch.chdir(disk)
        before = fetched(server)
        assert main(arguments) == 7
        error, hint = without_progress(capfd.readouterr().err).splitlines()
        assert error.startswith("dockersave: error: ")
        assert re.search("needs .* is free in|No space left on device", error)
        assert "free some space" in hint
        assert not (disk / "image.tar").exists()
        if option != "--gunzip":
            # All sizes are known, so nothing was started.
            assert " is free in ." in error
            assert not list(disk.iterdir())
            assert fetched(server) == before
        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True)
        assert main(arguments) == 0
        assert not list(disk.glob("*.part*"))


def test_a_full_disk_in_a_process_of_its_own(server: Simulator, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "500k") as disk:
        done = run(server, "-o", "image.tar", cwd=disk)
        assert done.code == 7, done.err
        assert " is free in ." in done.error[0]
        assert "free some space" in done.error[1]
        assert len(done.error) == 2


def test_what_a_full_disk_took_is_used(
    server: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If space cannot be reserved, others may fill it in the meantime."""
    output, real, left = tmp_path / "image.tar", os.pwrite, 1_400_000

    def full(fd: int, data: bytes, at: int) -> int:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OutputError, match="No space left on device"):
            saved(server, output)
    before = fetched(server)
    saved(server, output)
    assert fetched(server) - before < SIZE / 2


def test_a_full_disk_leaves_the_old_file(server: Simulator, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1000k") as disk:
        assert run(server, "-o", "image.tar", cwd=disk, image="other").code == 0
        old = sha256(disk / "image.tar")
        assert run(server, "-o", "image.tar", cwd=disk).code == 7
        assert sha256(disk / "image.tar") == old


@pytest.mark.parametrize(
    ("option", "size"), [("-", "400k"), ("-", "1900k"), ("image.tar.zst", "2000k")]
)
@pytest.mark.parametrize("cached", [False, True])
def test_what_is_fetched_ahead_needs_no_room(
    option: str, size: str, cached: bool, server: Simulator, tmp_path: Path
) -> None:
    """Neither it nor the cache takes space that the archive needs: there is no more than that."""
    cache = ["--cache-dir", "cache"] if cached else []
    with small_disk(tmp_path / "disk", size) as disk:
        done = run(server, "-o", option, *cache, cwd=disk)
        assert done.code == 0, done.err
        assert len(done.out) > SIZE if option == "-" else (disk / option).exists()


def failing(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int, code: int
) -> Callable[[], int]:
    """Let the `number`th call of a function of `os` fail; the result counts the calls."""
    real: Callable[..., Any] = getattr(os, name)
    calls = 0

    def broken(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, broken)
    return lambda: calls


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["pwrite", "fsync", "rename", "ftruncate", "open", "write"])
def test_every_call_may_fail(
    name: str, way: str, server: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(
        **{each: getattr(WAYS[way], each) for each in ("gunzip", "xz", "tar", "tree")},
        layers_dir=WAYS[way].layers_dir,
        working_dir=str(tmp_path),
    )

    # Only of how much is written does it depend how large the layers are.
    large = "zeros" if options.xz else "sample"

    def save() -> Any:
        chosen = large if name == "pwrite" else "small"
        return saved(server, tmp_path / "image.tar", chosen, options=options)

    output = tmp_path / "image.tar"
    save()
    right = contents(output)
    number = failures = 0
    while True:
        number += 1 if number < 12 else 7
        remove(output)
        with monkeypatch.context() as patch:
            count = failing(patch, name, number, errno.EIO if number % 2 else errno.ENOSPC)
            failure = None
            try:
                save()
            except OutputError as error:
                failure = error
        if failure is not None:
            failures += 1
            assert failure.hint
            # Only the directory is opened and synchronised when everything has its name.
            assert not output.exists() or name in ("fsync", "open") or way == "tree"
        if count() < number:
            break
        save()
        assert contents(output) == right
        assert not list(tmp_path.glob("*.part*"))
    if (name, way) not in UNUSED:
        assert failures, f"{name} was never called"


UNUSED = {
    ("write", "file"), ("write", "gunzip"), ("write", "tree"),
    ("ftruncate", "xz"), ("open", "file"), ("open", "xz"), ("open", "gunzip"), ("open", "tree"),
}  # fmt: skip
"""Calls that are not made, or whose failure is handled."""


def contents(output: Path) -> object:
    """What is there."""
    if output.is_dir():
        return {p.relative_to(output): sha256(p) for p in output.rglob("*") if p.is_file()}
    return sha256(output)


def remove(output: Path) -> None:
    """Make room for the next run."""
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()


@pytest.mark.parametrize("name", ["fsync", "rename"])
def test_what_could_not_be_published_is_not_fetched_again(
    name: str, server: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "image.tar"
    output.write_bytes(b"old")
    with monkeypatch.context() as patch:
        failing(patch, name, 1, errno.EIO)
        with pytest.raises(OutputError):
            saved(server, output)
    assert output.read_bytes() == b"old"
    assert saved(server, output).fetched == 0


def test_an_old_directory_survives(
    server: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(tar=False, tree=True, layers_dir="image", working_dir=str(tmp_path))
    saved(server, tmp_path / "image", "other", options=options)
    old = contents(tmp_path / "image")
    with monkeypatch.context() as patch:
        failing(patch, "rename", 2, errno.EIO)
        with pytest.raises(OutputError):
            saved(server, tmp_path / "image", options=options)
    assert contents(tmp_path / "image") == old
    assert saved(server, tmp_path / "image", options=options).fetched == 0
    assert not list(tmp_path.glob("*.old"))


def test_two_runs_at_once(server: Simulator, tmp_path: Path) -> None:
    output = tmp_path / "image.tar"
    part = tmp_path / "image.tar.part"
    with part.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = run(server, "-o", "image.tar", cwd=tmp_path)
        assert done.code == 7
        assert "another dockersave is writing image.tar" in done.error[0]
        assert len(done.error) == 2
        assert not output.exists()
    assert run(server, "-o", "image.tar", cwd=tmp_path).code == 0


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a symbolic link": (lambda path: path.symlink_to("elsewhere"), "image.tar.part"),
    "a directory": (lambda path: path.mkdir(), "image.tar.part"),
    "a fifo": (os.mkfifo, "image.tar.part"),
    "a fifo as the output": (os.mkfifo, "image.tar"),
    "a directory as the output": (lambda path: path.mkdir(), "image.tar"),
}


@pytest.mark.parametrize("option", ["", "--gunzip", "--xz"])
@pytest.mark.parametrize("name", PLACES)
def test_something_else_in_the_place(
    name: str, option: str, server: Simulator, tmp_path: Path
) -> None:
    make, place = PLACES[name]
    make(tmp_path / place)
    kind = (tmp_path / place).lstat().st_mode
    done = run(server, "-o", "image.tar", *filter(None, [option]), cwd=tmp_path)
    assert done.code == 7, done.err
    assert len(done.error) == 2, done.err
    assert (tmp_path / place).lstat().st_mode == kind
    assert [path.name for path in tmp_path.iterdir()] == [place]


def test_a_device_is_not_replaced(server: Simulator, tmp_path: Path) -> None:
    device = tmp_path / "null"
    os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
    done = run(server, "-o", str(device), cwd=tmp_path)
    assert done.code == 7
    assert device.is_char_device()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("missing/image.tar", "No such file or directory"),
        ("/proc/image.tar", "No such file or directory"),
        ("file/image.tar", "Not a directory"),
    ],
)
def test_no_place_for_it(output: str, words: str, server: Simulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(server, "-o", output, cwd=tmp_path)
    assert done.code == 7
    assert words in done.error[0]
    assert len(done.error) == 2


def test_a_read_only_file_system(server: Simulator, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "10m") as disk:
        (disk / "image.tar").write_bytes(b"old")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = run(server, "-o", "image.tar", cwd=disk)
        assert done.code == 7
        assert "Read-only file system" in done.error[0]
        assert "--output" in done.error[1]
        assert (disk / "image.tar").read_bytes() == b"old"
        # A stream needs no place; it is fetched into memory then.
        piped = run(server, "-o", "-", "--jobs", "1", cwd=disk)
        assert piped.code == 0, piped.err
        assert len(piped.out) > SIZE


def test_messages_name_the_cause() -> None:
    for code in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT, errno.ELOOP):
        failure = disk.output_error(OSError(code, "x"), "image.tar")
        assert os.strerror(code) in failure.message
        assert failure.hint
