"""`--owner-map`: other owners than the image's, in a tar, in a directory and in a bundle."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from dockersave.errors import UsageError
from dockersave.model.options import Options
from dockersave.rootfs.merge import Tree
from dockersave.saving.save import save
from tests.images import config_document, image, layer, raw_layer
from tests.images import file as plain_file
from tests.processes import program
from tests.rootfs.layers import CAPABILITY, Bytes, Item, directory, file, link, symlink, tar
from tests.rootfs.layouts import Facts, of_directory, of_tree
from tests.rootfs.test_runtime import programs
from tests.saving.from_simulator import PLAIN, names_in, serving

LAYER = [
    directory("d"),
    Item("d/setuid", data=b"x", mode=0o6755, owner=(7, 65535)),
    Item("caps", data=b"y", pax={"SCHILY.xattr.security.capability": CAPABILITY}),
    Item("user", data=b"z", owner=(1000, 0), pax={"SCHILY.xattr.user.a": "b"}),
    symlink("link", "d"),
    link("same", "user"),
    file("not/described", "x"),
    Item("null", tarfile.CHRTYPE, owner=(0, 5), device=(1, 3)),
]


def outside(owner: int) -> int:
    """Who stands for an owner, with the ranges below."""
    return 500 if owner == 7 else 100_000 + owner


RANGES = ["0:100000:7", "7:500:1", "8:100008:65528"]


def expected() -> Facts:
    """Return what it should be."""
    data = tar(LAYER)
    found: Facts = {}
    for path, facts in of_tree(Tree([Bytes(data)]), [data]).items():
        mode, owner, *rest = facts
        assert isinstance(owner, tuple)
        found[path] = (mode, (outside(owner[0]), outside(owner[1])), *rest)
    return found


def made(path: Path, ranges: Sequence[str] = RANGES, **options: object) -> Path:
    """Save a file system with other owners."""
    usual = {"format": "rootfs", "owner_map": ranges, "output": path, **options}
    with serving(sample=image([raw_layer(tar(LAYER))])) as served:
        save(f"{served.host}/sample", options=Options(**usual), network=PLAIN)  # type: ignore[arg-type]
    return path


def test_a_directory(tmp_path: Path) -> None:
    root = made(tmp_path / "root", tar=False, tree=True)
    wanted, found = expected(), of_directory(root)
    assert found.pop("caps")[1:4] == wanted.pop("caps")[1:4]
    assert found == wanted
    assert (root.stat().st_uid, root.stat().st_gid) == (100_000, 100_000)
    # Revision 3: it counts where root is 100000 (include/uapi/linux/capability.h).
    value = os.getxattr(root / "caps", "security.capability")
    assert value == b"\x01\0\0\x03" + CAPABILITY[4:].encode() + (100_000).to_bytes(4, "little")


def test_a_tar(tmp_path: Path) -> None:
    wanted = expected()
    with tarfile.open(made(tmp_path / "root.tar")) as archive:
        owners = {member.name: (member.uid, member.gid) for member in archive}
        assert len(archive.getmember("caps").pax_headers["SCHILY.xattr.security.capability"]) == 24
    assert owners.pop(".") == (100_000, 100_000)
    assert owners == {path: facts[1] for path, facts in wanted.items()}


def test_an_image_without_layers_has_a_root(tmp_path: Path) -> None:
    more = {"owner_map": RANGES, "format": "rootfs"}
    with serving(sample=image([])) as served:
        name = f"{served.host}/sample"
        save(name, options=Options(**more, output=tmp_path / "a.tar"), network=PLAIN)  # type: ignore[arg-type]
        tree = Options(**more, tar=False, tree=True, output=tmp_path / "root")  # type: ignore[arg-type]
        save(name, options=tree, network=PLAIN)
    assert (tmp_path / "root").stat().st_uid == 100_000
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert [(each.name, each.uid) for each in archive] == [(".", 100_000)]


def test_without_it_the_owners_are_the_images(tmp_path: Path) -> None:
    with tarfile.open(made(tmp_path / "root.tar", [])) as archive:
        assert archive.getmember("user").uid == 1000
        assert "." not in archive.getnames()


def test_another_map_changes_all_that_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "root"
    for ranges, owner in ((["0:0:65536"], 1000), (RANGES, 101_000), (RANGES, 101_000), ([], 1000)):
        made(path, ranges, tar=False, tree=True)
        assert {(path / name).stat().st_uid for name in ("user", "same")} == {owner}
        assert (path / "not/described").stat().st_uid == owner - 1000


@pytest.mark.parametrize("form", [{"tar": False, "tree": True}, {}])
def test_owners_that_nobody_stands_for_are_refused(form: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"d/setuid belongs to 7:65535, which owner_map= does not"):
        made(tmp_path / "root", ["0:100000:65535"], **form)
    with pytest.raises(UsageError, match="/ belongs to 0:0"):
        made(tmp_path / "root", ["1:100000:65535"], **form)
    assert names_in(tmp_path) == []


def test_only_what_is_saved_needs_an_owner(tmp_path: Path) -> None:
    path = made(tmp_path / "root.tar", ["0:100000:1", "1000:200000:1"], only=["user"])
    with tarfile.open(path) as archive:
        assert archive.getmember("user").uid == 200_000


@pytest.mark.parametrize(
    "text",
    ["", "0", "0:1", "0:1:0", "0:1:2:3", "-1:0:1", "a:b:c", "0:1:1 ", "0:0x1:1", "٠:1:1",
     "0:4294967295:1", "4294967295:0:1", "0:1:4294967295", "0:99999999999:1"],
)  # fmt: skip
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not INSIDE:OUTSIDE:COUNT"):
        Options(owner_map=[text])


def test_the_largest_owner_has_one() -> None:
    assert Options(owner_map=["4294967294:4294967294:1"]).owner_map
    assert Options(owner_map=["0:0:4294967295"]).owner_map


@pytest.mark.parametrize("other", ["5:200000:1", "0:9:6", "70000:109999:1", "10:109990:10"])
def test_ranges_with_an_owner_in_common_are_refused(other: str) -> None:
    with pytest.raises(UsageError, match="in common"):
        Options(owner_map=["0:100000:10000", other])
    assert Options(owner_map=["0:100000:5", "5:100005:5"])


def test_it_is_for_file_systems() -> None:
    with pytest.raises(UsageError, match="for file systems, not for images"):
        save("localhost:1/a", options=Options(owner_map=RANGES), network=PLAIN)
    with pytest.raises(TypeError, match="several values"):
        Options(owner_map="0:0:1")


RUN = "set -eu; echo new > /made; read -r a b < /proc/self/uid_map; echo $a $b; test -O /note"


@pytest.mark.engines
def test_runc_starts_a_bundle_in_a_user_namespace() -> None:
    layers = [layer([*programs(), plain_file("note", "x")])]
    config = config_document(layers, cmd=["sh", "-c", RUN])
    with tempfile.TemporaryDirectory(prefix="dockersave-") as folder:
        # Who is root in there has to find the way.
        os.chmod(folder, 0o755)
        box = Path(folder, "box")
        options = Options(
            format="bundle", tar=False, tree=True, output=box, owner_map=["0:100000:65536"]
        )
        with serving(sample=image(layers, config=config)) as served:
            save(f"{served.host}/sample", options=options, network=PLAIN)
        linux = json.loads((box / "config.json").read_text())["linux"]
        whole = [{"containerID": 0, "hostID": 100_000, "size": 65536}]
        assert linux["uidMappings"] == linux["gidMappings"] == whole
        assert {"type": "network"} in linux["namespaces"]
        command = [program("runc"), "--root", f"{folder}/state", "run", "--bundle", str(box)]
        command.append(f"dockersave-owners-{os.getpid()}")
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["0", "100000", "65536"]
        assert (box / "rootfs" / "made").stat().st_uid == 100_000
