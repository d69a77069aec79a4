"""What layers make, compared with what umoci makes of them: everything that can be seen."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dockersave.errors import ContentError
from dockersave.rootfs.merge import Tree
from tests.rootfs.layers import CAPABILITY, Bytes, Item, directory, file, link, symlink
from tests.rootfs.layouts import Facts, Refused, by_umoci, merged_facts, of_directory, of_tree
from tests.rootfs.sparse import FORMATS, Holed, sparse
from tests.rootfs.test_merge import LAYERS, OPAQUE

pytestmark = pytest.mark.engines


CASES: dict[str, list[list[Item]]] = {
    "attributes": [
        [
            directory("d", 0o1777),
            Item("d/setuid", data=b"x", mode=0o6755, owner=(7, 4_000_000), mtime=12.123456789),
            Item("caps", data=b"y", pax={"SCHILY.xattr.security.capability": CAPABILITY}),
            Item("user", data=b"z", pax={"SCHILY.xattr.user.a": "b"}),
            Item("old", mtime=-1000.5),
            Item("pipe", tarfile.FIFOTYPE, mode=0o600),
            Item("null", tarfile.CHRTYPE, mode=0o666, owner=(1, 2), device=(1, 3)),
            Item("disk", tarfile.BLKTYPE, mode=0o640, device=(259, 1000)),
            Item("link", tarfile.SYMTYPE, target="../out", owner=(3, 4), mtime=5),
            Item("locked", tarfile.DIRTYPE, mode=0o000, mtime=17),
            file("locked/inside"),
            file("ünïcode " + "x" * 200, "long"),
        ]
    ],
    "hard links over layers": [
        [file("a", "one"), link("b", "a")],
        [link("c", "b"), file("a", "two")],
        [file(".wh.b")],
    ],
    "whiteouts": [
        [file("a/x"), file("a/y"), file("b/x"), file("c")],
        [file("a/z"), file(f"a/{OPAQUE}"), file(".wh.b"), file(".wh.c"), file("c", "new")],
    ],
    "deep opaque": [
        [file("usr/share/doc/old/a"), file("usr/share/doc/X/old")],
        [directory("usr/share/doc/X"), file("usr/share/doc/X/file"),
         file(f"usr/share/doc/X/{OPAQUE}"), file(f"usr/share/doc/{OPAQUE}")],
    ],
    "each over each": [
        [file("f"), directory("d"), file("d/x"), symlink("s", "d"), symlink("t", "d")],
        [directory("f"), file("d"), directory("s"), file("s/y"), file("t")],
    ],
    "links on the way": [
        [directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib"), symlink("l", "/lib")],
        [file("lib/a"), file("l/b"), link("c", "l/a"), file("lib/.wh.nothing")],
    ],
}  # fmt: skip


def without_time_of_directories(facts: Facts) -> Facts:
    """Leave out the times of directories that a later member changes.

    umoci restores them, but not those of directories that no layer describes, or whose content a
    later layer changes.
    """
    return {
        path: (*each[:2], 0, *each[3:]) if int(str(each[0])) & 0o170000 == 0o040000 else each
        for path, each in facts.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_umoci_makes_the_same(name: str, tmp_path: Path) -> None:
    expected, tars = merged_facts(CASES[name])
    found = of_directory(by_umoci(tmp_path, tars))
    assert without_time_of_directories(found) == without_time_of_directories(expected)


def test_umoci_makes_the_same_of_holes(tmp_path: Path) -> None:
    holed = Holed(50_000, [(512 * number, b"x" * 512) for number in range(0, 80, 3)])
    # It takes none of GNU tar's old format.
    tars = [sparse(form, holed, form) for form in FORMATS if form != "old"]
    found = of_directory(by_umoci(tmp_path, tars))
    assert found == of_tree(Tree([Bytes(data) for data in tars]), tars)
    assert {each[3] for each in found.values()} == {holed.content}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LAYERS)
def test_umoci_makes_the_same_of_any_layers(layers: list[list[Item]]) -> None:
    try:
        expected, tars = merged_facts(layers)
    except ContentError:
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = of_directory(by_umoci(Path(folder), tars))
        except Refused as failure:
            if "link: no such file or directory" in str(failure):
                # It removes what has the name first: there is no link to itself.
                return
            raise
    assert without_time_of_directories(found) == without_time_of_directories(expected)
