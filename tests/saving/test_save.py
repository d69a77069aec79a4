"""The whole algorithm, on real registries and on ones that answer out of order."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from dockersave.archive.read.verify import check_archive
from dockersave.errors import NotFoundError, OutputError, SaveFailures, UsageError
from dockersave.model.formats import FORMATS
from dockersave.model.options import Options
from dockersave.saving.save import save
from tests.archive.handmade_tars import extract
from tests.images import GOOD, Store, image, random_layer
from tests.registry.real import Registries, Registry
from tests.registry.simulator import Fault, Simulator
from tests.saving.from_simulator import PLAIN, names_in, serving


def digests(folder: Path) -> dict[str, bytes | str]:
    """Return all files and links under a directory."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("gunzip", [False, True], ids=["as-served", "gunzip"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_way_to_write_it_gives_the_same(
    form: str, gunzip: bool, plain_registry: Registry, tmp_path: Path
) -> None:
    reference = plain_registry.reference("mixed")
    options = Options(format=form, gunzip=gunzip, working_dir=str(tmp_path), tarname="a.tar")
    save(reference, options=options, network=PLAIN)
    assert not check_archive(tmp_path / "a.tar").faults
    packed = replace(options, xz=True, tarname="b.tar.xz")
    save(reference, options=packed, network=PLAIN)
    assert not check_archive(tmp_path / "b.tar.xz").faults
    both = replace(options, tarname="c.tar", tree=True, layers_dir="d")
    saved = save(reference, options=both, network=PLAIN)
    assert saved.paths == (str(tmp_path / "c.tar"), str(tmp_path / "d"))
    alone = replace(options, tar=False, tree=True, layers_dir="e", tarname=None)
    assert save(reference, options=alone, network=PLAIN).paths == (str(tmp_path / "e"),)
    done = subprocess.run(
        [
            sys.executable, "-m", "dockersave", "--insecure", reference, "--output", "-",
            "--format", form, *(["--gunzip"] if gunzip else []),
        ],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    archive = (tmp_path / "a.tar").read_bytes()
    assert (tmp_path / "c.tar").read_bytes() == archive
    assert done.stdout == archive
    extract(tmp_path / "b.tar.xz", tmp_path / "x")
    extract(tmp_path / "a.tar", tmp_path / "y")
    assert digests(tmp_path / "x") == digests(tmp_path / "y")
    assert digests(tmp_path / "d") == digests(tmp_path / "y")
    assert digests(tmp_path / "e") == digests(tmp_path / "y")
    assert names_in(tmp_path) == ["a.tar", "b.tar.xz", "c.tar", "d", "e", "x", "y"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("changes", [{}, {"xz": True}, {"gunzip": True}], ids=str)
def test_archive_and_directory_are_fetched_once(
    form: str, changes: dict[str, bool], tmp_path: Path
) -> None:
    with serving(sample=GOOD["docker"]()) as registry:
        options = Options(
            format=form, tree=True, working_dir=str(tmp_path), tarname="a.tar",
            xz=changes.get("xz", False), gunzip=changes.get("gunzip", False),
        )  # fmt: skip
        save(f"{registry.host}/sample", options=options, network=PLAIN)
        layers = {request.path for request in registry.of("blob")}
        assert len(registry.of("blob")) == len(layers) == 4
    assert not check_archive(tmp_path / "a").faults
    assert not check_archive(tmp_path / "a.tar").faults


@pytest.mark.parametrize("form", FORMATS)
def test_what_an_earlier_directory_holds_is_not_fetched_again(form: str, tmp_path: Path) -> None:
    options = Options(format=form, tar=False, tree=True, working_dir=str(tmp_path), layers_dir="d")
    with serving(sample=GOOD["docker"]()) as registry:
        name = f"{registry.host}/sample"
        save(name, options=options, network=PLAIN)
        before = digests(tmp_path / "d")
        fetched = len(registry.of("blob"))
        save(name, options=options, network=PLAIN)
        assert digests(tmp_path / "d") == before
        if form != "legacy":  # whose names do not tell their content
            assert len(registry.of("blob")) == fetched


@pytest.mark.parametrize("kind", ["archive", "directory"])
@pytest.mark.parametrize("gunzip", [False, True], ids=["as-served", "gunzip"])
def test_damage_to_an_earlier_result_is_repaired(
    gunzip: bool, kind: str, plain_registry: Registry, tmp_path: Path
) -> None:
    reference = plain_registry.reference("docker")
    options = Options(
        gunzip=gunzip, working_dir=str(tmp_path), tar=kind == "archive", tree=kind == "directory",
        tarname="a.tar" if kind == "archive" else None,
        layers_dir="a.tar" if kind == "directory" else None,
    )  # fmt: skip
    save(reference, options=options, network=PLAIN)
    path = tmp_path / "a.tar"
    if kind == "archive":
        with tarfile.open(path) as archive:
            largest = max(archive, key=lambda info: info.size)
        damaged, offset = path, largest.offset_data
    else:
        files = [each for each in path.rglob("*") if each.is_file()]
        damaged, offset = max(files, key=lambda each: each.stat().st_size), 0
    with damaged.open("r+b") as target:
        target.seek(offset + 100_000)
        target.write(b"damage")
    assert check_archive(path).faults
    save(reference, options=options, network=PLAIN)
    assert not check_archive(path).faults


@pytest.mark.parametrize("form", ["docker", "legacy"])
@pytest.mark.parametrize(
    "change", ["a byte", "a document", "a link", "one more", "one less", "mark"]
)
def test_a_directory_that_is_not_as_it_was(change: str, form: str, tmp_path: Path) -> None:
    options = Options(tar=False, tree=True, format=form, working_dir=str(tmp_path), layers_dir="d")
    with serving(image=GOOD["docker"]()) as registry:
        save(f"{registry.host}/image", options=options, network=PLAIN)
        tree = tmp_path / "d"
        expected = {path: path.is_file() and path.read_bytes() for path in tree.rglob("*")}
        assert save(f"{registry.host}/image", options=options, network=PLAIN).unchanged
        blobs = sorted(filter(Path.is_file, tree.rglob("*")), key=lambda path: path.stat().st_size)
        links = [path for path in tree.rglob("*") if path.is_symlink()]
        if change == "a byte":
            blobs[-1].write_bytes(b"x" + blobs[-1].read_bytes()[1:])
        if change == "a document":
            body = (tree / "manifest.json").read_bytes()
            (tree / "manifest.json").write_bytes(body.replace(b"latest", b"newest"))
        if change == "a link":
            for link in links:
                link.unlink()
                link.symlink_to("../elsewhere/layer.tar")
        if change == "one more":
            (tree / "blobs/sha256").mkdir(parents=True, exist_ok=True)
            (tree / "blobs/sha256" / ("0" * 64)).write_bytes(b"")
        if change == "one less":
            blobs[-1].unlink()
        if change == "mark":
            # Killed after it was renamed.
            tree.chmod(0o1755)
        done = save(f"{registry.host}/image", options=options, network=PLAIN)
    assert done.unchanged == (change == "mark" or (change == "a link" and not links))
    assert {path: path.is_file() and path.read_bytes() for path in tree.rglob("*")} == expected
    assert not tree.stat().st_mode & 0o1000


@pytest.mark.parametrize("tree", [False, True], ids=["archive", "directory"])
def test_layers_of_an_earlier_image_are_reused(tree: bool, tmp_path: Path) -> None:
    old, new = GOOD["one-layer"](), GOOD["docker"]()
    with serving(old=old, new=new) as registry:
        earlier = Options(working_dir=str(tmp_path), tree=tree, tar=not tree)
        (path,) = save(f"{registry.host}/old", options=earlier, network=PLAIN).paths
        fetched = len(registry.of("blob"))
        options = Options(reuse=(path,), output=str(tmp_path / "new.tar"))
        saved = save(f"{registry.host}/new", options=options, network=PLAIN)
        assert saved.reused == old.layers[0].size
        assert len(registry.of("blob")) == fetched + 3
    assert not check_archive(tmp_path / "new.tar").faults


# Several images


def test_several_images_share_their_layers(plain_registry: Registry, tmp_path: Path) -> None:
    names = [plain_registry.reference(name) for name in ("docker", "oci", "one-layer")]
    path = tmp_path / "bundle.tar"
    saved = save(*names, names[0], output=path, network=PLAIN)
    assert [str(each.reference) for each in saved.images] == names
    report = check_archive(path)
    assert not report.faults
    assert [name for each in report.images for name in each.names] == names
    alone = sum(save(name, output=tmp_path / "x.tar", network=PLAIN).size for name in names)
    assert path.stat().st_size < alone * 0.6


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_bytes_whatever_the_order_of_arrival(form: str, tmp_path: Path) -> None:
    images = {
        f"image-{n}": image([random_layer(200_000, n * 10 + k) for k in range(3)]) for n in range(4)
    }
    written = set()
    for slow, jobs in enumerate((1, 2, 8, 8)):
        with Simulator(Store.of(images)) as registry:
            for kind in ("manifest", "config", "blob"):
                registry.faults.add(Fault.delay(0.05, on=kind, times=slow))
            network = replace(PLAIN, jobs=jobs)
            path = tmp_path / f"{slow}.tar"
            references = [f"{registry.host}/{name}" for name in images]
            save(*references, output=path, options=Options(format=form), network=network)
            host = registry.host.encode()
            written.add(path.read_bytes().replace(host, b"#" * len(host)))
    assert len(written) == 1


def test_all_that_fails_is_listed(plain_registry: Registry, tmp_path: Path) -> None:
    good, missing = plain_registry.reference("docker"), plain_registry.reference("nothing")
    helm, tag = plain_registry.reference("helm"), plain_registry.reference("docker", "no-tag")
    path = tmp_path / "a.tar"
    with pytest.raises(SaveFailures) as caught:
        save(good, missing, helm, tag, output=path, network=PLAIN)
    text = str(caught.value)
    assert text.startswith("3 images failed: ")
    assert [str(failure.subject) for failure in caught.value.failures] == [missing, helm, tag]
    assert all(text.count(name) >= 1 for name in (missing, helm, tag))
    assert good + ":" not in text
    assert "helm" in text
    assert caught.value.exit_code == NotFoundError.exit_code
    with pytest.raises(NotFoundError) as alone:
        save(good, missing, output=path, network=PLAIN)
    assert str(alone.value).startswith(missing)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("whose", "options"),
    [
        ("transfer.unpacking.UnpackedLayer.move", Options(gunzip=True)),
        ("saving.layer_files.LayerFile.read", Options(format="rootfs")),
    ],
)
def test_a_disk_that_cannot_be_read(
    plain_registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
    options: Options,
) -> None:
    """Not even where the file has no name."""
    path = tmp_path / "a.tar"

    def broken(*arguments: object, **more: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(f"dockersave.{whose}", broken)
    with pytest.raises(OutputError) as caught:
        save(plain_registry.reference("docker"), output=path, options=options, network=PLAIN)
    assert "Input/output error" in caught.value.message
    assert str(path) in caught.value.message
    assert "the disk reports an error" in caught.value.hint
    assert not path.exists()


def test_one_tag_for_two_digests_is_refused(registries: Registries, tmp_path: Path) -> None:
    registry = registries.get()
    registries.push({"moved": GOOD["zstd"]()}, "before")
    registries.push({"moved": GOOD["docker"]()})
    tagged = registry.reference("moved")
    pinned = f"{tagged}@{GOOD['zstd']().digest}"
    with pytest.raises(UsageError, match="two images"):
        save(tagged, pinned, output=tmp_path / "a.tar", network=PLAIN)
    assert not list(tmp_path.iterdir())
    same = f"{tagged}@{GOOD['docker']().digest}"
    save(tagged, same, output=tmp_path / "a.tar", network=PLAIN)
    assert not check_archive(tmp_path / "a.tar").faults
