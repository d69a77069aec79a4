"""Sparse files: what GNU tar writes is what it extracts, and no map is believed."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockersave.errors import ContentError, OutputError
from dockersave.limits import GIB, LIMITS
from dockersave.model.options import Options
from dockersave.rootfs import sparse as sparse_module
from dockersave.rootfs.content import start_of
from dockersave.rootfs.headers import Headers, Member
from dockersave.rootfs.merge import Tree
from dockersave.saving.save import save
from tests.images import image, raw_layer
from tests.rootfs.layers import Bytes, Item, file, link, padded, tar
from tests.rootfs.layouts import of_directory, of_tree
from tests.rootfs.sparse import (
    FORMATS,
    Holed,
    by_gnu_tar,
    extension,
    holes_in,
    prefixed,
    raw,
    record,
    sparse,
    summed,
)
from tests.rootfs.test_directory import place
from tests.rootfs.test_tarball import written
from tests.saving.from_simulator import PLAIN, refused, serving

BLOCK = 4096
MANY = [(number * 3 * BLOCK, b"%04d" % number * (BLOCK // 4)) for number in range(60)]
FILES = {
    "hole-first": Holed(5 * BLOCK, [(3 * BLOCK, b"x" * 2 * BLOCK)]),
    "hole-last": Holed(1 << 20, [(0, b"y" * BLOCK)]),
    "only-hole": Holed(1 << 20, [(1 << 20, b"")]),
    "odd": Holed(9 * BLOCK + 17, [(BLOCK, b"z" * BLOCK), (9 * BLOCK, b"end" * 5)]),
    "many": Holed(200 * BLOCK, MANY),
    "large": Holed(9 * GIB, [(0, b"a" * BLOCK), (9 * GIB - BLOCK, b"b" * BLOCK)]),
    "n" * 200: Holed(3 * BLOCK, [(0, b"q" * BLOCK)]),
}
"""Whatever needs no extension, one, several, numbers in base 256, or another name."""


def only(layer: bytes) -> Member:
    """Return the only member of a layer."""
    (found,) = Headers(Bytes(layer))
    return found[1]


@pytest.mark.parametrize("form", FORMATS)
def test_what_gnu_tar_writes_is_what_it_extracts(form: str, tmp_path: Path) -> None:
    source, extracted = tmp_path / "source", tmp_path / "extracted"
    for folder in (source, extracted):
        folder.mkdir()
    for name, holed in FILES.items():
        holed.write(source / name)
    (source / "plain").write_bytes(b"p" * 777)
    (source / "hard").hardlink_to(source / "odd")
    layer = by_gnu_tar(source, form, *sorted(each.name for each in source.iterdir()))
    assert form == "old" or b"GNU.sparse" in layer
    assert len(layer) < 2 << 20
    subprocess.run(["tar", "-xp", "-C", extracted], input=layer, check=True)
    place([layer], tmp_path / "root")
    # Too large to be compared byte by byte.
    ours, theirs = tmp_path / "root" / "large", extracted / "large"
    subprocess.run(["cmp", "-n", str(BLOCK + 1), ours, theirs], check=True)
    tails = [f"tail -c {BLOCK + 1} {path} | md5sum" for path in (ours, theirs)]
    assert len({subprocess.check_output(["sh", "-c", tail]) for tail in tails}) == 1
    assert ours.stat().st_size == theirs.stat().st_size == 9 * GIB
    assert all(holes_in(tmp_path / "root" / name) for name in FILES)
    for path in (ours, theirs):
        path.unlink()
    assert of_directory(tmp_path / "root") == of_directory(extracted)


@pytest.mark.parametrize("form", FORMATS)
def test_in_a_tar_holes_are_zeros(form: str, tmp_path: Path) -> None:
    holed = FILES["odd"]
    layer = sparse("odd", holed, form)
    plain = tar([Item("odd", data=holed.content)])
    assert written(Tree([Bytes(layer)]), [layer]) == written(Tree([Bytes(plain)]), [plain])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["only-hole", "odd", "many"])
def test_the_standard_library_reads_the_same_of_what_is_made_by_hand(
    name: str, form: str, tmp_path: Path
) -> None:
    layer = tmp_path / "layer.tar"
    layer.write_bytes(sparse("a", FILES[name], form))
    with tarfile.open(layer) as archive:
        content = archive.extractfile("a")
        assert content is not None
        assert content.read() == FILES[name].content


PIECES = st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=900)), max_size=30)


@st.composite
def holed(draw: st.DrawFn) -> Holed:
    """Draw a file with holes, of any shape."""
    pieces, end = [], 0
    for gap, data in draw(PIECES):
        pieces.append((end + gap, data))
        end += gap + len(data)
    return Holed(end + draw(st.integers(0, 5000)), pieces)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(holed(), holed(), st.sampled_from(sorted(FORMATS)), st.sampled_from(sorted(FORMATS)))
def test_any_holes_over_others(
    tmp_path_factory: pytest.TempPathFactory, one: Holed, two: Holed, lower: str, upper: str
) -> None:
    tail = tar([file("next", "after")])
    tars = [
        sparse("a", one, lower) + tail,
        sparse("a", two, upper) + tar([link("c", "a"), file("next", "2")]),
        sparse("b", one, upper),
    ]
    plain = [
        tar([Item("a", data=one.content), file("next", "after")]),
        tar([Item("a", data=two.content), link("c", "a"), file("next", "2")]),
        tar([Item("b", data=one.content)]),
    ]
    path = tmp_path_factory.mktemp("any") / "root"
    place(tars, path)
    expected = of_tree(Tree([Bytes(each) for each in plain]), plain)
    assert {name: each[3] for name, each in of_directory(path).items()} == {
        name: each[3] for name, each in expected.items()
    }
    assert written(Tree([Bytes(each) for each in tars]), tars) == written(
        Tree([Bytes(each) for each in plain]), plain
    )


def _of(*spans: tuple[int, int], size: int = 5000, data: bytes = b"x" * 20) -> list[bytes]:
    return [raw("a", size, spans, data, form) for form in FORMATS]


def _pax(body: bytes = b"", **records: str) -> bytes:
    named = {key.replace("_", "."): value for key, value in records.items()}
    return tar([Item("a", data=body, pax=prefixed(named))])


def _old_field(layer: bytes, at: int, value: bytes) -> bytes:
    return summed(layer[:at] + value + layer[at + len(value) : 512]) + layer[512:]


OLD = raw("a", 5000, [(0, 20)], b"x" * 20, "old")
ENDLESS = _old_field(OLD, 482, b"\1")[:512] + (bytes(504) + b"\1").ljust(512, b"\0") * 10
MAJOR = {"major": "1", "minor": "0", "realsize": "5000"}


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (_of((0, 15), (10, 5)), "overlaps or goes backward"),
        (_of((100, 10), (0, 10)), "overlaps or goes backward"),
        (_of((4990, 20)), "exceeds the file"),
        (_of((0, 20), (5001, 0)), "exceeds the file"),
        (_of((0, 20), size=(1 << 44) + 1)[1:], "too large"),
        (_of((0, 19)), "does not fit its data"),
        (_of((0, 21)), "does not fit its data"),
        (_of(), "does not fit its data"),
        ([_old_field(OLD, 386, b"\xff" * 12)], "impossible number"),
        ([_old_field(OLD, 398, b"zz")], "impossible number"),
        ([_old_field(OLD, 483, b"\xff" * 12)], "impossible number"),
        ([_old_field(OLD, 386, b"\x80" + b"\xff" * 11)], "exceeds"),
        ([_old_field(OLD, 257, b"ustar\x0000")], "unknown format"),
        ([ENDLESS], "truncated"),
        ([_pax(major="2", minor="0")], "unknown format"),
        ([_pax(major="1")], "unknown format"),
        ([_pax(size="5")], "impossible number"),
        ([_pax(size="5", numblocks="1", map="")], "as long as stated"),
        ([_pax(size="5", numblocks="1", map="0,5,7")], "as long as stated"),
        ([_pax(size="5", numblocks="1", map="0,-5")], "impossible number"),
        ([_pax(size="5", numblocks="1", map="0,")], "impossible number"),
        ([_pax(numblocks="0", map="")], "impossible number"),
        ([_pax(b"", **MAJOR)], "malformed or truncated"),
        ([_pax(b"1\n0\n", **MAJOR)], "malformed or truncated"),
        ([_pax(b"1" * 5000, **MAJOR)], "malformed or truncated"),
        ([_pax(b"x\n".ljust(512, b"\0"), **MAJOR)], "impossible number"),
        ([_pax(b"-1\n".ljust(512, b"\0"), **MAJOR)], "impossible number"),
        ([_pax(b"99999999999\n".ljust(512, b"\0"), **MAJOR)], "too long"),
        ([_pax(b"1\n0\n20\n", **MAJOR)], "does not fit"),
        ([extension(record("GNU.sparse.numbytes", "1")) + tar([file("a")])], "malformed"),
        ([extension(record("GNU.sparse.offset", "1,2")) + tar([file("a")])], "malformed"),
        ([tar([Item("d", tarfile.DIRTYPE, pax=prefixed(MAJOR))])], "not a file"),
        ([tar([Item("h", tarfile.LNKTYPE, target="a", pax=prefixed(MAJOR))])], "not a file"),
    ],
)  # fmt: skip
def test_what_no_map_says_is_refused(layers: Sequence[bytes], words: str) -> None:
    for layer in layers:
        with pytest.raises(ContentError, match=words):
            list(Headers(Bytes(layer)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_maps_never_do_anything_else(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(sorted(FORMATS)))
    good = bytearray(sparse("a", FILES["many"], form) + tar([file("next")]))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, 4 * 512))] = data.draw(st.integers(0, 255))
    try:
        for _, member in Headers(Bytes(bytes(good))):
            assert sum(length for _, length in member.pieces) == member.stored <= len(good)
    except ContentError:
        pass


@pytest.mark.parametrize("form", FORMATS)
def test_maps_have_a_limit(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = raw("a", 5000, [(number, 0) for number in range(200)], b"", form)
    assert len(only(layer).pieces) == 200
    monkeypatch.setattr(sparse_module, "LIMITS", replace(LIMITS, sparse_pieces=199))
    with pytest.raises(ContentError, match=r"too (long|many)"):
        only(layer)


def test_pieces_that_are_read_again_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from dockersave.rootfs import merge

    layer = raw("a", 5000, [(number, 0) for number in range(4000)], b"", "1.0")
    layer += tar(link(f"{number}", "a") for number in range(50))
    monkeypatch.setattr(merge, "LIMITS", replace(LIMITS, rootfs_steps=100_000))
    tree = Tree([Bytes(layer)])
    with pytest.raises(ContentError, match="too many steps"):
        [entry.member for entry in tree.entries()]


def test_holes_are_counted_apart() -> None:
    layer = sparse("a", FILES["odd"], "1.0") + tar([link("b", "a")])
    tree = Tree([Bytes(layer)])
    data = sum(len(each) for _, each in FILES["odd"].pieces)
    assert tree.holes == FILES["odd"].size - data
    assert tree.content == 2 * 512 + len(padded(bytes(data)))
    # What another layer hides does not count.
    assert Tree([Bytes(layer), Bytes(tar([file(".wh.a"), file(".wh.b")]))]).holes == 0


def test_the_start_of_a_file_with_holes() -> None:
    layer = Bytes(sparse("a", Holed(5000, [(3, b"xyz")]), "0.1"))
    member = next(Tree([layer]).entries()).member
    assert start_of(layer, member, 5) == b"\0\0\0xy"
    assert len(start_of(layer, member, 9999)) == 5000


def test_few_bytes_do_not_make_an_endless_tar(tmp_path: Path) -> None:
    huge = Holed(1 << 40, [(0, b"x")])
    with serving(sample=image([raw_layer(sparse("a", huge, "1.0"))])) as registry:
        name = f"{registry.host}/sample"
        for output in (str(tmp_path / "a.tar"), str(tmp_path / "a.tar.zst")):
            failure = refused(name, format="rootfs", output=output)
            assert isinstance(failure, OutputError)
            assert "1.1 TB of zeros" in str(failure)
        assert list(tmp_path.iterdir()) == []
        tree = Options(format="rootfs", tar=False, tree=True, output=tmp_path / "root")
        saved = save(name, options=tree, network=PLAIN)
    assert (tmp_path / "root" / "a").stat().st_size == 1 << 40
    assert holes_in(tmp_path / "root" / "a")
    assert saved.size == 1


def test_a_saved_archive_with_sparse_layers_is_a_source(tmp_path: Path) -> None:
    layers = [raw_layer(sparse(form, FILES["odd"], form)) for form in FORMATS]
    archive, flat = tmp_path / "archive.tar", tmp_path / "flat.tar"
    with serving(sample=image(layers)) as registry:
        save(f"{registry.host}/sample", output=archive, network=PLAIN)
        fetched = len(registry.of("blob"))
        again = Options(format="rootfs", reuse=[archive], output=tmp_path / "again.tar")
        save(f"{registry.host}/sample", options=again, network=PLAIN)
        assert len(registry.of("blob")) == fetched
    save(options=Options(format="rootfs", from_archive=archive, output=flat))
    assert flat.read_bytes() == (tmp_path / "again.tar").read_bytes()
    with tarfile.open(flat) as made:
        for form in FORMATS:
            content = made.extractfile(form)
            assert content is not None
            assert content.read() == FILES["odd"].content
