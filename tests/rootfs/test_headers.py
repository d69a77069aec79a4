"""Headers of layers: whatever programs write, and what nobody should."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.errors import ContentError
from dockersave.rootfs.headers import Headers, Member
from tests.rootfs.layers import Bytes, Item, directory, file, link, symlink, tar

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def members(data: bytes, window: int = 4096) -> list[Member]:
    """Return all members of a layer."""
    return [member for _, member in Headers(Bytes(data), window)]


def only(data: bytes) -> Member:
    """Return the only member of a layer."""
    (member,) = members(data)
    return member


def block(data: bytes, **changes: bytes) -> bytes:
    """Change fields of the first header, named `at_OFFSET`, and its checksum."""
    head = bytearray(data[:512])
    for name, value in changes.items():
        start = int(name.removeprefix("at_"))
        head[start : start + len(value)] = value
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data[512:]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", [512, 1024, 1 << 16])
def test_every_format_says_the_same(form: int, window: int) -> None:
    items = [
        directory("d", 0o1777),
        file("d/a", b"x" * 1500, 0o4755),
        Item("d/b", owner=(1000, 100), data=b"y"),
        symlink("s", "d/a"),
        link("h", "d/a"),
    ]
    found = members(tar(items, form), window)
    assert [(each.name.rstrip(b"/"), chr(each.kind), each.mode) for each in found] == [
        (b"d", "5", 0o1777), (b"d/a", "0", 0o4755), (b"d/b", "0", 0o644),
        (b"s", "2", 0o777), (b"h", "1", 0o644),
    ]  # fmt: skip
    assert (found[2].uid, found[2].gid, found[2].mtime) == (1000, 100, 1_600_000_000 * 10**9)
    assert [each.target for each in found] == [b"", b"", b"", b"d/a", b"d/a"]


@pytest.mark.parametrize("form", FORMS[1:])
def test_long_names_and_targets(form: int) -> None:
    name, target = "d/" * 60 + "n", "t/" * 60 + "ü"
    member = only(tar([symlink(name, target)], form))
    assert (member.name.decode(), member.target.decode()) == (name, target)


def test_numbers_that_octal_digits_cannot_hold() -> None:
    member = only(tar([Item("a", owner=(3_000_000, 4_000_000_000))], tarfile.GNU_FORMAT))
    assert (member.uid, member.gid) == (3_000_000, 4_000_000_000)
    member = only(tar([Item("a", owner=(3_000_000, 4_000_000_000), mtime=-1.5)]))
    assert (member.uid, member.gid, member.mtime) == (3_000_000, 4_000_000_000, -1_500_000_000)
    assert only(tar([Item("a", mtime=-7)], tarfile.GNU_FORMAT)).mtime == -7 * 10**9


def test_times_to_the_nanosecond() -> None:
    member = only(tar([Item("a", pax={"mtime": "1234.123456789"})]))
    assert member.mtime == 1234_123456789


def test_extended_attributes_are_bytes() -> None:
    item = Item(
        "a", pax={"SCHILY.xattr.user.x": "a=b\n\0ü", "SCHILY.xattr.security.capability": "1"}
    )
    assert only(tar([item])).xattrs == {
        b"user.x": "a=b\n\0ü".encode(), b"security.capability": b"1",
    }  # fmt: skip


def test_global_headers_are_ignored() -> None:
    made = io.BytesIO()
    with tarfile.open(
        fileobj=made, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "x", "uid": "7"}
    ) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    member = only(made.getvalue())
    assert (member.name, member.uid) == (b"a", 0)


def test_devices() -> None:
    assert only(tar([Item("null", tarfile.CHRTYPE, device=(1, 3))])).device == (1, 3)


def test_a_directory_of_old_programs() -> None:
    assert chr(only(block(tar([directory("d/")]), at_156=b"\0", at_0=b"d/\0")).kind) == "5"
    named = tar([Item("x", pax={"path": "d/"})])
    assert chr(only(named[:1024] + block(named[1024:], at_156=b"\0")).kind) == "5"


def test_links_have_no_content_whatever_they_state() -> None:
    data = block(tar([symlink("s", "t")]), at_124=b"00000001000\0")
    assert members(data + tar([file("next")]))[0].size == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no tar at all".ljust(512), "not a tar archive"),
        (tar([file("a")])[:300], "truncated"),
        (block(tar([file("a")]), at_124=b"\xff" * 12), "impossible size"),
        (block(tar([file("a")]), at_124=b"\x80\xff" + b"\xff" * 10), "impossible size"),
        (block(tar([file("a")]), at_124=b"12x\0"), "impossible size"),
        (block(tar([file("a")]), at_108=b"zz\0"), "impossible owner"),
        (block(tar([file("a")]), at_100=b"9\0"), "mode"),
        (block(tar([file("a")]), at_136=b"\x80" + b"\xff" * 11), "impossible time"),
        (block(tar([file("a")]), at_136=b"x\0"), "impossible time"),
        (block(tar([file("a")]), at_156=b"V"), "unknown kind"),
        (block(tar([Item("a", tarfile.CHRTYPE)]), at_329=b"0010000\0"), "device numbers"),
        (tar([Item("a", pax={"size": "x"})]), "impossible size"),
        (tar([Item("a", pax={"size": "-5"})]), "impossible size"),
        (tar([Item("a", pax={"size": "9" * 25})]), "impossible size"),
        (tar([Item("a", pax={"uid": "4294967295"})]), "impossible owner"),
        (tar([Item("a", pax={"mtime": "soon"})]), "time"),
        (tar([Item("a", pax={"mtime": "1e300"})]), "time"),
        (tar([Item("a", pax={"mtime": "99999999999"})]), "impossible time"),
        (tar([Item("a", pax={"x": "y"})])[:1024], "describes nothing"),
        (tar([Item("a", pax={"x": "y"})])[:600], "truncated"),
        (block(tar([Item("a", pax={"x": "y"})]), at_124=b"\x80" + b"\0" * 7 + b"\xff" * 4), "long"),
        (tar([file("a", "x")])[:1024] + bytes(512) + b"more".ljust(512), "no tar header"),
    ],
)  # fmt: skip
def test_what_no_layer_has_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ContentError, match=words):
        members(data)


def test_extensions_are_limited_together() -> None:
    def extended(*bodies: bytes, kind: str = "x") -> bytes:
        heads = (block(tar([file("x")])[:512], at_156=kind.encode(), at_124=b"%011o\0" % len(body))
                 + body.ljust(-len(body) % 512 + len(body), b"\0") for body in bodies)  # fmt: skip
        return b"".join(heads) + tar([file("a")])

    big = b"600013 a=" + b"x" * 600_003 + b"\n"
    assert only(extended(big)).name == b"a"
    for kind in "xg":
        with pytest.raises(ContentError, match="too long an extension"):
            members(extended(big, big, kind=kind))
    with pytest.raises(ContentError, match="too many records"):
        members(extended(b"6 a=b\n" * 600, b"6 a=b\n" * 600))
    with pytest.raises(ContentError, match="truncated"):
        members(extended(big)[:512])


def test_no_more_than_the_window_is_kept() -> None:
    data = tar([Item("a", pax={"SCHILY.xattr.user.a": "x" * 500_000})])
    headers = Headers(Bytes(data), 4096)
    found = headers.at(0)
    assert found is not None
    assert len(found.xattrs[b"user.a"]) == 500_000
    assert len(headers._bytes) <= 4096


def test_empty_records_say_what_the_header_says() -> None:
    empty = {"path": "", "linkpath": "", "uid": "", "size": "", "mtime": ""}
    found = only(tar([Item("s", tarfile.SYMTYPE, target="t", owner=(7, 8), pax=empty)]))
    assert (found.name, found.target, found.uid) == (b"s", b"t", 7)


def test_a_layer_may_end_without_its_end() -> None:
    data = tar([file("a", "x")])
    assert only(data[:1024]).name == b"a"
    assert only(data[:1536]).name == b"a"
    assert members(b"") == []


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_layers_never_do_anything_else(data: st.DataObject) -> None:
    items = [directory("d"), Item("d/a", data=b"x" * 600, pax={"k": "v"}), symlink("s" * 120, "d")]
    good = bytearray(tar(items, data.draw(st.sampled_from(FORMS[1:]))))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        for member in members(bytes(good)):
            assert member.end > member.content - 512
    except ContentError:
        pass
