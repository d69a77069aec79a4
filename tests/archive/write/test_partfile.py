"""The output: locked while it is written, published whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dockersave.archive.disk import copy, write_all
from dockersave.archive.members import Layer
from dockersave.archive.tar import END, Plan, lay_out
from dockersave.archive.write import file as archive_file
from dockersave.archive.write.file import ArchiveFile
from dockersave.archive.write.partfile import PartFile
from dockersave.errors import OutputError
from dockersave.model.descriptors import Descriptor
from dockersave.model.digest import digest_of
from tests.dying import in_child


def test_a_file_is_published_whole(tmp_path: Path) -> None:
    output = tmp_path / "image.tar"
    output.write_bytes(b"old")
    file = PartFile(str(output))
    file.open()
    write_all(file.fd, b"new", 0)
    assert output.read_bytes() == b"old"
    file.publish()
    file.close()
    assert output.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["image.tar"]


def test_only_one_writes_it(tmp_path: Path) -> None:
    first, second = PartFile(str(tmp_path / "a")), PartFile(str(tmp_path / "a"))
    first.open()
    with pytest.raises(OutputError, match="another dockersave"):
        second.open()
    second.close()
    os.close(first.renew())
    with pytest.raises(OutputError, match="another dockersave"):
        second.open()
    second.close()
    first.close()
    second.open()
    second.close()


def test_renewing_keeps_what_was_there_for_as_long_as_it_is_open(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"before")
    (tmp_path / "a.part").chmod(0o1644)
    file = PartFile(str(tmp_path / "a"))
    file.open()
    old = file.renew()
    assert os.pread(old, 10, 0) == b"before"
    assert os.pread(file.fd, 10, 0) == b""
    os.close(old)
    file.close()


def test_what_is_discarded_is_gone_and_nothing_else(tmp_path: Path) -> None:
    file = PartFile(str(tmp_path / "a"))
    file.open()
    (tmp_path / "a.part").rename(tmp_path / "moved")
    (tmp_path / "a.part").write_bytes(b"of somebody else")
    file.discard()
    assert (tmp_path / "a.part").exists()
    file.close()
    other = PartFile(str(tmp_path / "b"))
    other.open()
    other.discard()
    other.close()
    assert not (tmp_path / "b.part").exists()


# Changes by others in the meantime


def written(path: Path, data: bytes = b"mine") -> PartFile:
    """Begin to write a file."""
    file = PartFile(str(path))
    file.open()
    write_all(file.fd, data, 0)
    return file


def test_what_was_removed_gets_no_name(tmp_path: Path) -> None:
    output = tmp_path / "a"
    output.write_bytes(b"old")
    first = written(output)
    (tmp_path / "a.part").unlink()
    second = written(output, b"half of it")
    with pytest.raises(OutputError, match="was removed or replaced in the meantime"):
        first.publish()
    first.close()
    assert output.read_bytes() == b"old"
    assert (tmp_path / "a.part").read_bytes() == b"half of it"
    second.publish()
    second.close()
    assert output.read_bytes() == b"half of it"


def test_what_was_replaced_is_not_published(tmp_path: Path) -> None:
    file = written(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"of somebody else")
    (tmp_path / "b").rename(tmp_path / "a.part")
    with pytest.raises(OutputError, match="was removed or replaced in the meantime"):
        file.publish()
    file.discard()
    file.close()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"of somebody else"]


@pytest.mark.parametrize("name", ["a", "elsewhere"])
@pytest.mark.parametrize("how", [os.rename, os.link])
def test_what_somebody_names_is_published_all_the_same(
    name: str, how: Callable[[Path, Path], object], tmp_path: Path
) -> None:
    """By its descriptor: whatever other names it has."""
    file = written(tmp_path / "a")
    how(tmp_path / "a.part", tmp_path / name)
    file.publish()
    file.close()
    assert (tmp_path / "a").read_bytes() == b"mine"
    assert {path.name for path in tmp_path.iterdir()} == {"a", name}
    again = written(tmp_path / "a", b"changed")
    again.close()
    assert (tmp_path / name).read_bytes() == b"mine"


def test_without_links_the_name_is_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    file = written(tmp_path / "a")
    file.publish()
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    file = written(tmp_path / "a", b"new")
    (tmp_path / "a.part").rename(tmp_path / "b")
    with pytest.raises(OutputError, match="was removed"):
        file.publish()
    file.close()
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_a_name_that_a_killed_run_left_is_no_other_name(tmp_path: Path) -> None:
    file = written(tmp_path / "a")
    os.link(tmp_path / "a.part", tmp_path / "a.part~")
    file.close()
    again = PartFile(str(tmp_path / "a"))
    again.open()
    assert os.pread(again.fd, 10, 0) == b"mine"
    again.publish()
    again.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_somebody_elses_backup_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.part~").write_bytes(b"of an editor")
    file = written(tmp_path / "a")
    os.close(file.renew())
    file.publish()
    file.close()
    assert (tmp_path / "a.part~").read_bytes() == b"of an editor"


# Existing files that were not left by a save


@pytest.mark.parametrize("data", [b"from a browser", END, b"\0" * 5000])
def test_what_no_save_has_left_is_not_taken_up(data: bytes, tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    part.write_bytes(data)
    mode = part.stat().st_mode
    file = PartFile(str(tmp_path / "a"))
    with pytest.raises(OutputError, match="was not left by a save"):
        file.open()
    file.close()
    assert (part.read_bytes(), part.stat().st_mode) == (data, mode)


def test_an_archive_that_is_called_like_a_part_is_not_taken_up(tmp_path: Path) -> None:
    file = written(tmp_path / "a.part")
    file.publish()
    file.close()
    assert not (tmp_path / "a.part").stat().st_mode & stat.S_ISVTX
    other = PartFile(str(tmp_path / "a"))
    with pytest.raises(OutputError, match="was not left by a save"):
        other.open()
    other.close()
    assert (tmp_path / "a.part").read_bytes() == b"mine"


@pytest.mark.parametrize("directory", [False, True])
def test_what_another_run_is_writing_is_not_replaced(directory: bool, tmp_path: Path) -> None:
    """`-o a` and `-o a.part` at once, whichever begins."""
    first = PartFile(str(tmp_path / "a"), directory=directory)
    second = PartFile(str(tmp_path / "a.part"), directory=directory)
    first.open()
    with pytest.raises(OutputError, match="another dockersave is writing"):
        second.open()
    second.close()
    first.close()
    first.discard()
    for name in ("a.part", "a.part.part"):
        path = tmp_path / name
        if path.exists():
            path.rmdir() if directory else path.unlink()
    second.open()
    first.open()
    with pytest.raises(OutputError, match="another dockersave is writing"):
        second.publish()
    first.publish()
    second.publish()
    first.close()
    second.close()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a.part"}


@pytest.mark.parametrize(
    ("call", "asked", "directory"),
    [
        ("stat", "a.part", False),
        ("stat", "a.part", True),
        ("mkdir", "a.part", True),
        ("lstat", "a.part/blobs", True),
    ],
)
def test_what_another_run_publishes_meanwhile_is_in_nobodys_way(
    call: str, asked: str, directory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of `a.part`, it may be gone by the next question."""
    part, real = tmp_path / "a.part", getattr(os, call)

    def remove() -> None:
        monkeypatch.undo()
        shutil.rmtree(part) if directory else part.unlink()

    def gone(name: str, *arguments: Any, **options: Any) -> Any:
        if name != str(tmp_path / asked):
            return real(name, *arguments, **options)
        if call == "lstat":
            remove()
            return real(name, *arguments, **options)
        try:
            return real(name, *arguments, **options)
        finally:
            remove()

    if directory:
        (part / "blobs").mkdir(parents=True)
    else:
        part.touch()
    file = PartFile(str(tmp_path / "a"), directory=directory)
    monkeypatch.setattr(os, call, gone)
    file.open()
    assert file.is_new
    assert os.path.samestat(os.fstat(file.fd), part.stat())
    file.close()


