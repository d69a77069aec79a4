"""What a save remembers: read back it is the same, and damaged it is nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.errors import ContentError
from dockersave.rootfs import record as record_module
from dockersave.rootfs.earlier import Rows, is_alike, is_untouched
from dockersave.rootfs.headers import Headers, Member
from dockersave.rootfs.merge import Tree
from dockersave.rootfs.missing import Missing, lacking
from dockersave.rootfs.nodes import LAYER, Entry
from dockersave.rootfs.record import Placed, Record, Recording, Row
from dockersave.rootfs.walk import Seen
from tests.rootfs.layers import Bytes, Item, directory, file, link, symlink, tar
from tests.rootfs.layouts import of_tree
from tests.rootfs.sparse import FORMATS, Holed, sparse
from tests.rootfs.test_merge import LAYERS

NOTHING = Member(b"", ord("0"), 0o644, 0, 0, 0, b"", 0, 0, (0, 0), {})


def spool() -> int:
    """Return an unnamed file."""
    return os.open(tempfile.gettempdir(), os.O_RDWR | os.O_TMPFILE)


def recorded(
    layers: Sequence[bytes], files: Sequence[tuple[bytes, int]] = (), root: str = ""
) -> bytes:
    """Return the record of layers, and of files of the first one with these inodes."""
    digests = [f"sha256:{number}" for number in range(len(layers))]
    placed, seen = Placed(), []
    for number, (path, inode) in enumerate(files):
        entry = Entry(path, 0, number * 512, b"", lambda: NOTHING)
        placed.add(entry, inode, number % 3)
        status: Any = SimpleNamespace(st_mode=0o100644, st_ino=inode, st_ctime_ns=inode + 1)
        seen.append(Seen(os.fsencode(root) + path, status, b""))
    with closing(Recording(spool(), digests)) as recording:
        for digest, data in zip(digests, layers, strict=True):
            for _ in recording.layer(digest, Bytes(data)):
                pass
        return b"".join(recording.finish(root, placed, seen))


def reading(data: bytes, ending: ExitStack) -> Record:
    """Read a record that stands behind something else."""
    saved = spool()
    ending.callback(os.close, saved)
    os.write(saved, b"before" + data)
    return ending.enter_context(closing(Record(saved, len(b"before"), spool)))


def members(record: Record, number: int) -> Iterator[tuple[int, Member]]:
    """Return what a record says of a layer's members."""
    return record.skeleton(f"sha256:{number}").members()


@settings(max_examples=100, deadline=None)
@given(LAYERS)
def test_headers_make_what_the_layers_make(layers: list[list[Item]]) -> None:
    tars = [tar(items) for items in layers]
    contents = [Bytes(data) for data in tars]
    with ExitStack() as ending:
        record = reading(recorded(tars), ending)
        skeletons = [record.skeleton(f"sha256:{number}") for number in range(len(tars))]
        try:
            expected = of_tree(Tree(contents), tars)
        except ContentError:
            with pytest.raises(ContentError):
                Tree(skeletons, members=lambda number: members(record, number))
            return
        # With and without what was noted for merging.
        noted = Tree(skeletons, members=lambda number: members(record, number))
        assert of_tree(noted, tars) == of_tree(Tree(skeletons), tars) == expected


def test_every_header_is_read_again() -> None:
    holed = Holed(90_000, [(number * 1000, b"x") for number in range(60)])
    items = [
        directory("d"), file("d/f", b"x" * 70_000), symlink("s" * 200, "t" * 200),
        Item("x", data=b"y", pax={"SCHILY.xattr.user.a": "x" * 5000}), link("h", "d/f"),
    ]  # fmt: skip
    layer = b"".join(sparse(form, holed, form) for form in FORMATS) + tar(items)
    with ExitStack() as ending:
        skeleton = reading(recorded([layer]), ending).skeleton("sha256:0")
        again = Headers(skeleton)
        for offset, member in Headers(Bytes(layer)):
            assert again.at(offset) == member
        assert again.at(offset + 512) is None
        assert skeleton.read(1 << 30, 512) == b""


PATHS = st.lists(st.binary(min_size=1, max_size=300), max_size=40)


@settings(max_examples=100, deadline=None)
@given(PATHS, st.sampled_from(["", "rootfs/"]))
def test_files_are_read_back(paths: list[bytes], root: str) -> None:
    files = [(path, number * 7919) for number, path in enumerate(paths)]
    with ExitStack() as ending:
        record = reading(recorded([], files, root), ending)
        assert record.root == root
        assert list(record.rows()) == [
            Row(path, 0, number * 512, inode, inode + 1, number % 3)
            for number, (path, inode) in enumerate(files)
        ]


