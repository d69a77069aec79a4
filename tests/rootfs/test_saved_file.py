"""`NAME.saved`: what is written is read again, and something else is not taken for it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from dockersave.rootfs import saved_file
from dockersave.rootfs.saved_record import Recording
from tests.rootfs.staging import spool


def written(path: Path, *fingerprints: str, record: bytes = b"") -> None:
    """Write it."""
    with path.open("wb") as out:
        saved_file.write(out.fileno(), fingerprints, [record] if record else [])


@pytest.mark.parametrize("fingerprints", [(), ("a" * 64,), ("a" * 64, "b" * 64)])
def test_what_is_written_is_known(fingerprints: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "root.saved"
    with closing(Recording(spool(), ["sha256:1"])) as recording:
        record = b"".join(recording.finish("rootfs/", []))
    written(path, *fingerprints, record=record)
    assert saved_file.known(str(path)) == ([*fingerprints], os.geteuid())
    fd = saved_file.opened(str(path))
    try:
        with closing(saved_file.record_in(fd, spool)) as found:
            assert (found.root, found.layers) == ("rootfs/", ["sha256:1"])
    finally:
        os.close(fd)


def test_without_a_record_there_is_none(tmp_path: Path) -> None:
    written(tmp_path / "root.saved", "a")
    fd = saved_file.opened(str(tmp_path / "root.saved"))
    try:
        with pytest.raises(ValueError, match="damaged"):
            saved_file.record_in(fd, spool)
    finally:
        os.close(fd)


def test_none_is_none(tmp_path: Path) -> None:
    assert saved_file.opened(str(tmp_path / "root.saved")) == -1
    assert saved_file.known(str(tmp_path / "root.saved")) == ([], -1)


@pytest.mark.parametrize("content", [b"", b"my own list\n", b"dockersaved\n\n"])
def test_something_else_is_not_taken_for_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "root.saved"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not written by a save"):
        saved_file.known(str(path))


def test_it_is_not_followed(tmp_path: Path) -> None:
    written(tmp_path / "elsewhere", "a")
    (tmp_path / "root.saved").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        saved_file.opened(str(tmp_path / "root.saved"))
