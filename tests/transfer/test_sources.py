"""Blobs on this machine's disk are not fetched again, but never trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave.model.options import Options
from tests.faults.saving import fetched, run, saved, sha256
from tests.images import Store, image, random_layer
from tests.registry.faults import Fault
from tests.registry.simulator import Simulator

BASE = [random_layer(2_000_000, 1, "gzip"), random_layer(300_000, 2)]
NEW = random_layer(400_000, 3)
STORE = Store.of({"sample": image(BASE)})
STORE.add("sample", image([*BASE, NEW]), "newer")
SIZE = sum(layer.size for layer in BASE)


@pytest.fixture
def server() -> Iterator[Simulator]:
    """A registry that does everything right."""
    with Simulator(STORE) as registry:
        yield registry


@pytest.mark.parametrize("options", [[], ["--gunzip"]])
def test_an_unchanged_image(options: list[str], server: Simulator, tmp_path: Path) -> None:
    assert run(server, "-o", "image.tar", *options, cwd=tmp_path).code == 0
    before, status = sha256(tmp_path / "image.tar"), (tmp_path / "image.tar").stat()
    server.requests.clear()
    again = run(server, "-o", "image.tar", *options, cwd=tmp_path)
    assert again.code == 0
    assert "unchanged" in again.err
    assert [request.kind for request in server.requests if request.kind != "ping"] == ["manifest"]
    assert sha256(tmp_path / "image.tar") == before
    assert (tmp_path / "image.tar").stat().st_ino == status.st_ino


@pytest.mark.parametrize("gunzip", [False, True])
def test_an_updated_image(gunzip: bool, server: Simulator, tmp_path: Path) -> None:
    options = Options(gunzip=gunzip)
    output = tmp_path / "image.tar"
    saved(server, output, options=options)
    before = fetched(server)
    done = saved(server, output, "sample:newer", options=options)
    assert fetched(server) - before == done.fetched == NEW.size
    saved(server, tmp_path / "right.tar", "sample:newer", options=options)
    assert sha256(output) == sha256(tmp_path / "right.tar")


def test_a_directory_is_reused(server: Simulator, tmp_path: Path) -> None:
    options = Options(tar=False, tree=True, working_dir=str(tmp_path), layers_dir="tree")
    saved(server, tmp_path / "tree", options=options)
    assert saved(server, tmp_path / "tree", options=options).fetched == 0
    assert saved(server, tmp_path / "tree", "sample:newer", options=options).fetched == NEW.size


def test_other_archives_are_reused(server: Simulator, tmp_path: Path) -> None:
    assert run(server, "-o", "old.tar", cwd=tmp_path).code == 0
    before = fetched(server)
    command = ["-o", "new.tar", "--reuse", "missing.tar", "--reuse", "old.tar"]
    done = run(server, *command, cwd=tmp_path, image="sample:newer")
    assert done.code == 0, done.err
    assert fetched(server) - before == NEW.size


def flip(data: bytearray) -> None:
    data[1_000_000] ^= 1


def cut(data: bytearray) -> None:
    del data[1_000_000:]


def empty(data: bytearray) -> None:
    data.clear()


def scramble(data: bytearray) -> None:
    data[:] = bytes(reversed(data))


@pytest.mark.parametrize("gunzip", [False, True])
@pytest.mark.parametrize("where", ["the output", "--reuse"])
@pytest.mark.parametrize("damage", [flip, cut, empty, scramble])
def test_what_is_damaged_is_fetched(
    damage: object, where: str, gunzip: bool, server: Simulator, tmp_path: Path
) -> None:
    assert callable(damage)
    output, other = tmp_path / "image.tar", tmp_path / "other.tar"
    options = Options(gunzip=gunzip)
    saved(server, output, options=options)
    right = sha256(output)
    data = bytearray(output.read_bytes())
    damage(data)
    if where == "--reuse":
        output.unlink()
        other.write_bytes(data)
        options = Options(gunzip=gunzip, reuse=(str(other),))
    else:
        output.write_bytes(data)
    before = fetched(server)
    saved(server, output, options=options)
    assert sha256(output) == right
    assert fetched(server) - before > 900_000


def test_a_reused_file_that_cannot_be_read(
    server: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with bad sectors."""
    import os

    other = tmp_path / "other.tar"
    saved(server, other)
    inode, real = other.stat().st_ino, os.preadv

    def broken(fd: int, buffers: list[memoryview], offset: int) -> int:
        if os.fstat(fd).st_ino == inode and offset > 500_000:
            raise OSError(5, "Input/output error")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", broken)
    for gunzip in (False, True):
        output = tmp_path / f"image-{gunzip}.tar"
        done = saved(server, output, options=Options(gunzip=gunzip, reuse=(str(other),)))
        assert done.fetched > 0
        output.unlink()


