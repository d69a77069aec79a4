"""Outputs that are written layer by layer, as each turns out to be that large."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from dockersave.archive.append import AppendToFile, AppendToStream, AppendToTree
from dockersave.archive.members import Blob, Content, Link, Member
from dockersave.errors import OutputError
from dockersave.oci import Descriptor
from dockersave.unpack import UnpackedLayer

CHUNK = 2 << 20
LAYERS = {"a/layer.tar": 3 * CHUNK + 17, "b/layer.tar": 0, "c/layer.tar": CHUNK}
DOCUMENTS = [Member("d/", None), Member("d/link", Link("../a")), Member("json", Content(b"{}"))]


def layer_of(folder: Path, path: str) -> tuple[Member, UnpackedLayer, bytes]:
    """A layer that has been unpacked, and what is in it."""
    descriptor = Descriptor("", f"sha256:{path[0] * 64}", -1)
    blob = Blob(descriptor, descriptor, 0)
    body = os.urandom(LAYERS[path])
    unpacked = UnpackedLayer(blob, [], str(folder))
    unpacked.fd = os.open(folder, os.O_RDWR | os.O_TMPFILE)
    os.write(unpacked.fd, body)
    unpacked.unpacked_size = len(body)
    return Member(path, blob), unpacked, body


def ignore(leftover: IO[bytes]) -> None:
    leftover.close()


@pytest.mark.parametrize("kind", ["file", "stream", "tree"])
def test_what_was_appended_is_there(kind: str, tmp_path: Path) -> None:
    output, written = tmp_path / "out", bytearray()
    make: dict[str, Callable[[], AppendToFile | AppendToStream | AppendToTree]] = {
        "file": lambda: AppendToFile(str(output), ignore),
        "stream": lambda: AppendToStream(written.extend),
        "tree": lambda: AppendToTree(str(output)),
    }
    appender, bodies = make[kind](), {}
    for path in LAYERS:
        member, unpacked, bodies[path] = layer_of(tmp_path, path)
        appender.append(member, len(bodies[path]), unpacked)
    assert not output.exists(), "nothing has its own name before all of it is there"
    size = appender.finish(DOCUMENTS)
    appender.close()
    if kind == "tree":
        assert {path: (output / path).read_bytes() for path in LAYERS} == bodies
        assert (output / "d/link").readlink() == Path("../a")
        assert size == sum(map(len, bodies.values())) + 2
    else:
        if kind == "stream":
            output.write_bytes(written)
        assert output.stat().st_size == size
        with tarfile.open(output) as archive:
            assert archive.getnames() == [*LAYERS, "d", "d/link", "json"]
            assert archive.getmember("d/link").linkname == "../a"
            for path, body in bodies.items():
                assert (file := archive.extractfile(path))
                assert file.read() == body
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_layer_moves_into_its_place_rather_than_being_copied(tmp_path: Path) -> None:
    appender = AppendToFile(str(tmp_path / "out"), ignore)
    member, unpacked, body = layer_of(tmp_path, "a/layer.tar")
    most = 0

    class Watched:
        def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
            def watched(offset: int, data: bytes) -> None:
                nonlocal most
                write(offset, data)
                blocks = os.fstat(unpacked.fd).st_blocks
                blocks += (tmp_path / "out.part").stat().st_blocks
                most = max(most, 512 * blocks)

            unpacked.move(watched, backwards=backwards)

    appender.append(member, len(body), Watched())
    appender.close()
    assert len(body) < most <= len(body) + CHUNK + 64 * 1024


def test_what_an_earlier_run_left_is_given_away(tmp_path: Path) -> None:
    (tmp_path / "out.part").write_bytes(b"from before")
    seen: list[bytes] = []

    def keep(leftover: IO[bytes]) -> None:
        with leftover:
            seen.append(leftover.read())

    AppendToFile(str(tmp_path / "out"), keep).close()
    assert seen == [b"from before"]
    assert not list(tmp_path.iterdir()), "an empty file is not left behind"


def test_what_was_appended_stays_for_the_next_run(tmp_path: Path) -> None:
    appender = AppendToFile(str(tmp_path / "out"), ignore)
    member, unpacked, body = layer_of(tmp_path, "c/layer.tar")
    appender.append(member, len(body), unpacked)
    appender.close()
    with tarfile.open(tmp_path / "out.part") as archive:
        assert (file := archive.extractfile("c/layer.tar"))
        assert file.read() == body


@pytest.mark.parametrize("kind", ["file", "tree"])
def test_nobody_else_writes_it_meanwhile(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "out")
    make: Callable[[], AppendToFile | AppendToTree] = (
        (lambda: AppendToFile(path, ignore)) if kind == "file" else (lambda: AppendToTree(path))
    )
    first = make()
    with pytest.raises(OutputError, match="another dockersave is writing"):
        make()
    first.close()
    make().close()
