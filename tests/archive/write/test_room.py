"""Room on the disk: asked for before the first byte, taken where that can be done."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave.archive import disk as disk_module
from dockersave.archive.disk import reserve
from dockersave.archive.members import Layer
from dockersave.archive.tar import Plan, lay_out
from dockersave.archive.write.directory import DirectoryTree
from dockersave.archive.write.file import ArchiveFile
from dockersave.errors import OutputError
from dockersave.model.descriptors import Descriptor
from dockersave.model.digest import digest_of

MIB = 1 << 20


def planned(*sizes: int) -> Plan:
    """An archive of blobs of these sizes."""
    return lay_out([member(size) for size in sizes], ())


def member(size: int, unpacked: int | None = None) -> Layer:
    """A blob, which may not be as large in the archive as it is served."""
    digest = digest_of(f"{size}".encode())
    stored = Descriptor("", digest, size if unpacked is None else unpacked)
    return Layer(stored.blob_path, Descriptor("", digest, size), stored, 0)


def mounted(folder: Path, kind: str, options: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", kind, "-o", options, kind, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 4 MiB."""
    yield from mounted(tmp_path / "disk", "tmpfs", "size=4m")


@pytest.fixture
def simple(tmp_path: Path) -> Iterator[Path]:
    """A file system that reserves nothing, and does not say what it has."""
    yield from mounted(tmp_path / "simple", "ramfs", "mode=755")


def allocated(path: Path) -> int:
    """What a file takes on the disk, in bytes."""
    return 512 * path.stat().st_blocks


@pytest.mark.parametrize("kind", ["file", "tree", "append", "append to tree"])
def test_a_disk_that_is_too_small_is_left_as_it_was(kind: str, disk: Path) -> None:
    name = str(disk / "out")
    unpacked = [member(6 * MIB, -1)]

    def begin() -> None:
        if kind in ("file", "tree"):
            sink = ArchiveFile(name) if kind == "file" else DirectoryTree(name)
            with pytest.raises(OutputError) as caught:
                sink.lay(planned(3 * MIB, 2 * MIB))
            sink.close()
        else:
            appender = (
                ArchiveFile(name, lambda file: file.close())
                if kind == "append"
                else DirectoryTree(name)
            )
            with pytest.raises(OutputError) as caught:
                appender.begin(unpacked, lambda: None)
            appender.close()
        least = "at least " if kind.startswith("append") else ""
        words = f"cannot write {name}: needs {least}5."
        assert caught.value.message.startswith(words)
        assert caught.value.message.endswith(f" MB, but only 4.19 MB is free in {disk}")
        assert "free some space" in caught.value.hint

    begin()
    assert not list(disk.iterdir())
    begin()


def test_what_is_there_is_not_needed_again(disk: Path) -> None:
    plan = planned(2 * MIB, MIB)
    for _ in range(2):
        # The second time there is not as much room as it has in all.
        output = ArchiveFile(str(disk / "out"))
        output.lay(plan)
        output.close()
    (disk / "other").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
    output = ArchiveFile(str(disk / "out"))
    output.lay(plan)
    output.commit()
    output.close()


def test_a_part_of_another_image_makes_room(disk: Path) -> None:
    for plan in (planned(2 * MIB), planned(3 * MIB)):
        output = ArchiveFile(str(disk / "out"))
        output.lay(plan)
        output.close()
    assert allocated(disk / "out.part") >= 3 * MIB
    output = ArchiveFile(str(disk / "out"))
    with pytest.raises(OutputError, match=r"needs .* more, .* is free in"):
        output.lay(planned(5 * MIB))
    output.close()
    assert (disk / "out.part").stat().st_size > 3 * MIB, "another run may need it"


def test_a_part_without_blocks_needs_them_all(disk: Path) -> None:
    output = ArchiveFile(str(disk / "out"))
    plan = planned(2 * MIB)
    output.lay(plan)
    output.close()
    size = (disk / "out.part").stat().st_size
    data = (disk / "out.part").read_bytes()
    with (disk / "out.part").open("r+b") as file:
        file.truncate(0)
        file.truncate(size)
        file.seek(plan.size)
        file.write(data[plan.size :])
    (disk / "other").write_bytes(bytes(3 * MIB))
    output = ArchiveFile(str(disk / "out"))
    with pytest.raises(OutputError, match="is free in"):
        output.lay(plan)
    output.close()


@pytest.mark.parametrize("kind", ["file", "tree"])
def test_room_is_taken_at_once(kind: str, disk: Path) -> None:
    name = str(disk / "out")
    output = ArchiveFile(name) if kind == "file" else DirectoryTree(name)
    output.lay(planned(2 * MIB, MIB))
    assert os.statvfs(disk).f_bavail * 4096 < MIB
    output.commit()
    output.close()
    assert sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) >= 3 * MIB


def test_nothing_is_written_to_take_room(simple: Path) -> None:
    """Where a file system cannot reserve, glibc would write a byte to each block."""
    output = ArchiveFile(str(simple / "out"))
    output.lay(planned(64 * MIB))
    assert allocated(simple / "out.part") < MIB
    output.commit()
    output.close()
    assert (simple / "out").stat().st_size == planned(64 * MIB).size


def test_the_file_is_written_anywhere_afterwards(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    reserve(fd, 10_000)
    os.pwrite(fd, b"x", 5)
    assert os.fstat(fd).st_size == 10_000
    assert os.pread(fd, 10, 0) == b"\0\0\0\0\0x\0\0\0\0"
    reserve(fd, 0)
    os.close(fd)


def test_a_quota_is_an_error_and_an_unable_file_system_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(code: int) -> None:
        def failing(fd: int, offset: int, size: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "posix_fallocate", failing)

    output = ArchiveFile(str(tmp_path / "out"))
    refuse(errno.EDQUOT)
    with pytest.raises(OutputError, match="quota"):
        output.lay(planned(1000))
    output.close()
    assert not list(tmp_path.iterdir())
    refuse(errno.EOPNOTSUPP)
    output.lay(planned(1000))
    output.close()


def test_who_may_use_what_is_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Status:
        f_frsize, f_blocks, f_bfree, f_bavail = 4096, 100, 50, 10

    monkeypatch.setattr(os, "fstatvfs", lambda fd: Status)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    disk_module.check_room(0, "out", 50 * 4096)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(OutputError, match=r"needs 205 kB, but only 41 kB is free in \."):
        disk_module.check_room(0, "out", 50 * 4096)
    # Some file systems have no number of blocks.
    Status.f_blocks = 0
    disk_module.check_room(0, "out", 50 * 4096)


def test_what_vanishes_while_it_is_measured_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run publishes a directory by giving it another name."""
    (tmp_path / "a.part").mkdir()
    (tmp_path / "a.part" / "index.json").write_bytes(b"x" * 5000)
    walk = os.walk

    def published(path: str) -> Iterator[tuple[str, list[str], list[str]]]:
        for found in walk(path):
            (tmp_path / "a.part").rename(tmp_path / "a")
            yield found

    monkeypatch.setattr(os, "walk", published)
    folder = disk_module.allocated(str(tmp_path / "a.part"))
    assert folder < 5000
    assert disk_module.allocated(str(tmp_path / "a.part")) == 0