def test_the_part_of_another_image_gives_what_fits(server: Simulator, tmp_path: Path) -> None:
    output = tmp_path / "image.tar"
    server.faults.add(Fault.status(404, on="blob", reference=BASE[1].digest))
    server.faults.add(Fault.delay(0.5, on="blob", reference=BASE[1].digest))
    with pytest.raises(Exception, match=BASE[1].digest):
        saved(server, output)
    assert (tmp_path / "image.tar.part").exists()
    server.faults.clear()
    done = saved(server, output, "sample:newer")
    assert done.reused > BASE[0].size / 2
    saved(server, tmp_path / "right.tar", "sample:newer")
    assert sha256(output) == sha256(tmp_path / "right.tar")


def test_the_part_of_another_name_whose_documents_are_longer(
    server: Simulator, tmp_path: Path
) -> None:
    """The blobs are at the same places; the map was where the documents end now."""
    long_name = "sample" + "x" * 190
    server.store.add(long_name, image(BASE), "latest")
    output = tmp_path / "image.tar"
    server.faults.add(Fault.status(404, on="blob", reference=BASE[1].digest))
    with pytest.raises(Exception, match=BASE[1].digest):
        saved(server, output)
    server.faults.clear()
    saved(server, output, long_name)
    saved(server, tmp_path / "right.tar", long_name)
    assert sha256(output) == sha256(tmp_path / "right.tar")


@pytest.mark.parametrize("option", ["", "--gunzip", "--xz"])
def test_a_part_of_garbage(option: str, server: Simulator, tmp_path: Path) -> None:
    """Left by a save after a crash, it is useless; from others, it is not ours to replace."""
    part = tmp_path / "image.tar.part"
    part.write_bytes(b"garbage" * 100_000)
    done = run(server, "-o", "image.tar", *filter(None, [option]), cwd=tmp_path)
    assert (done.code, len(done.error)) == (7, 2), done.err
    assert "was not left by a save" in done.error[0]
    assert part.read_bytes() == b"garbage" * 100_000
    part.chmod(0o1644)
    done = run(server, "-o", "image.tar", *filter(None, [option]), cwd=tmp_path)
    assert done.code == 0, done.err
    assert not part.exists()
    right = run(server, "-o", "right.tar", *filter(None, [option]), cwd=tmp_path)
    assert right.code == 0
    assert sha256(tmp_path / "image.tar") == sha256(tmp_path / "right.tar")


def test_a_map_that_lies(server: Simulator, tmp_path: Path) -> None:
    """What it claims is hashed, found wrong, and fetched."""
    output, part = tmp_path / "image.tar", tmp_path / "image.tar.part"
    saved(server, output)
    right = sha256(output)
    server.faults.add(Fault.status(404, on="blob", reference=BASE[1].digest))
    server.faults.add(Fault.delay(0.5, on="blob", reference=BASE[1].digest))
    output.unlink()
    with pytest.raises(Exception, match=BASE[1].digest):
        saved(server, output)
    server.faults.clear()
    data = bytearray(part.read_bytes())
    wrong = data[2000:900_000]
    data[2000:900_000] = bytes(byte ^ 0xFF for byte in wrong)
    part.write_bytes(data)
    before = fetched(server)
    saved(server, output)
    assert sha256(output) == right
    assert fetched(server) - before >= BASE[0].size
