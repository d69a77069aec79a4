"""`--format rootfs`: what the layers make, as a tar."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import dockersave
from dockersave.errors import (
    CancelledError,
    ContentError,
    NotFoundError,
    OutputError,
    UsageError,
)
from dockersave.model.options import Network, Options
from dockersave.saving.destination import Destination
from dockersave.saving.forecast import forecast
from dockersave.saving.save import save
from tests.engines.trees import built, differences, of_folder, of_tar
from tests.images import GOOD, ODD, file, image, layer, raw_layer, symlink, whiteout
from tests.pace import until
from tests.registry.real import Registry
from tests.rootfs.layers import Item, link, tar
from tests.rootfs.layers import file as item
from tests.rootfs.layouts import of_directory
from tests.saving.from_simulator import PLAIN, names_in, refused, serving

ROOTFS = {"format": "rootfs"}


@pytest.mark.parametrize("sample", ["docker", "oci", "plain", "zstd", "mixed", "many-layers"])
def test_it_is_what_the_image_was_built_from(
    sample: str, plain_registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar"
    saved = save(
        plain_registry.reference(sample), output=path, options=Options(format="rootfs"),
        network=PLAIN,
    )  # fmt: skip
    assert differences(built(GOOD[sample]()), of_tar(path)) == []
    assert saved.size == path.stat().st_size
    assert names_in(tmp_path) == ["a.tar"]


def test_the_same_layers_make_the_same_bytes(tmp_path: Path) -> None:
    with serving(docker=GOOD["docker"](), zstd=GOOD["zstd"](), plain=GOOD["plain"]()) as registry:
        made = set()
        for number, name in enumerate(["docker", "zstd", "plain", "docker"]):
            path = tmp_path / f"{number}.tar"
            options = Options(format="rootfs", output=path)
            save(f"{registry.host}/{name}", options=options, network=PLAIN)
            made.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(made) == 1


def test_every_way_to_write_it_gives_the_same(plain_registry: Registry, tmp_path: Path) -> None:
    reference = plain_registry.reference("docker")
    plain = tmp_path / "a.tar"
    save(reference, output=plain, options=Options(format="rootfs"), network=PLAIN)
    for name in ("a.tar.gz", "a.tar.xz", "a.tar.zst"):
        save(reference, output=tmp_path / name, options=Options(format="rootfs"), network=PLAIN)
        done = subprocess.run(
            [sys.executable, "-c", UNPACK, str(tmp_path / name)], capture_output=True, check=True
        )
        assert done.stdout == plain.read_bytes()
    command = [sys.executable, "-m", "dockersave", "--insecure", "--format", "rootfs"]
    done = subprocess.run(
        [*command, reference, "-o", "-"], capture_output=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == plain.read_bytes()
    assert names_in(tmp_path) == ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.zst"]


UNPACK = """
import sys
from dockersave.compression import Decompressor
unpacking = Decompressor("it")
for piece in unpacking.feed(open(sys.argv[1], "rb").read()):
    sys.stdout.buffer.write(piece)
