"""The output: locked while it is written, published whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dockersave.archive.partfile import PartFile
from dockersave.archive.place import copy, write_all
from dockersave.errors import OutputError


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
