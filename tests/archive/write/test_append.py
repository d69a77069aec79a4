"""Outputs that are written layer by layer, as each turns out to be that large."""

from __future__ import annotations

import os
import random
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from dockersave.archive.members import Document, Layer
from dockersave.archive.write import Output
from dockersave.archive.write.directory import DirectoryTree
from dockersave.archive.write.file import ArchiveFile
from dockersave.archive.write.ordered import OrderedOutput
from dockersave.errors import CancelledError, OutputError
from dockersave.model.descriptors import Descriptor
from dockersave.model.digest import digest_of
from dockersave.transfer.blobs import Blob
from dockersave.transfer.unpacking import UnpackedLayer
from tests.transfer.fake_sources import Line

CHUNK = 2 << 20
A, B, C, D = ("a" * 64 + "/layer.tar", "b" * 64 + "/layer.tar", "c" * 64 + "/layer.tar", "d" * 64)
LAYERS = {A: 3 * CHUNK + 17, B: 0, C: CHUNK}
DOCUMENTS = [
    Document(f"{D}/layer.tar", target=f"../{A}"),
    Document("manifest.json", b"{}"),
]


def body_of(path: str) -> bytes:
    """What is in a layer."""
    return random.Random(path).randbytes(LAYERS[path])


def member_of(path: str) -> Layer:
    """A layer of unknown size."""
    descriptor = Descriptor("", digest_of(body_of(path)), -1)
    return Layer(path, descriptor, descriptor, 0)


MEMBERS = [member_of(path) for path in LAYERS]
DIGESTS = {path: digest_of(body_of(path)) for path in LAYERS}


def layer_of(folder: Path, path: str) -> tuple[Layer, int, UnpackedLayer]:
    """A layer that has been unpacked, as it is appended."""
    body = body_of(path)
    digest = digest_of(body)
    blob = Blob(digest, len(body), [Line(body)], sequential=True)
    unpacked = UnpackedLayer(blob, digest, str(folder), lambda: None)
    unpacked.write(0, body)
    unpacked.hash(body)
    unpacked.judge()
    return member_of(path), unpacked.unpacked_size, unpacked


class Taker:
    """Takes a stream."""

    def __init__(self, written: bytearray) -> None:
        self.write = written.extend
        self.takes_room = False

    def open(self) -> None: ...

    def commit(self) -> None: ...

    def close(self) -> None: ...


def ignore(leftover: IO[bytes]) -> None:
    leftover.close()


def go_on() -> None:
    """Nobody stops the run."""


@pytest.mark.parametrize("kind", ["file", "stream", "tree"])
def test_what_was_appended_is_there(kind: str, tmp_path: Path) -> None:
    output, written = tmp_path / "out", bytearray()
    make: dict[str, Callable[[], Output]] = {
        "file": lambda: ArchiveFile(str(output), ignore),
        "stream": lambda: OrderedOutput(Taker(written)),
        "tree": lambda: DirectoryTree(str(output)),
    }
    appender = make[kind]()
    assert not set(appender.begin(MEMBERS, go_on)) - {B}, "one is empty"
    for path in LAYERS:
        appender.append(*layer_of(tmp_path, path))
    assert not output.exists(), "nothing has its own name before all of it is there"
    size = appender.commit(DOCUMENTS)
    appender.close()
    if kind == "tree":
        assert {path: digest_of((output / path).read_bytes()) for path in LAYERS} == DIGESTS
        assert (output / D / "layer.tar").readlink() == Path(f"../{A}")
        assert size == sum(LAYERS.values()) + 2
    else:
        if kind == "stream":
            output.write_bytes(written)
        assert output.stat().st_size == size
        with tarfile.open(output) as archive:
            assert archive.getnames() == [*LAYERS, f"{D}/layer.tar", "manifest.json"]
            assert archive.getmember(f"{D}/layer.tar").linkname == f"../{A}"
            for path in LAYERS:
                assert (file := archive.extractfile(path))
                assert digest_of(file.read()) == DIGESTS[path]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_layer_moves_into_its_place_rather_than_being_copied(tmp_path: Path) -> None:
    appender = ArchiveFile(str(tmp_path / "out"), ignore)
    appender.begin(MEMBERS, go_on)
    member, size, unpacked = layer_of(tmp_path, A)
    most = 0

    class Watched:
        def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
            def watched(offset: int, data: bytes) -> None:
                nonlocal most
                write(offset, data)
                blocks = os.fstat(unpacked._fd).st_blocks
                blocks += (tmp_path / "out.part").stat().st_blocks
                most = max(most, 512 * blocks)

            unpacked.move(watched, backwards=backwards)

    appender.append(member, size, Watched())
    appender.close()
    assert size < most <= size + CHUNK + 64 * 1024


