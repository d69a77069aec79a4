"""Outputs that are modified while being written: only written content is published."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dockersave.archive.members import Document, Layer
from dockersave.archive.tar import lay_out
from dockersave.archive.write import Slot
from dockersave.archive.write.directory import DirectoryTree
from dockersave.archive.write.existing import ExistingArchive
from dockersave.archive.write.file import ArchiveFile
from dockersave.errors import OutputError
from dockersave.model.descriptors import Descriptor
from dockersave.model.digest import digest_of

BODIES = [bytes([number]) * 300_000 for number in (1, 2, 3)]


def member(body: bytes) -> Layer:
    """A blob at its place."""
    descriptor = Descriptor("", digest_of(body), len(body))
    return Layer(descriptor.blob_path, descriptor, descriptor, 0)


PLAN = lay_out(map(member, BODIES), [Document("index.json", b"{}")])
FIRST, LAST = (PLAN.layers[number].member.path for number in (0, 2))


def fill(slots: list[Slot], *numbers: int) -> None:
    """Write some of the blobs, as if they had arrived."""
    for number in numbers:
        _, place, _ = slots[number]
        place.write(0, BODIES[number])
        place.record(0, len(BODIES[number]))


@pytest.mark.parametrize("moment", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [0, 400_000, PLAN.size, PLAN.size + 10])
def test_an_archive_that_somebody_cuts_gets_no_name(size: int, moment: int, tmp_path: Path) -> None:
    output = ArchiveFile(str(tmp_path / "a"))

    def write() -> None:
        slots = output.lay(PLAN)
        fill(slots, *range(moment))
        os.truncate(tmp_path / "a.part", size)
        fill(slots, *range(moment, 3))
        output.commit()

    with pytest.raises(OutputError, match="was truncated while it was being written"):
        write()
    output.close()
    assert not (tmp_path / "a").exists()
    again = ArchiveFile(str(tmp_path / "a"))
    fill(again.lay(PLAN), 0, 1, 2)
    again.commit()
    again.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def put(path: Path) -> None:
    path.write_bytes(b"years of work")


def in_place(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.rename(path)


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        (FIRST, lambda path: os.truncate(path, 10), "was (truncated|changed)"),
        (LAST, lambda path: os.truncate(path, 10), "was (truncated|changed)"),
        (FIRST, in_place, "was changed in the meantime"),
        (FIRST, os.unlink, "No such file"),
        ("index.json", in_place, "was changed in the meantime"),
        ("blobs/sha256/thesis.txt", put, "appeared in the meantime"),
        ("blobs/sha256/" + "a" * 64, put, "appeared in the meantime"),
    ],
)
def test_a_directory_that_somebody_changes_gets_no_name(
    path: str, change: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    output = DirectoryTree(str(tmp_path / "d"))

    def write() -> None:
        slots = output.lay(PLAN)
        fill(slots, 0, 1)
        change(tmp_path / "d.part" / path)
        fill(slots, 2)
        output.commit()

    with pytest.raises(OutputError, match=words):
        write()
    output.close()
    assert not (tmp_path / "d").exists()
    if change is put:
        assert (tmp_path / "d.part" / path).read_bytes() == b"years of work"


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_directory_that_is_another_by_now(how: str, tmp_path: Path) -> None:
    output = DirectoryTree(str(tmp_path / "d"))
    fill(output.lay(PLAN), 0, 1, 2)
    (tmp_path / "d.part").rename(tmp_path / "moved")
    if how == "replaced":
        (tmp_path / "d.part").mkdir()
        put(tmp_path / "d.part/.map")
    with pytest.raises(OutputError, match="was removed or replaced in the meantime"):
        output.commit()
    output.close()
    assert not (tmp_path / "d").exists()
    assert how == "removed" or list((tmp_path / "d.part").iterdir())


# What is replaced


def replaced(folder: Path, meanwhile: Callable[[], object]) -> None:
    """Save a directory over another one, while something happens."""
    for what in (lambda: None, meanwhile):
        output = DirectoryTree(str(folder / "d"))
        try:
            fill(output.lay(PLAN), 0, 1, 2)
            what()
            output.commit()
        finally:
            output.close()


@pytest.mark.parametrize("name", ["thesis.txt", "blobs/sha256/notes", "blobs/md5/" + "a" * 32])
def test_what_is_put_into_a_directory_that_is_replaced_stays(name: str, tmp_path: Path) -> None:
    path = tmp_path / "d" / name

    def place() -> None:
        path.parent.mkdir(exist_ok=True)
        put(path)

    with pytest.raises(OutputError, match="which is not part of an image"):
        replaced(tmp_path, place)
    assert path.read_bytes() == b"years of work"
    assert (tmp_path / "d.part").exists(), "the next run goes on with it"


def test_an_image_that_another_program_puts_beside_it_stays(tmp_path: Path) -> None:
    """It has the name that the replaced directory gets for a moment."""
    theirs = tmp_path / "d.old/index.json"

    def place() -> None:
        theirs.parent.mkdir()
        theirs.write_text('{"schemaVersion": 2}')

    with pytest.raises(OutputError, match=r"d\.old holds an image written by another program"):
        replaced(tmp_path, place)
    assert theirs.read_text() == '{"schemaVersion": 2}'
    assert (tmp_path / "d" / FIRST).exists()


def test_an_empty_directory_is_somebody_elses(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="deeper, which is not part of an image"):
        replaced(tmp_path, lambda: (tmp_path / "d/deeper").mkdir())
    assert (tmp_path / "d/deeper").is_dir()
    assert not (tmp_path / "d.old").exists()


def test_a_pipe_in_the_place_of_a_document(tmp_path: Path) -> None:
    def place() -> None:
        (tmp_path / "d/index.json").unlink()
        os.mkfifo(tmp_path / "d/index.json")

    with pytest.raises(OutputError, match=r"index\.json, which is not part of an image"):
        replaced(tmp_path, place)
    assert (tmp_path / "d/index.json").is_fifo()


def test_what_is_put_there_at_the_last_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def renaming(source: str, target: str) -> None:
        rename(source, target)
        if target.endswith(".old"):
            put(Path(target, "thesis.txt"))

    monkeypatch.setattr(os, "rename", renaming)
    with pytest.raises(OutputError, match=r"is saved, but .*d\.old holds"):
        replaced(tmp_path, lambda: None)
    assert (tmp_path / "d.old/thesis.txt").read_bytes() == b"years of work"
    assert (tmp_path / "d" / FIRST).exists()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("index.json", b'{"schemaVersion":2,"manifests":[]}'),
        ("manifest.json", b'[{"Config":"x","RepoTags":null,"Layers":[]}]'),
        ("index.json", b"not even JSON"),
    ],
)
def test_an_image_of_another_program_is_not_replaced(
    name: str, body: bytes, tmp_path: Path
) -> None:
    """`skopeo copy docker://… oci:d:latest`: nothing in there but what images have."""
    folder = tmp_path / "d/blobs/sha256"
    folder.mkdir(parents=True)
    put(folder / ("a" * 64))
    (tmp_path / "d" / name).write_bytes(body)
    output = DirectoryTree(str(tmp_path / "d"))
    with pytest.raises(OutputError, match="written by another program"):
        output.lay(PLAN)
    output.close()
    assert (folder / ("a" * 64)).read_bytes() == b"years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_layer_that_is_a_link_is_of_an_image(tmp_path: Path) -> None:
    one, two = f"{'a' * 64}/layer.tar", f"{'b' * 64}/layer.tar"
    descriptor = Descriptor("", digest_of(b""), 0)
    layer = Layer(one, descriptor, descriptor, 0)
    plan = lay_out([layer], [Document(two, target=f"../{one}")])
    for _ in range(2):
        output = DirectoryTree(str(tmp_path / "d"))
        output.lay(plan)
        output.commit()
        output.close()
    assert (tmp_path / "d" / two).is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_the_name_that_a_killed_run_left_beside_the_final_one(tmp_path: Path) -> None:
    output = ArchiveFile(str(tmp_path / "a"))
    fill(output.lay(PLAN), 0, 1, 2)
    output.commit()
    output.close()
    os.link(tmp_path / "a", tmp_path / "a.part")
    existing = ExistingArchive(str(tmp_path / "a"))
    assert existing.lay(PLAN)
    existing.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_mark_that_a_killed_run_has_left_is_taken_off(tmp_path: Path) -> None:
    """Between its new name and its last change, a kill leaves a whole archive marked as none."""
    output = ArchiveFile(str(tmp_path / "a"))
    plan = lay_out((), [Document("oci-layout", b"{}")])
    output.lay(plan)
    output.commit()
    output.close()
    (tmp_path / "a").chmod(0o1644)
    existing = ExistingArchive(str(tmp_path / "a"))
    assert existing.lay(plan) == []
    existing.close()
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o644
