"""The merged file system as a tar: read back, it is what was merged."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.limits import LIMITS
from dockersave.rootfs.headers import Headers, Member
from dockersave.rootfs.merge import Tree
from dockersave.rootfs.nodes import Entry
from dockersave.rootfs.tarball import document, header, pieces
from tests.rootfs.layers import Bytes, Item, directory, file, link, symlink, tar


def written(tree: Tree, contents: list[bytes], prefix: bytes = b"") -> bytes:
    """Return the tar of a merged file system."""
    return b"".join(pieces(tree, [Bytes(data) for data in contents], prefix))


ITEMS = [
    directory("./", 0o711),
    directory("etc", 0o750),
    file("etc/passwd", "root:x:0:0\n"),
    Item("bin/ping", data=b"\x7fELF", mode=0o4755, owner=(5, 3_000_000), mtime=12.345678901,
         pax={"SCHILY.xattr.security.capability": "\x01\0\x02"}),
    link("bin/ping6", "bin/ping"),
    symlink("lib" * 50, "x" * 200),
    Item("old", mtime=-3.25),
    Item("dev/null", tarfile.CHRTYPE),
    Item("run/pipe", tarfile.FIFOTYPE, mode=0o600),
    file("ü" * 60, "long"),
]  # fmt: skip


def test_read_back_it_is_the_same() -> None:
    data = tar(ITEMS)
    tree = Tree([Bytes(data)])
    again = written(tree, [data])
    other = Tree([Bytes(again)])
    assert written(other, [again]) == again
    one, two = list(tree.entries()), list(other.entries())

    def facts(entry: Entry) -> tuple[object, ...]:
        member = entry.member._replace(name=b"", content=0)
        return entry.path, entry.same, member

    assert list(map(facts, one)) == list(map(facts, two))


def test_many_entries_without_content_come_in_small_pieces() -> None:
    data = tar([symlink(f"{number}", "x") for number in range(5000)])
    layers, checks = [Bytes(data)], 0

    def check() -> None:
        nonlocal checks
        checks += 1

    made = list(pieces(Tree(layers), layers, check=check))
    assert sum(map(len, made)) == 5000 * 512 + 1024
    assert max(map(len, made)) <= LIMITS.read + 1024
    assert checks >= 5000


def test_the_standard_library_reads_it() -> None:
    data = tar(ITEMS)
    with tarfile.open(fileobj=io.BytesIO(written(Tree([Bytes(data)]), [data]))) as archive:
        ping, ping6 = archive.getmember("bin/ping"), archive.getmember("bin/ping6")
        assert (ping.mode, ping.uid, ping.gid) == (0o4755, 5, 3_000_000)
        assert ping6.islnk()
        assert ping6.linkname == "bin/ping"
        assert archive.getmember("lib" * 50).linkname == "x" * 200
        assert archive.getmember("old").mtime == pytest.approx(-3.25)
        content = archive.extractfile("etc/passwd")
        assert content is not None
        assert content.read() == b"root:x:0:0\n"
        assert archive.getmember(".").mode == 0o711


def test_paths_below_a_prefix() -> None:
    data = tar(ITEMS)
    body = written(Tree([Bytes(data)]), [data], b"rootfs/")
    with tarfile.open(fileobj=io.BytesIO(document(b"config.json", b"{}") + body)) as archive:
        assert archive.getnames()[:4] == [
            "config.json", "rootfs", "rootfs/bin", "rootfs/bin/ping",
        ]  # fmt: skip
        assert archive.getmember("rootfs/bin/ping6").linkname == "rootfs/bin/ping"


KEYS = st.binary(min_size=1).filter(lambda key: not {0, ord("=")} & {*key})


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        Member,
        st.just(b""), st.just(ord("0")), st.integers(0, 0o7777),
        st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2),
        st.integers(-(2**33) * 10**9, 2**33 * 10**9), st.just(b""),
        st.integers(0, 2**36), st.just(0), st.just((0, 0)),
        st.dictionaries(KEYS, st.binary()), st.none(),
    ),
    st.lists(st.binary(min_size=1, max_size=255), min_size=1, max_size=9),
)  # fmt: skip
def test_any_member_is_read_back(member: Member, names: list[bytes]) -> None:
    path = b"/".join(names).replace(b"\0", b"0")
    found = Headers(Bytes(header(Entry(path, 0, ord("0"), b"", lambda: member)))).at(0)
    assert found is not None
    assert found._replace(content=0) == member._replace(name=path)
