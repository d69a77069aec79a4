"""A merged file system as a directory: as root, as nobody, and where it goes wrong."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dockersave.errors import ContentError, OutputError
from dockersave.rootfs.directory import Placing
from dockersave.rootfs.merge import Tree
from dockersave.rootfs.missing import Missing
from tests.rootfs.layers import Bytes, Item, directory, file, link, symlink, tar
from tests.rootfs.layouts import merged_facts, of_directory, of_tree
from tests.rootfs.test_merge import LAYERS
from tests.rootfs.test_umoci import CASES


def place(tars: list[bytes], path: Path) -> Missing:
    """Write what layers make to a new directory."""
    path.mkdir(mode=0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        layers = [Bytes(data) for data in tars]
        placing = Placing(fd)
        placing.write(Tree(layers), layers)
        return placing.missing
    finally:
        os.close(fd)


@pytest.fixture
def below(tmp_path: Path) -> Iterator[Path]:
    """Return a directory, and check that nothing beside it was touched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    before = of_directory(outside)
    yield tmp_path / "root"
    assert of_directory(outside) == before
    assert sorted(path.name for path in tmp_path.iterdir()) in (["outside", "root"], ["outside"])


@pytest.mark.parametrize("name", CASES)
def test_as_root_everything_is_there(name: str, below: Path) -> None:
    expected, tars = merged_facts(CASES[name])
    assert place(tars, below) == Missing()
    assert of_directory(below) == expected


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LAYERS)
def test_any_layers_are_written_as_they_were_merged(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[Item]]
) -> None:
    try:
        expected, tars = merged_facts(layers)
    except ContentError:
        return
    path = tmp_path_factory.mktemp("any") / "root"
    place(tars, path)
    owner = (os.geteuid(), os.getegid())
    expected = {path: (each[0], owner, *each[2:]) for path, each in expected.items()}
    assert of_directory(path) == expected


def test_links_of_the_image_lead_nowhere_outside(below: Path) -> None:
    outside = str(below.with_name("outside"))
    layers = [
        [symlink("abs", outside), symlink("rel", "../outside"), symlink("up", "../../../..")],
        [file("abs/evil", "bad"), file("rel/evil", "bad"), file(f"up{outside}/evil", "bad")],
    ]
    expected, tars = merged_facts(layers)
    place(tars, below)
    assert of_directory(below).keys() == expected.keys()


def test_the_roots_own_attributes(below: Path) -> None:
    place([tar([Item("./", tarfile.DIRTYPE, mode=0o711, mtime=77)])], below)
    status = below.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o711, 77)
    below.rmdir()
    place([tar([])], below)
    assert stat.S_IMODE(below.stat().st_mode) == 0o755


def test_two_names_that_the_file_system_takes_for_one(
    monkeypatch: pytest.MonkeyPatch, below: Path
) -> None:
    whole = os.open

    def folding(path: object, *arguments: int, **more: int) -> int:
        path = path.lower() if isinstance(path, bytes) else path
        return whole(path, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", folding)
    with pytest.raises(OutputError, match="takes two names for one"):
        place([tar([file("README"), file("readme")])], below)


def test_what_ends_too_early_is_refused(below: Path) -> None:
    with pytest.raises(ContentError, match="truncated"):
        place([tar([file("a", b"x" * 5000)])[:2000]], below)


@pytest.mark.parametrize("target", ["", "x" * 5000])
def test_links_that_no_file_system_has_are_refused(target: str, below: Path) -> None:
    with pytest.raises(ContentError, match="link to nothing"):
        place([tar([symlink("s", target)])], below)


@pytest.mark.parametrize("pax", [{"path": "a\0b"}, {"SCHILY.xattr.user.\0": "x"}])
def test_names_with_nul_are_refused(pax: dict[str, str], below: Path) -> None:
    with pytest.raises(ContentError, match="name that no file can have"):
        place([tar([Item("a", pax=pax)])], below)


def test_the_longest_paths_and_targets_that_linux_has(below: Path) -> None:
    longest = "/".join(["d" * 250] * 17)[:4095]
    _, tars = merged_facts([[file(longest), link("z", longest), symlink("s", "x" * 4095)]])
    assert place(tars, below) == Missing()
    assert (below / "z").stat().st_nlink == 2
    assert len(os.readlink(below / "s")) == 4095
    with pytest.raises(ContentError, match="too long a path"):
        merged_facts([[symlink("s", "x" * 4096)]])
    with pytest.raises(ContentError, match="too long or too deep"):
        merged_facts([[file(f"{longest}d")]])


def test_without_proc_links_have_no_attributes(
    monkeypatch: pytest.MonkeyPatch, below: Path
) -> None:
    whole = os.setxattr

    def without_proc(path: object, *arguments: object, **more: object) -> None:
        if not isinstance(path, int):
            raise FileNotFoundError(2, "No such file or directory")
        whole(path, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "setxattr", without_proc)
    xattr = {"SCHILY.xattr.trusted.a": "b"}
    layer = [Item("s", tarfile.SYMTYPE, target="t", pax=xattr), Item("f", pax=xattr)]
    assert place([tar(layer)], below) == Missing(xattrs=1)
    assert os.getxattr(below / "f", "trusted.a") == b"b"


AS_NOBODY = """
import json, os, sys
from pathlib import Path
from tests.rootfs.layers import tar
from tests.rootfs.test_directory import NOBODYS, place
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
missing = place([tar(NOBODYS)], Path(sys.argv[1]))
print(json.dumps([missing.owners, missing.setuid, missing.devices, missing.xattrs]))
"""

NOBODYS = [
    Item("setuid", data=b"x", mode=0o6755, owner=(0, 0)),
    Item("mine", data=b"x", mode=0o4755, owner=(65534, 65534)),
    Item("null", tarfile.CHRTYPE, device=(1, 3)),
    link("same-null", "null"),
    Item("pipe", tarfile.FIFOTYPE),
    Item("caps", data=b"y", pax={"SCHILY.xattr.security.capability": "x" * 20}),
    Item("user", data=b"z", pax={"SCHILY.xattr.user.a": "b"}),
    directory("locked", 0o000),
    file("locked/inside", "secret"),
    link("z", "locked/inside"),
    directory("read-only", 0o555),
    file("read-only/inside", "x", 0o444),
]


def test_as_nobody_the_rest_is_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    # From inside: nobody need not be able to get there.
    command = [sys.executable, "-c", AS_NOBODY, "root"]
    source = {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, env=source)
    assert done.returncode == 0, done.stderr
    owners, setuid, devices, xattrs = json.loads(done.stdout)
    assert (setuid, devices, xattrs) == (1, 1, 1)
    assert owners == len(NOBODYS) - 4  # mine, the device, and the links
    found = of_directory(home / "root")
    expected = of_tree(Tree([Bytes(tar(NOBODYS))]), [tar(NOBODYS)])
    assert found.keys() == expected.keys() - {"null", "same-null"}
    for path, each in found.items():
        mode, owner, *rest = each
        assert owner == (65534, 65534)
        if path == "setuid":
            assert mode == stat.S_IFREG | 0o755
        elif path == "caps":
            assert not rest[2]
        else:
            assert (mode, *rest) == (expected[path][0], *expected[path][2:])