@pytest.mark.parametrize("what", ["of another run", "of somebody else"])
def test_what_could_not_be_taken_is_not_discarded(what: str, tmp_path: Path) -> None:
    first, second = written(tmp_path / "a"), PartFile(str(tmp_path / "a"))
    if what == "of somebody else":
        first.close()
        (tmp_path / "a.part").chmod(0o644)
    with pytest.raises(OutputError):
        second.open()
    second.discard()
    second.close()
    first.close()
    assert (tmp_path / "a.part").read_bytes() == b"mine"


def test_where_nothing_can_be_marked_there_is_only_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.part").write_bytes(b"left")
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: None)
    file = PartFile(str(tmp_path / "a"))
    file.open()
    assert os.pread(file.fd, 10, 0) == b"left"
    file.close()


def test_a_disk_may_take_a_part_first(monkeypatch: pytest.MonkeyPatch) -> None:
    fd, real = os.memfd_create("x"), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:3], at))
    write_all(fd, b"0123456789", 5)
    assert os.pread(fd, 100, 5) == b"0123456789"
    os.close(fd)


def test_copying_ends_where_the_source_does() -> None:
    source, target = os.memfd_create("s"), os.memfd_create("t")
    os.pwrite(source, b"0123456789", 0)
    assert copy(source, 2, target, 1, 100) == 8
    assert os.pread(target, 100, 0) == b"\x0023456789"
    os.close(source)
    os.close(target)