@pytest.mark.parametrize("at", range(0, 1200, 40))
def test_what_is_damaged_is_not_read(at: int) -> None:
    data = bytearray(recorded([tar([file("a"), file("b")])], [(b"a", 1), (b"b", 2)]))
    data[at % len(data)] ^= 1
    with ExitStack() as ending, pytest.raises(ValueError, match="damaged"):
        reading(bytes(data), ending)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 35, 36, 37, 100])
def test_what_is_cut_off_is_not_read(size: int) -> None:
    data = recorded([tar([file("a")])], [(b"a", 1)])
    with ExitStack() as ending, pytest.raises(ValueError, match="damaged"):
        reading(data[:size], ending)


def test_other_files_make_no_rows() -> None:
    placed = Placed()
    placed.add(Entry(b"a", 0, 3 << LAYER | 512 | ord("0"), b"", lambda: NOTHING), 5, 0)
    right: Any = SimpleNamespace(st_mode=0o100644, st_ino=5, st_ctime_ns=6)
    wrong: Any = SimpleNamespace(st_mode=0o100644, st_ino=4, st_ctime_ns=6)
    folder: Any = SimpleNamespace(st_mode=0o040755, st_ino=4, st_ctime_ns=6)
    others = [Seen(b"0", folder, b""), Seen(b"1", None, b"")]
    assert list(placed.rows([*others, Seen(b"a", right, b"")], b"")) == [Row(b"a", 3, 512, 5, 6, 0)]
    for seen in ([], [wrong], [right, right]):
        with pytest.raises(ValueError, match="files are"):
            list(placed.rows([Seen(b"a", each, b"") for each in seen], b""))


def test_rows_are_found_in_the_order_of_a_tree() -> None:
    tree = Tree([Bytes(tar([file("a/b"), file("a.c"), file("a-"), file("b/c/d"), file("b.x")]))])
    paths = [entry.path for entry in tree.entries() if entry.kind == ord("0")]
    rows = Rows(Row(path, 0, 0, 0, 0, 0) for path in paths)
    found = [rows.at(path) for path in sorted([*paths, b"a/a", b"a!", b"z"], key=_as_in_a_tree)]
    assert [row.path for row in found if row] == paths
    assert found.count(None) == 3


def _as_in_a_tree(path: bytes) -> list[bytes]:
    return path.split(b"/")


def test_untouched_is_the_same_inode_at_the_same_time() -> None:
    row = Row(b"a", 0, 0, 5, 6, 0)
    facts = {"st_mode": 0o100644, "st_ino": 5, "st_ctime_ns": 6}
    for change, expected in (
        ({}, True),
        ({"st_ino": 6}, False),
        ({"st_ctime_ns": 7}, False),
        ({"st_ctime_ns": 5}, False),
        ({"st_mode": 0o120777}, False),
    ):
        status: Any = SimpleNamespace(**{**facts, **change})
        assert is_untouched(row, status) is expected


def test_alike_are_those_with_all_the_same_attributes() -> None:
    assert is_alike(NOTHING, NOTHING._replace(name=b"x", content=7, sparse_map=[(0, 0)]))
    for change in (
        {"mode": 0o600}, {"uid": 1}, {"gid": 1}, {"mtime": 1}, {"size": 1}, {"kind": 49},
        {"xattrs": {b"user.a": b"b"}},
    ):  # fmt: skip
        assert not is_alike(NOTHING, NOTHING._replace(**change))


@given(st.booleans(), st.booleans(), st.integers(0, 1000))
def test_what_a_file_lacks_is_a_number(owner: bool, setuid: bool, xattrs: int) -> None:
    member = NOTHING._replace(
        mode=0o4755, xattrs={b"user.%d" % number: b"x" for number in range(xattrs)}
    )
    status: Any = SimpleNamespace(
        st_uid=int(owner), st_gid=0, st_mode=0o100755 if setuid else 0o104755
    )
    found = lacking(member, status, lambda key: None)
    assert found == Missing(owners=owner, setuid=setuid, xattrs=xattrs)
    assert Missing.of(found.packed) == found
    assert lacking(member, status, lambda key: b"x").xattrs == 0


def test_a_record_of_another_version_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(record_module, "_FORM", 2)
        data = recorded([])
    with ExitStack() as ending, pytest.raises(ValueError, match="another version"):
        reading(data, ending)