# Resuming


def left(folder: Path, *paths: str) -> bytes:
    """Append layers and stop there; return the content of the output."""
    appender = ArchiveFile(str(folder / "out"), ignore)
    appender.begin([member_of(path) for path in paths], go_on)
    for path in paths:
        appender.append(*layer_of(folder, path))
    appender.close()
    return (folder / "out.part").read_bytes()


def resumed(folder: Path) -> tuple[dict[str, int], int, list[bytes]]:
    """What a second run keeps in its place, the file that it is in, and what it is given away."""
    given: list[bytes] = []

    def take(leftover: IO[bytes]) -> None:
        with leftover:
            given.append(leftover.read())

    appender = ArchiveFile(str(folder / "out"), take)
    kept = dict(appender.begin(MEMBERS, go_on))
    inode = (folder / "out.part").stat().st_ino
    for path in LAYERS:
        if path not in kept:
            appender.append(*layer_of(folder, path))
    appender.commit(DOCUMENTS)
    appender.close()
    with tarfile.open(folder / "out") as archive:
        for path in LAYERS:
            assert (file := archive.extractfile(path))
            assert digest_of(file.read()) == DIGESTS[path]
    return kept, inode, given


@pytest.mark.parametrize("lost", [0, 1, 511])
def test_layers_that_are_there_stay_in_their_places(lost: int, tmp_path: Path) -> None:
    """Some bytes behind the last one, which is not a multiple of 512, may not be written yet."""
    left(tmp_path, A)
    part = tmp_path / "out.part"
    os.truncate(part, part.stat().st_size - min(lost, -LAYERS[A] % 512))
    before = part.stat().st_ino
    assert resumed(tmp_path) == ({A: LAYERS[A]}, before, [])


def test_all_of_them_are_there(tmp_path: Path) -> None:
    left(tmp_path, *LAYERS)
    inode = (tmp_path / "out.part").stat().st_ino
    assert resumed(tmp_path) == (LAYERS, inode, [])


