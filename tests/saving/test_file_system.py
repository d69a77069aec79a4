"""`FileSystem`: files of an image, read from a registry or an archive without being written out."""

from __future__ import annotations

import gc
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dockersave
from dockersave import FileStat, FileSystem, Network, Options, save
from tests.engines.odd_layers import LAYERS
from tests.engines.trees import Node, built
from tests.images import GOOD, digest_of, image, layer, raw_layer, sample_index
from tests.images import file as plain_file
from tests.pace import until
from tests.rootfs.layers import Item, directory, file, link, symlink, tar
from tests.rootfs.layouts import KINDS, Facts, merged_facts
from tests.rootfs.sparse import Holed, sparse
from tests.saving.from_simulator import PLAIN, serving

NOWHERE = Network(retries=0, timeout=0.001)
"""What would fail at once, if anything were asked for."""
TYPES = {
    "file": "0",
    "directory": "5",
    "symlink": "2",
    "fifo": "6",
    "character device": "3",
    "block device": "4",
}


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty directory, which stays empty, with no descriptor left open."""
    monkeypatch.chdir(tmp_path)
    # What earlier tests have left to the collector is closed at any time.
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield tmp_path
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def read(files: FileSystem, path: str) -> bytes:
    with files.open(path) as opened:
        return opened.read()


def of(*layers: list[Item] | bytes, **options: object) -> FileSystem:
    """Open the file system of an image with these layers, from a registry that is gone then."""
    tars = [each if isinstance(each, bytes) else tar(each) for each in layers]
    with serving(sample=image([raw_layer(data) for data in tars])) as served:
        made = Options(**options)  # type: ignore[arg-type]
        return FileSystem(f"{served.host}/sample", options=made, network=PLAIN)


def tree_of(files: FileSystem) -> dict[str, Node]:
    found = {}
    for path in files:
        status = files.stat(path, follow_symlinks=False)
        content = status.target
        if status.type == "file":
            content = digest_of(read(files, path))
        mode = 0 if status.type == "symlink" else status.mode
        found[path] = Node(status.type, mode, (status.uid, status.gid), content)
    return found


@pytest.mark.parametrize("sample", ["mixed", "zstd", "plain", "one-layer"])
def test_it_is_what_the_image_was_built_from(sample: str, tmp_path: Path) -> None:
    document = GOOD[sample]()
    with serving(sample=document) as served:
        name = f"{served.host}/sample"
        with FileSystem(name, network=PLAIN) as files:
            assert tree_of(files) == built(document)
            assert files.image.digest == document.digest
            assert files.config == document.config
            fetched = len(served.requests)
            assert list(files)
            assert len(served.requests) == fetched
        save(name, output="archive.tar", network=PLAIN)
        for use in (FileSystem, save):
            with pytest.raises(dockersave.UsageError, match="is a file, but an image") as caught:
                use("archive.tar", network=NOWHERE)
            assert "from_archive='archive.tar' takes the image from it" in caught.value.hint
        with FileSystem(name, archive="archive.tar", network=NOWHERE) as files:
            assert tree_of(files) == built(document)
    with FileSystem(archive=tmp_path / "archive.tar", network=NOWHERE) as files:
        assert tree_of(files) == built(document)
    assert os.listdir(tmp_path) == ["archive.tar"]


@pytest.mark.parametrize("name", LAYERS)
def test_odd_layers_are_merged_as_in_a_save(name: str) -> None:
    expected, tars = merged_facts(LAYERS[name])
    with of(*tars) as files:
        found: Facts = {}
        for path in files:
            status = files.stat(path, follow_symlinks=False)
            content: object = status.target if status.type == "symlink" else b""
            if status.type == "file":
                content = read_itself(files, path)
            elif status.type.endswith("device"):
                content = status.device
            kind = KINDS[TYPES[status.type]]
            found[path] = (
                kind | (0o777 if status.type == "symlink" else status.mode),
                (status.uid, status.gid), status.mtime_ns, content, status.xattrs,
            )  # fmt: skip
    assert found == {path: each[:-1] for path, each in expected.items()}


def read_itself(files: FileSystem, path: str) -> bytes:
    content = read(files, path)
    assert len(content) == files.stat(path).size
    return content


LINKS = [
    directory("usr"), directory("usr/lib"), file("usr/lib/a", "A"), symlink("lib", "usr/lib"),
    symlink("abs", "/usr/lib/a"), symlink("up", "../../../../usr/lib/a"), symlink("loop", "loop"),
    symlink("gone", "nothing"), link("same", "usr/lib/a"), symlink("here", "."),
]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["usr/lib/a", "/usr/lib/a", "//usr/./lib/a", "lib/a", "abs", "up", "same", "here/here/abs",
     "../../usr/lib/a", "usr/../abs", "usr/lib/../lib/a"],
)  # fmt: skip
def test_links_are_followed_in_the_image(path: str) -> None:
    with of(LINKS) as files:
        assert read(files, path) == b"A"
        assert files.stat(Path(path)).type == "file"


@pytest.mark.parametrize("path", ["", "/", ".", "..", "usr/..", "here"])
def test_the_root(path: str) -> None:
    with of(LINKS) as files:
        assert files.stat(path) == FileStat("directory", 0o755, 0, 0, 0, 0)
    with of([Item("./", tarfile.DIRTYPE, mode=0o711, mtime=7)]) as files:
        assert files.stat(path.removeprefix("usr/").removeprefix("here")).mode == 0o711
        assert list(files) == []


def test_links_themselves() -> None:
    with of(LINKS) as files:
        status = files.stat("abs", follow_symlinks=False)
        assert (status.type, status.target, status.size) == ("symlink", "/usr/lib/a", 0)
        assert files.stat("lib/a", follow_symlinks=False).type == "file"
        assert files.stat("gone", follow_symlinks=False).target == "nothing"
        assert files.stat("loop", follow_symlinks=False).target == "loop"


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "gone",
        "usr/nothing",
        "usr/lib/a/b",
        "\0",
        "a\0b",
        "\ud800",
        "x" * 5000,
    ],
)
def test_what_is_not_there(path: str) -> None:
    with of(LINKS) as files:
        for ask in (files.stat, files.open):
            with pytest.raises(dockersave.NotFoundError, match="has no") as caught:
                ask(path)
            assert str(caught.value).isprintable()
        if path != "gone":
            with pytest.raises(dockersave.NotFoundError):
                files.stat(path, follow_symlinks=False)


def test_what_is_no_file_is_not_opened() -> None:
    kinds = [directory("d"), Item("p", tarfile.FIFOTYPE), Item("c", tarfile.CHRTYPE, device=(1, 3))]
    with of(kinds) as files:
        assert files.stat("c").device == (1, 3)
        for path, what in (("d", "directory"), ("p", "fifo"), ("c", "character device")):
            with pytest.raises(dockersave.UsageError, match=f"{path} is a {what}, not a file"):
                files.open(path)


def test_loops_are_refused() -> None:
    with of(LINKS) as files, pytest.raises(dockersave.ContentError, match="too many symbolic"):
        files.open("loop")


def test_what_is_no_path_is_refused() -> None:
    with of(LINKS) as files, pytest.raises(TypeError):
        files.stat(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="str"):
        FileSystem(archive=7)  # type: ignore[arg-type]


def test_names_that_are_not_utf_8() -> None:
    layer = tar([file("\udcff", "x")], tarfile.GNU_FORMAT)
    with of(layer) as files:
        assert list(files) == ["\udcff"]
        assert read(files, "\udcff") == b"x"


FILES = {
    "plain": Holed(100_000, [(0, Random(1).randbytes(100_000))]),
    "empty": Holed(0, []),
    "one hole": Holed(200_000, []),
    "holes": Holed(90_000, [(512, b"a" * 1000), (30_000, b"b"), (80_000, b"c" * 10_000)]),
    "hole at the end": Holed(50_000, [(0, b"a" * 512)]),
}


@pytest.fixture(scope="module")
def holed() -> Iterator[FileSystem]:
    """Open a file system with files of all kinds of holes."""
    members = b"".join(
        sparse(name, each, "1.0")
        if each.pieces != [(0, each.content)]
        else sparse(name, each, "0.1")
        for name, each in FILES.items()
    )
    with of(members + tar([])) as files:
        yield files


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_file_can_be_read_anywhere(holed: FileSystem, name: str, data: st.DataObject) -> None:
    """As one in memory with the same content."""
    expected = io.BytesIO(FILES[name].content)
    steps = data.draw(
        st.lists(st.tuples(st.integers(0, 210_000), st.integers(0, 100_000)), max_size=6)
    )
    with holed.open(name) as opened:
        assert opened.readable()
        assert opened.seekable()
        for position, amount in steps:
            assert opened.seek(position) == expected.seek(position) == opened.tell()
            assert opened.read(amount) == expected.read(amount)
        assert opened.seek(-min(7, FILES[name].size), os.SEEK_END) >= 0
        assert opened.read() == FILES[name].content[-7:]
        with pytest.raises(OSError, match="write"):
            opened.write(b"x")
        with pytest.raises(ValueError, match="negative"):
            opened.seek(-1)


def test_an_open_file_outlives_the_file_system() -> None:
    files = of([file("a", "A"), file("b", "B")])
    opened = files.open("a")
    iterator = iter(files)
    assert next(iterator) == "a"
    files.close()
    files.close()
    assert opened.read() == b"A"
    opened.close()
    with pytest.raises(ValueError, match="closed"):
        opened.read()
    for ask in (lambda: files.stat("a"), lambda: files.open("a"), lambda: next(iterator)):
        with pytest.raises(dockersave.UsageError, match="is closed"):
            ask()


def test_a_part(tmp_path: Path) -> None:
    with of(LINKS, only=["usr/lib"], output="nothing.tar", xz=True) as files:
        assert list(files) == ["usr", "usr/lib", "usr/lib/a"]
    with pytest.raises(dockersave.NotFoundError, match="nothing"):
        of(LINKS, only=["nothing"])
    assert os.listdir(tmp_path) == []


def test_a_platform_is_chosen() -> None:
    with serving(multi=sample_index()) as served:
        options = Options(platform="linux/arm64")
        with FileSystem(f"{served.host}/multi", options=options, network=PLAIN) as files:
            assert read(files, "etc/platform").strip() == b"linux/arm64"


def test_a_cache_keeps_the_layers(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    options = Options(cache_dir="cache")
    with serving(sample=GOOD["docker"]()) as served:
        for _ in range(2):
            with FileSystem(f"{served.host}/sample", options=options, network=PLAIN) as files:
                assert list(files)
        layers = {blob.digest for blob in GOOD["docker"]().blobs} - {GOOD["docker"]().config_digest}
        asked = [path for path in map(str, served.requests) if any(each in path for each in layers)]
    assert len(asked) == len(layers)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"platform": "all"}, "one platform"),
        ({"gunzip": True}, "unpacked anyway"),
        ({"with_signatures": True}, "no place"),
    ],
)
def test_contradictions_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(dockersave.UsageError, match=words):
        FileSystem("debian", options=Options(**options), network=NOWHERE)  # type: ignore[arg-type]


def test_no_image_is_refused() -> None:
    with pytest.raises(dockersave.UsageError, match="no image was given"):
        FileSystem()
    with pytest.raises(dockersave.UsageError, match=r"nothing\.tar"):
        FileSystem(archive="nothing.tar")


def test_a_wrong_layer_is_refused(tmp_path: Path) -> None:
    document = image([layer([plain_file("a", "x" * 5000)])])
    with serving(sample=document) as served:
        save(f"{served.host}/sample", output="x.tar", network=PLAIN)
    content = bytearray((tmp_path / "x.tar").read_bytes())
    with tarfile.open("x.tar") as archive:
        name = f"blobs/{document.layers[0].digest.replace(':', '/')}"
        content[archive.getmember(name).offset_data + 20] ^= 1
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(dockersave.ContentError, match="layer") as caught:
        FileSystem(archive="x.tar")
    assert "check_archive" in caught.value.hint


def test_files_that_end_too_early_are_refused() -> None:
    with of(tar([file("a", b"x" * 5000)])[:2000]) as files, files.open("a") as opened:
        assert opened.read(1000) == b"x" * 1000
        with pytest.raises(dockersave.ContentError, match="truncated"):
            opened.read()


def test_it_can_be_stopped() -> None:
    cancellation = dockersave.Cancellation()
    cancellation.cancel()
    with serving() as served, pytest.raises(dockersave.CancelledError):
        FileSystem(f"{served.host}/x", network=PLAIN, cancellation=cancellation)


def test_questions_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from dockersave.limits import LIMITS
    from dockersave.rootfs import merge

    with of([file(f"{number}") for number in range(20)]) as files:
        monkeypatch.setattr(merge, "LIMITS", replace(LIMITS, rootfs_steps=50))
        for _ in range(100):
            assert len(list(files)) == 20
            assert files.stat("7").type == "file"
