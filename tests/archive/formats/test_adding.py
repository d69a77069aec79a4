"""Adding a format takes one file and one line; everything else follows."""

from __future__ import annotations

import re
import sys
import tarfile
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import dockersave
from dockersave.archive.formats import formats_in
from dockersave.archive.formats.format import Format
from dockersave.archive.members import Document, Layer
from dockersave.archive.write.ownership import not_ours
from dockersave.errors import UsageError
from dockersave.model.formats import FORMATS
from dockersave.model.image import Image
from dockersave.model.options import Options
from tests.images import GOOD, Store
from tests.registry.simulator import Simulator

PLAIN = dockersave.Network(insecure=True)


class HeapFormat(Format):
    """All layers on one heap, and a list of them."""

    files = re.compile(r"heap/[0-9a-f]{64}|heap\.txt")
    folders = re.compile(r"heap")
    mark = re.compile(r"heap\.txt")

    def layers(self, images: Sequence[Image]) -> list[Layer]:
        return [
            Layer(f"heap/{stored.hex}", served, stored, number)
            for number, image in enumerate(images)
            for served, stored in image.layers(image.primary)
        ]

    def documents(self, images: Sequence[Image]) -> list[Document]:
        paths = [member.path for member in self.layers(images)]
        return [Document("heap.txt", "\n".join(paths).encode())]

    def check(self, options: Options) -> None:
        if options.gunzip:
            raise UsageError("a heap keeps its layers as they are")

    def notes(self, image: Image) -> list[str]:
        return [f"{image.reference}: no engine loads a heap"]


@pytest.fixture
def heap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Add the format, and serve an image."""
    name = "dockersave.archive.formats.heap"
    file = types.ModuleType(name)
    file.FORMAT = HeapFormat()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, file)
    FORMATS.append("heap")
    store = Store()
    store.add("a", GOOD["docker"](), "latest")
    with Simulator(store) as server:
        yield server
    FORMATS.remove("heap")


def test_it_is_written_and_known_again(heap: Simulator, tmp_path: Path) -> None:
    notes: list[str] = []
    options = Options(format="heap", output=tmp_path / "a.tar")
    dockersave.save(f"{heap.host}/a", options=options, network=PLAIN, notify=notes.append)
    with tarfile.open(tmp_path / "a.tar") as archive:
        names = archive.getnames()
        assert names[-1] == "heap.txt"
        listed = archive.extractfile("heap.txt")
        assert listed is not None
        assert listed.read().decode().split() == names[:-1] != []
    assert formats_in(names) == ("heap",)
    assert any("no engine loads a heap" in note for note in notes)


def test_its_directory_is_replaced(heap: Simulator, tmp_path: Path) -> None:
    options = Options(format="heap", output=tmp_path / "a", tar=False, tree=True)
    for _ in range(2):
        dockersave.save(f"{heap.host}/a", options=options, network=PLAIN)
        assert not not_ours(str(tmp_path / "a"), complete=True)
    (tmp_path / "a/heap/notes.txt").write_text("mine")
    with pytest.raises(dockersave.OutputError, match=r"notes\.txt"):
        dockersave.save(f"{heap.host}/a", options=options, network=PLAIN)


def test_it_says_which_options_mean_nothing(heap: Simulator) -> None:
    with pytest.raises(dockersave.UsageError, match="a heap keeps"):
        dockersave.save(f"{heap.host}/a", options=Options(format="heap", gunzip=True))


def test_without_it_there_is_no_such_format() -> None:
    with pytest.raises(dockersave.UsageError, match="unknown format 'heap'"):
        Options(format="heap")