def test_a_layer_that_was_not_complete_is_not_kept(tmp_path: Path) -> None:
    """Layers move in backwards: the size is right, and the first bytes are not there."""
    left(tmp_path, A, B, C)
    part = tmp_path / "out.part"
    with part.open("r+b") as file:
        file.seek(-CHUNK, os.SEEK_END)
        file.write(bytes(CHUNK // 2))
    inode = part.stat().st_ino
    kept, now, given = resumed(tmp_path)
    assert list(kept) == [A, B]
    assert (now, given) == (inode, [])


def test_a_blob_that_was_not_complete_is_no_blob_elsewhere(tmp_path: Path) -> None:
    """Its name says what it is: nothing has to move for the sake of half of it."""
    blobs = {path: f"blobs/{DIGESTS[path].replace(':', '/')}" for path in (A, C)}
    members = [replace(member_of(path), path=name) for path, name in blobs.items()]
    appender = ArchiveFile(str(tmp_path / "out"), ignore)
    appender.begin(members, go_on)
    for member, path in zip(members, blobs, strict=True):
        appender.append(member, *layer_of(tmp_path, path)[1:])
    appender.close()
    part = tmp_path / "out.part"
    with part.open("r+b") as file:
        file.seek(-CHUNK, os.SEEK_END)
        file.write(bytes(CHUNK // 2))
    inode = part.stat().st_ino
    again = ArchiveFile(str(tmp_path / "out"), ignore)
    assert again.begin(members, go_on) == {blobs[A]: LAYERS[A]}
    again.close()
    assert part.stat().st_ino == inode


def test_layers_at_other_places_are_given_away(tmp_path: Path) -> None:
    blob = f"blobs/{DIGESTS[C].replace(':', '/')}"
    before = [replace(MEMBERS[0], path="first"), replace(MEMBERS[2], path=blob)]
    appender = ArchiveFile(str(tmp_path / "out"), ignore)
    appender.begin(before, go_on)
    for member, path in zip(before, (A, C), strict=True):
        appender.append(member, *layer_of(tmp_path, path)[1:])
    appender.close()
    old = (tmp_path / "out.part").read_bytes()
    kept, _, given = resumed(tmp_path)
    assert (kept, given) == ({}, [old])


def test_what_is_no_archive_is_given_away(tmp_path: Path) -> None:
    (tmp_path / "out.part").write_bytes(b"from before")
    (tmp_path / "out.part").chmod(0o1644)
    assert resumed(tmp_path)[::2] == ({}, [b"from before"])


def test_what_fills_the_last_block_of_a_layer_is_written_again(tmp_path: Path) -> None:
    """No digest covers these bytes, and a crash may have left anything there."""
    left(tmp_path, *LAYERS)
    part = tmp_path / "out.part"
    end = 512 + LAYERS[A]
    with part.open("r+b") as file:
        file.seek(end)
        file.write(b"x" * (-end % 512))
    assert list(resumed(tmp_path)[0]) == list(LAYERS)
    assert (tmp_path / "out").read_bytes()[end : end + -end % 512] == bytes(-end % 512)


@pytest.mark.parametrize("moment", ["before", "within", "after"])
@pytest.mark.parametrize("size", [0, 100, CHUNK - 1])
@pytest.mark.parametrize("kind", ["file", "tree"])
def test_what_somebody_cuts_gets_no_name(kind: str, size: int, moment: str, tmp_path: Path) -> None:
    output, part = tmp_path / "out", tmp_path / "out.part"
    appender = ArchiveFile(str(output), ignore) if kind == "file" else DirectoryTree(str(output))
    appender.begin(MEMBERS, go_on)
    appender.append(*layer_of(tmp_path, A))
    member, whole, unpacked = layer_of(tmp_path, C)
    cut = part if kind == "file" else part / (A if moment != "within" else C)

    class Cutting:
        def move(self, write: Callable[[int, bytes], object], *, backwards: bool) -> None:
            body = body_of(C)
            write(len(body) // 2, body[len(body) // 2 :])
            if moment == "within":
                os.truncate(cut, size)
            write(0, body[: len(body) // 2])

    def write() -> None:
        if moment == "before":
            os.truncate(cut, size)
        appender.append(member, whole, Cutting())
        if moment == "after":
            os.truncate(cut, size)
        appender.commit(DOCUMENTS)

    with pytest.raises(OutputError, match=r"was (truncated|changed)"):
        write()
    unpacked.close()
    appender.close()
    assert not output.exists()


def test_whoever_is_stopped_while_looking_loses_nothing(tmp_path: Path) -> None:
    before = left(tmp_path, A, C)

    def stop() -> None:
        raise CancelledError("stopped")

    appender = ArchiveFile(str(tmp_path / "out"), ignore)
    with pytest.raises(CancelledError):
        appender.begin(MEMBERS, stop)
    appender.close()
    assert (tmp_path / "out.part").read_bytes() == before


def test_an_empty_file_is_not_left_behind(tmp_path: Path) -> None:
    appender = ArchiveFile(str(tmp_path / "out"), ignore)
    appender.begin(MEMBERS, go_on)
    appender.close()
    assert not list(tmp_path.iterdir())


def test_files_of_a_directory_that_are_there_are_kept(tmp_path: Path) -> None:
    appender = DirectoryTree(str(tmp_path / "out"))
    appender.begin(MEMBERS, go_on)
    for path in (A, C):
        appender.append(*layer_of(tmp_path, path))
    appender.close()
    part = tmp_path / "out.part"
    (part / "repositories").write_bytes(b"of another image")
    os.truncate(part / C, 5)
    again = DirectoryTree(str(tmp_path / "out"))
    kept = again.begin(MEMBERS, go_on)
    assert kept == {path: LAYERS[path] for path in (A, B)}
    again.append(*layer_of(tmp_path, C))
    assert again.commit(DOCUMENTS) == sum(LAYERS.values()) + 2
    again.close()
    assert {path: digest_of((tmp_path / "out" / path).read_bytes()) for path in LAYERS} == DIGESTS
    assert not (tmp_path / "out/repositories").exists()


@pytest.mark.parametrize("kind", ["file", "tree"])
def test_nobody_else_writes_it_meanwhile(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "out")

    def begun() -> Output:
        appender = ArchiveFile(path, ignore) if kind == "file" else DirectoryTree(path)
        try:
            appender.begin(MEMBERS, go_on)
        except OutputError:
            appender.close()
            raise
        return appender

    first = begun()
    with pytest.raises(OutputError, match="another dockersave is writing"):
        begun()
    first.close()
    begun().close()
