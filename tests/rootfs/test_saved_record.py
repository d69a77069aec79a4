"""What a save remembers: read back it is the same, and damaged it is nothing."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.errors import ContentError
from dockersave.rootfs import saved_record
from dockersave.rootfs.headers import Headers, Member
from dockersave.rootfs.merge import Tree
from dockersave.rootfs.missing import Missing, lacking
from dockersave.rootfs.nodes import Entry
from dockersave.rootfs.placed import Placed
from dockersave.rootfs.saved_record import Record, Recording, Row
from dockersave.rootfs.unchanged import Rows, is_alike, is_untouched
from dockersave.rootfs.walk import Seen
from tests.rootfs.layers import Bytes, Item, directory, file, link, symlink, tar
from tests.rootfs.layouts import of_tree
from tests.rootfs.sparse import FORMATS, Holed, sparse
from tests.rootfs.staging import spool
from tests.rootfs.states import LATE, NOTHING, state
from tests.rootfs.test_merge import LAYERS


def recorded(
    layers: Sequence[bytes], files: Sequence[tuple[bytes, int]] = (), root: str = ""
) -> bytes:
    """Return the record of layers, and of files of the first one with these inodes."""
    digests = [f"sha256:{number}" for number in range(len(layers))]
    placed, seen = Placed(os.fsencode(root)), []
    for number, (path, inode) in enumerate(files):
        entry = Entry(path, 0, number * 512, b"", lambda: NOTHING)
        placed.add(entry, inode, number % 3)
        status = state(inode, inode + 1)
        seen.append(Seen(os.fsencode(root) + path, status, b""))
    with closing(Recording(spool(), digests)) as recording:
        for digest, data in zip(digests, layers, strict=True):
            for _ in recording.layer(digest, Bytes(data)):
                pass
        return b"".join(recording.finish(root, placed.rows(seen, LATE, LATE)))


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


def changed(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a record with another table, and the sum of that."""
    body = data[:-32]
    size = int.from_bytes(body[-4:], "little")
    table = json.loads(body[-4 - size : -4])
    change(table)
    text = json.dumps(table).encode()
    body = body[: -4 - size] + text + len(text).to_bytes(4, "little")
    return body + hashlib.sha256(body).digest()


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda table: table.clear(),
    lambda table: table.update(form=2),
    lambda table: table.pop("root"),
    lambda table: table.pop("only"),
    lambda table: table.update(sections=3),
    lambda table: table.update(sections=[["", "x"]]),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_what_is_of_another_kind_is_not_read(number: int) -> None:
    data = recorded([tar([file("a")])], [(b"a", 1)])
    with ExitStack() as ending:
        reading(changed(data, lambda table: None), ending)
        with pytest.raises(ValueError, match="of another"):
            reading(changed(data, CHANGES[number]), ending)


@pytest.mark.parametrize(
    "rows", [b"no zlib data", zlib.compress(b"\xff" * 40)], ids=["not packed", "too long a path"]
)
def test_rows_that_cannot_be_are_not_read(rows: bytes) -> None:
    empty = recorded([])
    rest = changed(empty, lambda table: table.update(sections=[["", len(rows)]]))
    first = json.loads(empty[empty.index(b"{") : -36])["sections"][0][1]
    body = rows + rest[first:-32]
    with ExitStack() as ending, pytest.raises(ValueError, match="damaged"):
        list(reading(body + hashlib.sha256(body).digest(), ending).rows())


def test_who_stops_reading_members_can_begin_again() -> None:
    data = tar([file("a"), file("b"), file("c", "x" * 600), file("d")])
    with ExitStack() as ending:
        record = reading(recorded([data]), ending)
        next(iter(members(record, 0)))
        expected = [(offset, member.name) for offset, member in Headers(Bytes(data))]
        assert [(offset, member.name) for offset, member in members(record, 0)] == expected
        found = Headers(record.skeleton("sha256:0"))
        assert [found.at(offset).name for offset, _ in expected] == [b"a", b"b", b"c", b"d"]  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [0, 1, 31, 32, 35, 36, 37, 100])
def test_what_is_cut_off_is_not_read(size: int) -> None:
    data = recorded([tar([file("a")])], [(b"a", 1)])
    with ExitStack() as ending, pytest.raises(ValueError, match="damaged"):
        reading(data[:size], ending)


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
        patch.setattr(saved_record, "_FORM", 2)
        data = recorded([])
    with ExitStack() as ending, pytest.raises(ValueError, match="another version"):
        reading(data, ending)