# What cannot stay in its place


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_what_ends_while_blobs_are_copied_loses_nothing(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that has changed: its blobs move to new places, in a file next to the old one."""
    kept = b"k" * 200_000
    path, part, spare = (tmp_path / name for name in ("a", "a.part", "a.part~"))
    begun = ArchiveFile(str(path))
    for entry, place, _ in begun.lay(plan_of(b"gone", kept)):
        place.write(0, kept if entry.size == len(kept) else b"gone")
        place.record(0, entry.size)
    begun.close()
    before = part.read_bytes()

    def end(*arguments: object) -> int:
        if how == "killed":
            os._exit(9)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive_file, "copy", end)
        if how == "killed":
            assert in_child(lambda: ArchiveFile(str(path)).lay(plan_of(kept, b"new"))) == 9
            assert spare.exists()
        else:
            stopped = ArchiveFile(str(path))
            with pytest.raises(KeyboardInterrupt):
                stopped.lay(plan_of(kept, b"new"))
            stopped.close()
            assert not spare.exists()
    assert part.read_bytes() == before
    again = ArchiveFile(str(path))
    have = {entry.size: ranges for entry, _, ranges in again.lay(plan_of(kept, b"new"))}
    assert have == {len(kept): [(0, len(kept))], 3: []}
    again.close()
    assert not spare.exists()


def test_a_spare_name_that_is_somebody_elses_stays(tmp_path: Path) -> None:
    (tmp_path / "a.part~").write_bytes(b"an editor's")
    for contents in ((b"one", b"two"), (b"two", b"three")):
        file = ArchiveFile(str(tmp_path / "a"))
        for entry, place, _ in file.lay(plan_of(*contents)):
            place.record(0, entry.size)
        file.close()
    assert (tmp_path / "a.part~").read_bytes() == b"an editor's"
    assert (tmp_path / "a.part").exists()


def plan_of(*contents: bytes) -> Plan:
    """An archive of such blobs."""
    stored = [Descriptor("", digest_of(each), len(each)) for each in contents]
    return lay_out([Layer(each.blob_path, each, each, 0) for each in stored], ())
