"""Untrusted archives."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave.archive.read import reader
from dockersave.archive.read.reader import Found, read_directory, read_tar
from dockersave.errors import ContentError
from tests.archive.handmade_tars import END, Raw, extended, tar

SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}


def found(data: bytes, piece: int = 1000) -> list[tuple[Found, bytes]]:
    """Read an archive that comes in pieces."""
    pieces = (data[start : start + piece] for start in range(0, len(data), piece))
    return [(member, b"".join(content)) for member, content in read_tar(pieces)]


def one(member: Raw) -> Found:
    """Read an archive of one member."""
    ((only, _),) = found(tar(member))
    return only


@given(
    st.lists(st.tuples(st.text("abc/.", min_size=1, max_size=150), st.binary(max_size=1500))),
    st.integers(100, 3000),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_reads_what_the_standard_library_writes(
    files: list[tuple[str, bytes]], piece: int, form: int
) -> None:
    target = io.BytesIO()
    written = []
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            try:
                archive.addfile(info, io.BytesIO(data))
            except ValueError:
                continue  # too long for this form
            written.append((name, data))
    read = found(target.getvalue(), piece)
    assert [data for _, data in read] == [data for name, data in written]
    for (member, _), (name, data) in zip(read, written, strict=True):
        parts = [part for part in name.split("/") if part not in ("", ".")]
        leaves = name.startswith("/") or ".." in parts
        assert member.path == "/".join(parts)
        assert ("points outside" in member.fault) == leaves
        if not name.endswith("/"):
            assert member.size == len(data)


@given(st.binary(max_size=3000))
def test_garbage_is_no_archive(data: bytes) -> None:
    with pytest.raises(ContentError):
        found(data.replace(b"\x00", b"\x01"))


@given(st.data())
def test_any_damage_is_met_calmly(data: st.DataObject) -> None:
    whole = tar(
        Raw("a", b"a" * 700),
        Raw("b" * 150, b"", tarfile.SYMTYPE, "a"),
        Raw("c", b"x", pax={"path": "d" * 200}),
    )
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        for member, content in found(bytes(damaged)):
            assert len(content) == member.size
    except ContentError:
        pass


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 1024, 1536])
def test_what_is_cut_off(length: int) -> None:
    with pytest.raises(ContentError, match=r"truncated|empty|not a tar archive"):
        found(tar(Raw("a", b"a" * 600), end=b"")[:length])


def test_an_archive_without_an_end() -> None:
    with pytest.raises(ContentError, match="its end is missing"):
        found(tar(Raw("a", b"a"), end=b""))


def test_garbage_in_place_of_the_end() -> None:
    with pytest.raises(ContentError, match="no tar header at byte"):
        found(tar(Raw("a", b"a"), end=bytes(512) + b"x" * 512))
    assert found(tar(Raw("a", b"a"), end=END + b"whatever follows"))


def test_what_follows_the_end_is_not_read_for_ever() -> None:
    read = 0

    def pieces() -> Iterator[bytes]:
        nonlocal read
        yield tar(Raw("a", b"a"))
        while True:
            read += 1 << 20
            yield bytes(1 << 20)

    with pytest.raises(ContentError, match="follow the end of the archive"):
        for _ in read_tar(pieces()):
            pass
    assert read <= reader._AFTER_END + (2 << 20)


@pytest.mark.parametrize(
    "data",
    [
        Raw("\x1b]0;\x07", b"a" * 600).to_bytes()[:1000],
        Raw("\x1b]0;\x07", b"a" * 600).to_bytes()[:1200],
        tar(Raw("\x1b]0;\x07", b"", tarfile.GNUTYPE_SPARSE, size=0)),
        tar(Raw("\x1b]0;\x07", b"x", pax={"size": "x"})),
        tar(Raw("\x1b]0;\x07", b"x", pax={"size": str(1 << 41)})),
    ],
    ids=["content", "padding", "sparse", "no number", "too large"],
)
def test_names_are_said_without_what_moves_a_terminal(data: bytes) -> None:
    with pytest.raises(ContentError, match=r"\?\]0;\?") as caught:
        found(data)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "a/..", "//x"])
def test_names_that_lead_out(name: str) -> None:
    assert "points outside" in one(Raw(name, b"x")).fault
    assert "points outside" in one(Raw("a", b"x", pax={"path": name})).fault


@pytest.mark.parametrize(
    ("path", "target", "leads"),
    [
        ("a/b", "../c", "c"),
        ("a/b", "c", "a/c"),
        ("a/b", "./x/../c", "a/c"),
        ("b", "../c", None),
        ("a/b", "../../c", None),
        ("a/b", "/etc/passwd", None),
    ],
)
def test_where_symbolic_links_lead(path: str, target: str, leads: str | None) -> None:
    link = one(Raw(path, type=tarfile.SYMTYPE, target=target))
    assert (link.kind, link.fault == "") == ("link", leads is not None)
    assert leads is None or link.target == leads


def test_where_hard_links_lead() -> None:
    assert one(Raw("a/b", type=tarfile.LNKTYPE, target="a/c")).target == "a/c"
    assert one(Raw("a/b", type=tarfile.LNKTYPE, target="../c")).fault


@pytest.mark.parametrize(
    "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"], ids=repr
)
def test_devices_and_the_like(kind: bytes) -> None:
    member = one(Raw("dev", type=kind))
    assert member.kind == "other"
    assert member.fault


@pytest.mark.parametrize(
    "member",
    [
        Raw("bomb", b"", tarfile.GNUTYPE_SPARSE, size=0),
        Raw("bomb", b"1\n0\n" + bytes(508), pax=SPARSE),
    ],
    ids=["gnu", "pax"],
)
def test_sparse_files(member: Raw) -> None:
    with pytest.raises(ContentError, match="bomb is a sparse file"):
        found(tar(member))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_extended_headers_of_any_size_are_not_read(kind: bytes) -> None:
    with pytest.raises(ContentError, match="bytes of extensions"):
        found(Raw("x", type=kind, size=1 << 33).to_bytes() + b"x" * 10_000)


@pytest.mark.parametrize("records", [b"5 a=b\n", b"x", b"3 a", b"99 path=a\n", b"-5 path=a\n"])
def test_malformed_extended_headers(records: bytes) -> None:
    with pytest.raises(ContentError, match="malformed"):
        found(tar(Raw("x", records, tarfile.XHDTYPE), Raw("a", b"")))


@pytest.mark.parametrize("size", ["-1", "x", "9" * 30, str(1 << 41), "١"])
def test_sizes_that_cannot_be(size: str) -> None:
    with pytest.raises(ContentError, match=r"the size of a|malformed|truncated"):
        found(tar(Raw("a", b"x", pax={"size": size})))


def test_a_negative_size() -> None:
    head = bytearray(Raw("a").to_bytes())
    head[124:136] = b"\xff" * 12
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    with pytest.raises(ContentError, match="impossible size"):
        found(bytes(head) + END)


def test_many_records_take_little_time_and_memory() -> None:
    records = {f"k{n}": "v" for n in range(30_000)}
    data = extended(records) + tar(Raw("a", b"x"))
    assert [member.path for member, _ in found(data, 65536)] == ["a"]


def test_memory_does_not_grow_with_the_archive() -> None:
    def pieces() -> Iterator[bytes]:
        yield Raw("big", size=64 << 20).to_bytes()
        for _ in range(64):
            yield bytes(1 << 20)
        yield END

    tracemalloc.start()
    try:
        for _, content in read_tar(pieces()):
            for _ in content:
                pass
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_bytes(b"content")
    (tmp_path / "b" / "link").symlink_to("../a")
    (tmp_path / "out").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    read = {
        member.path: (member, b"".join(content))
        for member, content in read_directory(str(tmp_path))
    }
    assert read["b/file"] == (Found("b/file", "file", 7), b"content")
    assert read["b/link"][0].target == "a"
    assert "points outside" in read["out"][0].fault
    assert read["pipe"][0].fault
    assert len(read) == 4


def test_a_folder_that_cannot_be_read_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blobs").mkdir()
    scandir = os.scandir

    def scanning(path: str) -> Any:
        if path.endswith("blobs"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scanning)
    with pytest.raises(PermissionError):
        list(read_directory(str(tmp_path)))


def test_a_file_of_a_directory_that_grows_meanwhile(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"content")
    read = 0
    for member, content in read_directory(str(tmp_path)):
        for data in content:
            read += len(data)
            with log.open("ab") as file:
                file.write(data)
            assert read <= member.size
    assert read == 7


def test_directories_in_one_another(tmp_path: Path) -> None:
    """A thousand of them are more than a walk through them can bear."""
    subprocess.run(["mkdir", "-p", "/".join(["d"] * 1500)], cwd=tmp_path, check=True)
    (found,) = [member for member, _ in read_directory(str(tmp_path))]
    assert found.fault == "is nested too deeply"
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)