"""


def test_its_usual_name_is_not_the_archives() -> None:
    reference = dockersave.Reference.parse("debian:12")
    options = Options(format="rootfs", zstd=True)
    assert Destination.of(options, [reference]).archive == "library-debian-12-rootfs.tar.zst"


def test_layers_on_this_machine_are_not_fetched_again(tmp_path: Path) -> None:
    with serving(sample=GOOD["mixed"]()) as registry:
        name, cache = f"{registry.host}/sample", str(tmp_path / "cache")
        archive = tmp_path / "archive.tar"
        save(name, output=archive, network=PLAIN)
        fetched = len(registry.of("blob"))
        first = tmp_path / "1.tar"
        options = Options(format="rootfs", reuse=[archive], output=first)
        saved = save(name, options=options, network=PLAIN)
        assert len(registry.of("blob")) == fetched
        assert saved.fetched == 0
        options = Options(format="rootfs", cache_dir=cache, output=tmp_path / "2.tar")
        save(name, options=options, network=PLAIN)
        fetched = len(registry.of("blob"))
        save(name, options=options, network=PLAIN)
        assert len(registry.of("blob")) == fetched
    assert first.read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_an_earlier_one_stays_if_a_layer_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"earlier")
    with serving(wrong=ODD["wrong-diff-id"](), broken=ODD["not-a-tar"]()) as registry:
        for name, words in (("wrong", "hashes to"), ("broken", "truncated in a header")):
            failure = refused(f"{registry.host}/{name}", output=str(tmp_path / "a.tar"), **ROOTFS)
            assert isinstance(failure, ContentError)
            assert words in str(failure)
            assert (tmp_path / "a.tar").read_bytes() == b"earlier"
            assert names_in(tmp_path) == ["a.tar"]


def test_a_layer_that_ends_too_early(tmp_path: Path) -> None:
    whole = tar([item("a", b"x" * 5000)])
    with serving(sample=image([raw_layer(whole[:2000])])) as registry:
        failure = refused(f"{registry.host}/sample", output=str(tmp_path / "a.tar"), **ROOTFS)
    assert isinstance(failure, ContentError)
    assert "truncated" in str(failure)
    assert names_in(tmp_path) == []


def test_hostile_layers_are_refused_in_one_line(tmp_path: Path) -> None:
    hostile = {
        "upwards": [item("../../evil")],
        "link-out": [link("shadow", "/etc/shadow")],
        "sparse": [Item("a", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})],
        "control": [item("a\n\x1b[31m/../b")],
    }
    documents = {name: image([raw_layer(tar(items))]) for name, items in hostile.items()}
    with serving(**documents) as registry:
        for name in documents:
            failure = refused(f"{registry.host}/{name}", output=str(tmp_path / "a.tar"), **ROOTFS)
            assert isinstance(failure, ContentError)
            assert names_in(tmp_path) == []


def test_foreign_layers_are_needed() -> None:
    with serving(far=ODD["foreign"]()) as registry:
        failure = refused(f"{registry.host}/far", output="-", **ROOTFS)
    assert isinstance(failure, UsageError)
    assert "hosted elsewhere" in str(failure)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"platform": "all"}, "one platform"),
        ({"gunzip": True}, "unpacked anyway"),
        ({"tree": True}, "not as both"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], words: str) -> None:
    failure = refused("localhost:1/a", **ROOTFS, **options)
    assert isinstance(failure, UsageError)
    assert words in str(failure)


def test_several_images_are_refused() -> None:
    options = Options(format="rootfs", output="a.tar")
    with pytest.raises(UsageError, match="one image, not of 2"):
        save("localhost:1/a", "localhost:1/b", options=options)


def test_the_room_for_layers_and_result_is_asked_for(tmp_path: Path) -> None:
    with serving(sample=GOOD["docker"]()) as registry:
        options = Options(format="rootfs", output=tmp_path / "a.tar")
        found = forecast(f"{registry.host}/sample", options=options, network=PLAIN)
    whole = sum(each.size for each in found.layers)
    assert found.size is None
    assert whole < found.needed < 2 * whole
    assert names_in(tmp_path) == []


def test_a_full_disk_is_found_before_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dockersave.archive import disk

    zeros = image([layer([file("zeros", bytes(1 << 20))])])
    monkeypatch.setattr(disk, "free_room", lambda fd: 1 << 19)
    with serving(sample=zeros) as registry:
        failure = refused(f"{registry.host}/sample", output=str(tmp_path / "a.tar"), **ROOTFS)
    assert isinstance(failure, OutputError)
    assert "needs at least 1.05 MB" in str(failure)
    assert names_in(tmp_path) == []


def test_it_can_be_stopped_while_it_is_written(tmp_path: Path) -> None:
    stop = dockersave.Cancellation()

    class Watch(dockersave.Progress):
        def phase(self, name: str) -> None:
            if name == "publishing":
                stop.cancel()

    data = layer([file("large", bytes(1 << 20))])
    before = len(os.listdir("/proc/self/fd"))
    options = Options(format="rootfs", output=tmp_path / "a.tar")
    with serving(sample=image([data])) as registry:
        saving = partial(
            save, f"{registry.host}/sample", options=options, network=Network(insecure=True),
            progress=Watch(), cancellation=stop,
        )  # fmt: skip
        with pytest.raises(CancelledError):
            saving()
    assert names_in(tmp_path) == []
    # Threads of the server may still be closing theirs.
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_what_upper_layers_hide_is_not_written(tmp_path: Path) -> None:
    lower, upper = layer([file("a", "old" * 10_000)]), layer([whiteout("a"), file("b", "new")])
    with serving(sample=image([lower, upper])) as registry:
        path = tmp_path / "a.tar"
        options = Options(format="rootfs", output=path)
        save(f"{registry.host}/sample", options=options, network=PLAIN)
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        assert archive.getnames() == ["b"]
    assert path.stat().st_size == 2048


def as_directory(path: Path) -> Options:
    """Return what saves a directory."""
    return Options(format="rootfs", tar=False, tree=True, output=path)


def test_a_directory_is_what_the_image_was_built_from(
    plain_registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "root"
    notes: list[str] = []
    for sample in ("mixed", "one-layer", "docker"):
        saved = save(
            plain_registry.reference(sample), options=as_directory(path), network=PLAIN,
            notify=notes.append,
        )  # fmt: skip
        assert saved.paths == (str(path),)
        assert differences(built(GOOD[sample]()), of_folder(path)) == []
        assert names_in(tmp_path) == ["root", "root.saved"]
    assert notes == []


def test_directory_and_tar_are_the_same(plain_registry: Registry, tmp_path: Path) -> None:
    reference, path = plain_registry.reference("docker"), tmp_path / "a.tar"
    save(reference, output=path, options=Options(format="rootfs"), network=PLAIN)
    save(reference, options=as_directory(tmp_path / "root"), network=PLAIN)
    (tmp_path / "untarred").mkdir()
    command = ["tar", "-xpf", str(path), "-C", str(tmp_path / "untarred"), "--numeric-owner"]
    subprocess.run(command, check=True)
    assert of_directory(tmp_path / "untarred") == of_directory(tmp_path / "root")


def test_its_usual_name_is_not_a_layouts() -> None:
    reference = dockersave.Reference.parse("debian:12")
    options = Options(format="rootfs", tar=False, tree=True)
    assert Destination.of(options, [reference]).tree == "library-debian-12-rootfs"


def test_a_directory_of_somebody_else_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "mine").write_text("precious")
    with serving(sample=GOOD["docker"]()) as registry:
        options = as_directory(tmp_path / "root")
        with pytest.raises(OutputError, match="not made by a save"):
            save(f"{registry.host}/sample", options=options, network=PLAIN)
        assert not registry.of("blob")
    assert names_in(tmp_path) == ["root"]


def test_a_broken_layer_leaves_the_earlier_directory(tmp_path: Path) -> None:
    path = tmp_path / "root"
    bad = image([layer([file("a", "new")]), raw_layer(tar([item("b", b"x" * 5000)])[:2000])])
    with serving(good=image([layer([file("a", "old")])]), bad=bad) as registry:
        save(f"{registry.host}/good", options=as_directory(path), network=PLAIN)
        with pytest.raises(ContentError, match="truncated"):
            save(f"{registry.host}/bad", options=as_directory(path), network=PLAIN)
    assert (path / "a").read_text() == "old"
    assert names_in(tmp_path) == ["root", "root.saved"]


def test_what_only_root_may_set_is_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    with serving(sample=GOOD["docker"]()) as registry:
        command = [sys.executable, "-c", AS_NOBODY, f"{registry.host}/sample"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=home, env={"PYTHONPATH": os.getcwd()}
        )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"root: [0-9]+ owners and 1 setuid bit could not be set: that takes root, or another file "
        r"system; a tar keeps everything\n",
        done.stdout,
    )
    assert not (home / "root/usr/bin/privileged").stat().st_mode & 0o6000
    assert {each.stat().st_uid for each in (home / "root").iterdir()} == {65534}


AS_NOBODY = """
import os, sys
from tests.saving.test_flatten import PLAIN, as_directory, save
# Nobody may not be able to load modules: this loads them.
save(sys.argv[1], options=as_directory("roots"), network=PLAIN)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
save(sys.argv[1], options=as_directory("root"), network=PLAIN, notify=print)
"""


def test_a_part_of_it(tmp_path: Path) -> None:
    with serving(sample=GOOD["docker"]()) as registry:
        name = f"{registry.host}/sample"
        tree = Options(format="rootfs", only=["srv"], tar=False, tree=True, output=tmp_path / "a")
        save(name, options=tree, network=PLAIN)
        part = Options(format="rootfs", only=["etc/os-release"], output=tmp_path / "a.tar")
        save(name, options=part, network=PLAIN)
        with pytest.raises(NotFoundError, match="the image has no nothing"):
            save(name, options=replace(part, only=("nothing",)), network=PLAIN)
    assert names_in(tmp_path / "a") == ["srv"]
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == ["etc", "etc/os-release"]


def test_a_link_is_not_saved_alone_without_a_word(tmp_path: Path) -> None:
    files = [
        file("usr/lib/os-release", "ID=x"), symlink("etc/os-release", "../usr/lib/os-release"),
        symlink("lib", "usr/lib"), symlink("etc/gone", "/nowhere"), symlink("loop", "loop"),
        symlink("top", "/"),
    ]  # fmt: skip
    told: list[str] = []

    def saved(*only: str) -> list[str]:
        told.clear()
        options = Options(format="rootfs", only=only, output=tmp_path / "a.tar")
        save(f"{registry.host}/sample", options=options, network=PLAIN, notify=told.append)
        with tarfile.open(tmp_path / "a.tar") as archive:
            return archive.getnames()

    with serving(sample=image([layer(files)])) as registry:
        assert saved("etc/os-release") == ["etc", "etc/os-release"]
        assert told == [
            "etc/os-release is a symbolic link to usr/lib/os-release, which is not saved: "
            "only=['usr/lib/os-release'] adds it"
        ]
        saved("/lib/")
        assert [line.partition(":")[0] for line in told] == [
            "/lib/ is a symbolic link to usr/lib, which is not saved"
        ]
        saved("etc/gone", "loop")
        assert told == [
            "etc/gone is a symbolic link to /nowhere, which is not in the image",
            "loop is a symbolic link to loop: the links lead in a circle, or are too many",
        ]
        # Each once, however it is written, and also if only a part of its target is saved.
        saved("lib", "/lib", "lib", "usr/lib/os-release")
        assert told == [
            "lib is a symbolic link to usr/lib, which is not saved: only=['usr/lib'] adds it"
        ]
        saved("top", "etc")
        assert told == ["top is a symbolic link to /, which is not saved: only=['/'] adds it"]
        assert "usr/lib/os-release" in saved("top", "/")
        assert not told
        for only in (["lib", "usr"], ["lib", "usr/lib"], ["usr/lib/os-release"], ["etc"]):
            saved(*only)
            assert not told, only
        # The way to it is followed, and the link on it is not saved.
        assert saved("lib/os-release")[-1] == "usr/lib/os-release"
        assert not told


@pytest.mark.parametrize("form", ["docker", "bundle"])
def test_only_a_file_system_has_parts(form: str) -> None:
    failure = refused("localhost:1/a", format=form, only=["etc"])
    assert isinstance(failure, UsageError)
    assert "only" in str(failure)
