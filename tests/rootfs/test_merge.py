"""Layers merged into one file system: case by case, and any layers compared with the model."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dockersave.errors import ContentError, NotFoundError
from dockersave.rootfs import merge, nodes
from dockersave.rootfs.merge import Tree
from tests.rootfs.layers import Bytes, Item, directory, file, link, merged, seen, symlink, tar
from tests.rootfs.model import Model, Refused

OPAQUE = ".wh..wh..opq"


def paths(*layers: list[Item]) -> list[str]:
    """Return the paths of what layers make."""
    return list(seen(merged(*layers), layers))


def test_upper_files_replace_lower_ones() -> None:
    layers = [file("a", "old"), file("b", "kept")], [file("a", "new")]
    assert seen(merged(*layers), layers) == {"a": ("file", "new"), "b": ("file", "kept")}


def test_whiteouts_remove_lower_files_only() -> None:
    assert paths([file("a"), file("b")], [file(".wh.a")]) == ["b"]
    assert paths([file("a")], [file("a", "new"), file(".wh.a")]) == ["a"]
    assert paths([file("a")], [file(".wh.a"), file("a", "new")]) == ["a"]
    assert paths([file("d/x")], [file("d/y"), file(".wh.d")]) == ["d", "d/y"]


@pytest.mark.parametrize("first", [True, False])
def test_an_opaque_directory_hides_lower_layers_wherever_its_marker_stands(first: bool) -> None:
    upper = [directory("d/e"), file("d/e/new"), file("d/f/new")]
    marker = [file(f"d/{OPAQUE}")]
    upper = marker + upper if first else upper + marker
    lower = [file("d/e/old"), file("d/f/old"), file("d/g/old"), file("other")]
    assert paths(lower, upper) == ["d", "d/e", "d/e/new", "d/f", "d/f/new", "other"]


def test_what_a_whiteout_removed_may_come_back() -> None:
    assert paths([file("d/x")], [file(".wh.d")], [file("d/y")]) == ["d", "d/y"]
    assert paths([file("d/x")], [file(".wh.d")], [file("d/x")]) == ["d", "d/x"]
    assert paths([file("d/x")], [file(f"d/{OPAQUE}")], [file("d/x")]) == ["d", "d/x"]


def test_directories_that_are_provided() -> None:
    layers = (
        [directory("gone"), directory("there"), file("there/x"), file("plain")],
        [file(".wh.gone"), symlink("link", "/there")],
    )
    tree = merged(*layers)
    tree.provide(["/gone", "/there", "/link/inner", "/plain", "/plain/a", "/a/b", "/", "/../up"])
    found = seen(tree, layers)
    assert [path for path, (kind, *_) in found.items() if kind == tarfile.DIRTYPE.decode()] == [
        "a", "a/b", "gone", "there", "there/inner", "up",
    ]  # fmt: skip
    assert found.keys() - {"a", "a/b", "gone", "there", "there/inner", "up"} == {
        "link", "plain", "there/x",
    }  # fmt: skip


def test_marks_of_aufs_are_ignored() -> None:
    assert paths([file("a"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs")]) == ["a"]
    assert paths([file("d/x")], [file("d/.wh..wh.orph")]) == ["d", "d/x"]


def test_hard_links_to_what_aufs_put_aside() -> None:
    layer = [file(".wh..wh.plnk/1.2", "x"), link("a", ".wh..wh.plnk/1.2"),
             link("b", "/.wh..wh.plnk/1.2"), directory(".wh..wh.plnk")]  # fmt: skip
    assert seen(merged(layer, []), [layer, []]) == {"a": ("file", "x"), "b": ("link", "a")}
    with pytest.raises(ContentError, match="which is no file"):
        merged(layer, [link("c", ".wh..wh.plnk/1.2")])


def test_a_hard_link_is_the_file_that_had_the_name() -> None:
    lower = [file("a", "old")]
    upper = [link("b", "a"), file("a", "new")]
    assert seen(merged(lower, upper), [lower, upper]) == {
        "a": ("file", "new"),
        "b": ("file", "old"),
    }
    gone = [file(".wh.a")]
    assert seen(merged(lower, [link("b", "a")], gone), [lower, [], gone]) == {"b": ("file", "old")}
    both = [link("b", "a")]
    assert seen(merged(lower, both), [lower, both]) == {"a": ("file", "old"), "b": ("link", "a")}


def test_a_hard_link_to_a_symbolic_link_is_that_link() -> None:
    layers = ([symlink("s", "/etc/passwd"), link("h", "s")],)
    assert seen(merged(*layers), layers) == {"h": ("2", "/etc/passwd"), "s": ("link", "h")}


@pytest.mark.parametrize("target", ["nothing", "/etc/shadow", "d", ""])
def test_a_hard_link_to_no_file_is_refused(target: str) -> None:
    with pytest.raises(ContentError, match="hard link"):
        merged([directory("d"), link("h", target)])


def test_files_and_directories_replace_each_other() -> None:
    assert paths([file("f")], [directory("f"), file("f/g")]) == ["f", "f/g"]
    assert paths([file("d/e/f")], [file("d")]) == ["d"]
    assert paths([file("d/e")], [file("d")], [directory("d")]) == ["d"]


def test_a_directory_keeps_what_is_in_it_when_only_its_attributes_change() -> None:
    lower, upper = [directory("d", 0o755), file("d/x")], [directory("d", 0o700)]
    found = {entry.path: entry.member.mode for entry in merged(lower, upper).entries()}
    assert found == {b"d": 0o700, b"d/x": 0o644}


def test_a_directory_replaces_a_link_to_one() -> None:
    lower = [directory("usr"), directory("usr/lib"), file("usr/lib/a"), symlink("lib", "usr/lib")]
    upper = [directory("lib"), file("lib/b")]
    assert paths(lower, upper) == ["lib", "lib/b", "usr", "usr/lib", "usr/lib/a"]


def test_links_on_the_way_are_followed_inside_the_root() -> None:
    lower = [directory("usr/lib"), symlink("lib", "usr/lib"), symlink("up", "../../../usr")]
    upper = [file("lib/a"), file("up/b"), file("up/lib/c")]
    assert paths(lower, upper) == ["lib", "up", "usr", "usr/b", "usr/lib", "usr/lib/a", "usr/lib/c"]
    absolute = [symlink("abs", "/usr"), file("abs/x")]
    assert paths(absolute) == ["abs", "usr", "usr/x"]


def test_whiteouts_follow_links_too() -> None:
    lower = [file("usr/lib/a"), symlink("lib", "usr/lib")]
    assert paths(lower, [file("lib/.wh.a")]) == ["lib", "usr", "usr/lib"]


def test_links_in_a_circle_are_refused() -> None:
    with pytest.raises(ContentError, match="too many symbolic links"):
        merged([symlink("p", "q"), symlink("q", "p"), file("p/f")])


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "/../x", ".."])
def test_names_that_lead_upwards_are_refused(name: str) -> None:
    with pytest.raises(ContentError, match="unsafe name"):
        merged([file(name)])


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..."])
def test_whiteouts_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(ContentError, match="whiteout of nothing"):
        merged([file("keep"), file("d/keep")], [file(name)])


def test_absolute_names_and_dots_are_from_the_root() -> None:
    assert paths([file("/etc/a"), file("./etc//b"), directory("./")]) == [
        "",
        "etc",
        "etc/a",
        "etc/b",
    ]


def test_files_in_a_file_are_refused() -> None:
    with pytest.raises(ContentError, match="is no directory"):
        merged([file("f")], [file("f/g")])


def test_directories_that_no_layer_describes_are_the_same_everywhere() -> None:
    first, *_ = merged([file("d/x")]).entries()
    member = first.member
    assert (member.mode, member.uid, member.gid, member.mtime) == (0o755, 0, 0, 0)


def test_too_long_names_are_refused() -> None:
    with pytest.raises(ContentError, match="too long a name"):
        merged([file("x" * 256)])
    with pytest.raises(ContentError, match="too long a name"):
        merged([file("x" * 256 + "/b")])
    with pytest.raises(ContentError, match="too long a name"):
        merged([symlink("a", "x" * 256), file("a/b")])
    with pytest.raises(ContentError, match="too long a name"):
        merged([]).provide(["x" * 256])
    with pytest.raises(ContentError, match="unsafe name"):
        merged([file("x/" * 2050)])
    assert paths([file("x" * 255)]) == ["x" * 255]
    assert paths([file("x" * 255 + "/b")]) == ["x" * 255, "x" * 255 + "/b"]


def test_paths_that_links_make_too_long_are_refused() -> None:
    # Each link leads deeper than a name may say.
    deep = "d/" * 400
    items = [file(f"{deep}x"), symlink("s", deep), file(f"s/{deep}y")]
    with pytest.raises(ContentError, match="too long or too deep"):
        list(merged(items).entries())


def test_every_limit_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from dockersave.limits import LIMITS

    items = [file(f"d/{number}") for number in range(20)]
    for name, most, words in (
        ("rootfs_entries", 10, "more than 10 paths"),
        ("rootfs_names", 10, "names have more than 10 bytes"),
        ("rootfs_headers", 10, "more than 10 members"),
        ("rootfs_steps", 10, "too many steps"),
    ):
        limits = replace(LIMITS, **{name: most})
        for module in (merge, nodes):
            monkeypatch.setattr(module, "LIMITS", limits)
        # Directories in turn: the way to the last one is not followed again.
        turns = [file(f"{number % 2}/{number}") for number in range(20)]
        with pytest.raises(ContentError, match=words):
            merged(items, turns)


def test_a_run_can_be_stopped() -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    layer = Bytes(tar([file(str(number)) for number in range(5000)]))
    with pytest.raises(Stopped):
        Tree([layer], stop)


def test_the_way_to_one_member_can_be_stopped() -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1

    deep = "d/" * 2000
    Tree([Bytes(tar(file(f"{deep}{number}/a") for number in range(20)))], check)
    assert checks >= 20 * 2000 // 4096


def test_headers_that_are_read_again_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from dockersave.limits import LIMITS

    big = Item("a", pax={"SCHILY.xattr.user.a": "x" * 512 * 1000})
    layer = Bytes(tar([big, *(link(f"{number}", "a") for number in range(50))]))
    for module in (merge, nodes):
        monkeypatch.setattr(module, "LIMITS", replace(LIMITS, rootfs_steps=40_000))
    tree = Tree([layer])
    with pytest.raises(ContentError, match="too many steps"):
        [entry.member for entry in tree.entries()]


def test_opaque_markers_cost_no_more_than_what_they_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = 0
    whole = Tree._listed

    def counting(tree: Tree, node: int) -> object:
        nonlocal listed
        for inner in whole(tree, node):
            listed += 1
            yield inner

    monkeypatch.setattr(Tree, "_listed", counting)
    files = [file(f"d/{number}") for number in range(500)]
    markers = [file(f"d/{OPAQUE}"), file(".wh.d")] * 200
    merged(files, files + markers)
    assert listed <= 2000


def test_the_content_is_counted_once() -> None:
    items = [file("a", b"x" * 1000), link("b", "a"), file("c")]
    assert merged(items).content == 3 * 512 + 1024 + 512 - 512


def test_a_file_is_found_through_links() -> None:
    layers = [symlink("etc", "usr/etc"), symlink("usr/etc/passwd", "/x"), file("x", "root")]
    tree = merged(layers)
    found = tree.find(b"/etc/passwd")
    assert found is not None
    assert (found.path, found.member.size) == (b"x", 4)
    assert tree.find(b"etc/group") is None
    assert tree.find(b"x/y") is None


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.one_of(PATHS, PATHS.map("/{}".format), PATHS.map("../{}".format), st.just(".."))
ITEMS = st.one_of(
    st.builds(file, PATHS, st.sampled_from(["1", "2", "3"])),
    st.builds(directory, PATHS),
    st.builds(symlink, PATHS, TARGETS),
    st.builds(link, PATHS, PATHS),
    PATHS.map(lambda path: file("/".join([*path.split("/")[:-1], f".wh.{path[-1]}"]))),
    PATHS.map(lambda path: file(f"{path}/{OPAQUE}")),
)
LAYERS = st.lists(st.lists(ITEMS, max_size=8), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(LAYERS)
@example([[file("a/b")], [file("a/c"), file(".wh.a")], [file(f"a/{OPAQUE}"), file("a/b")]])
def test_any_layers_make_what_the_model_makes(layers: list[list[Item]]) -> None:
    model = Model()
    try:
        for items in layers:
            model.apply(items)
    except Refused:
        with pytest.raises(ContentError):
            merged(*layers)
        return
    assert seen(merged(*layers), layers) == model.seen()


def test_the_order_of_paths_does_not_depend_on_the_layers() -> None:
    one = [file("b"), file("a"), directory("c"), file("c/x"), file("c.d")]
    assert paths(one) == paths(one[::-1]) == ["a", "b", "c", "c/x", "c.d"]


def test_a_kind_of_each() -> None:
    items = [
        Item("pipe", tarfile.FIFOTYPE),
        Item("null", tarfile.CHRTYPE),
        Item("disk", tarfile.BLKTYPE),
        Item("near", tarfile.CONTTYPE, data=b"x"),
    ]
    kinds = {entry.path: chr(entry.member.kind) for entry in merged(items).entries()}
    assert kinds == {b"pipe": "6", b"null": "3", b"disk": "4", b"near": "0"}


PARTS = [
    directory("etc"), file("etc/a", "1"), file("etc/b"), directory("usr/lib"), file("usr/lib/x"),
    symlink("lib", "usr/lib"), link("usr/lib/y", "etc/a"), file("usr/z"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["etc/a"], ["etc", "etc/a"]),
        (["/etc/"], ["etc", "etc/a", "etc/b"]),
        (["lib"], ["lib"]),
        (["lib/x"], ["usr", "usr/lib", "usr/lib/x"]),
        (["usr/lib"], ["usr", "usr/lib", "usr/lib/x", "usr/lib/y"]),
        (["etc/b", "usr/z"], ["etc", "etc/b", "usr", "usr/z"]),
        (["."], sorted({"usr", *(item.name for item in PARTS)})),
    ],
)
def test_a_part(wanted: list[str], expected: list[str]) -> None:
    tree = merged(PARTS)
    tree.select(wanted)
    assert [entry.path.decode() for entry in tree.entries()] == expected
    assert tree.content >= sum(entry.member.size for entry in tree.entries())


def test_a_hard_link_to_what_is_left_out_is_a_file() -> None:
    tree = merged(PARTS)
    tree.select(["usr/lib/y"])
    assert seen(tree, [PARTS])["usr/lib/y"] == ("file", "1")


@pytest.mark.parametrize("path", ["nothing", "etc/nothing", "etc/a/b", "../etc/nothing"])
def test_a_part_that_is_not_there(path: str) -> None:
    with pytest.raises(NotFoundError, match="the image has no"):
        merged(PARTS).select([path])
