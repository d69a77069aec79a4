"""`--from ARCHIVE`: a file system of an image that was saved before, without a registry."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dockersave.archive.read.listing import list_archive
from dockersave.archive.read.verify import check_archive
from dockersave.errors import ContentError, DockersaveError, NotFoundError, UsageError
from dockersave.model.options import Network, Options
from dockersave.saving.save import save
from tests.engines.trees import built, differences, of_tar
from tests.images import GOOD, config_document, file, layer, read, sample_index
from tests.processes import program
from tests.saving.from_simulator import PLAIN, names_in, serving

NOWHERE = Network(retries=0, timeout=0.001)
"""What would fail at once, if anything were asked for."""


def flattened(archive: Path, *images: str, **options: object) -> Path:
    """Make a tar of an image in an archive."""
    path = archive.with_name("made.tar")
    made = Options(format="rootfs", from_archive=archive, output=path, **options)  # type: ignore[arg-type]
    saved = save(*images, options=made, network=NOWHERE)
    assert saved.fetched == 0
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Save archives of all kinds."""
    folder = tmp_path_factory.mktemp("archives")
    archives = {}
    with serving(sample=GOOD["mixed"](), other=GOOD["one-layer"](), multi=sample_index()) as served:
        one, two, multi = (f"{served.host}/{name}" for name in ("sample", "other", "multi"))
        for form in ("docker", "oci", "legacy"):
            for gunzip in (False, True):
                path = archives[f"{form}{'-plain' * gunzip}"] = folder / f"{form}-{gunzip}.tar"
                options = Options(format=form, gunzip=gunzip, output=path)
                save(one, options=options, network=PLAIN)
        path = archives["directory"] = folder / "directory"
        save(one, options=Options(format="oci", tar=False, tree=True, output=path), network=PLAIN)
        path = archives["two"] = folder / "two.tar"
        save(one, two, output=path, network=PLAIN)
        path = archives["multi"] = folder / "multi.tar"
        save(multi, options=Options(platform="all", output=path), network=PLAIN)
        path = archives["compressed"] = folder / "compressed.tar.gz"
        save(one, output=path, network=PLAIN)
    return archives


@pytest.mark.parametrize(
    "kind",
    ["docker", "docker-plain", "oci", "oci-plain", "legacy", "legacy-plain", "directory"],
)
def test_it_is_what_the_image_was_built_from(kind: str, saved: dict[str, Path]) -> None:
    assert differences(built(GOOD["mixed"]()), of_tar(flattened(saved[kind]))) == []


def test_it_is_the_same_as_from_the_registry(saved: dict[str, Path], tmp_path: Path) -> None:
    with serving(sample=GOOD["mixed"]()) as served:
        options = Options(format="rootfs", output=tmp_path / "a.tar")
        save(f"{served.host}/sample", options=options, network=PLAIN)
    assert flattened(saved["docker"]).read_bytes() == (tmp_path / "a.tar").read_bytes()


def test_one_of_several_is_named(saved: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="several images") as caught:
        flattened(saved["two"])
    name = next(word for word in str(caught.value).replace(",", " ").split() if "/other" in word)
    assert differences(built(GOOD["one-layer"]()), of_tar(flattened(saved["two"], name))) == []
    digest = GOOD["one-layer"]().digest
    made = flattened(saved["two"], f"whatever@{digest}")
    assert differences(built(GOOD["one-layer"]()), of_tar(made)) == []
    with pytest.raises(NotFoundError, match="does not hold debian:latest"):
        flattened(saved["two"], "debian")


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_one_of_several_platforms_is_chosen(platform: str, saved: dict[str, Path]) -> None:
    with tarfile.open(flattened(saved["multi"], platform=platform)) as archive:
        content = archive.extractfile("etc/platform")
        assert content is not None
        assert content.read().decode().strip() == platform
    with pytest.raises(NotFoundError, match="windows"):
        flattened(saved["multi"], platform="windows/amd64")


def test_the_usual_names_are_the_images(saved: dict[str, Path], tmp_path: Path) -> None:
    options = Options(format="rootfs", from_archive=saved["docker"], working_dir=tmp_path)
    save(options=options, network=NOWHERE)
    assert names_in(tmp_path) == ["sample-latest-rootfs.tar"]


@pytest.mark.parametrize("index", [None, {"manifests": None}, {"manifests": []}], ids=str)
def test_archives_without_names_are_named_after_the_file(index: object, tmp_path: Path) -> None:
    """Docker 25 writes an index with `"manifests": null` for `docker save` of an image ID."""
    layers = [layer([file("a", "1")], "none")]
    body = json.dumps(config_document(layers)).encode()
    entry = {"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}
    with tarfile.open(tmp_path / "My Backup.tar", "w") as archive:
        for name, data in (
            ("layer.tar", read(layers[0].data)), ("config.json", body),
            ("manifest.json", json.dumps([entry]).encode()),
            *([("index.json", json.dumps(index).encode())] if index else []),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    where = tmp_path / "out"
    where.mkdir()
    path = tmp_path / "My Backup.tar"
    options = Options(format="rootfs", from_archive=path, working_dir=where)
    save(options=options, network=NOWHERE)
    ((name,),) = [names_in(where)]
    assert name.startswith("library-my-backup-sha256-")


@pytest.mark.parametrize("kind", ["docker", "oci", "legacy", "nameless"])
def test_an_image_has_the_digest_that_others_tell(
    kind: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    """Without a manifest one is made, whose digest nobody else knows: then it is the config's."""
    path = saved["legacy" if kind == "nameless" else kind]
    if kind == "nameless":
        (name,) = check_archive(path).images[0].names
        unnamed = path.read_bytes().replace(f'["{name}"]'.encode(), b"[]".ljust(len(name) + 4))
        path = tmp_path / "nameless.tar"
        path.write_bytes(unnamed)
    (image,) = list_archive(path).images
    assert check_archive(path).images[0].digest == image.digest
    for reference in ((), (f"any/name@{image.digest}",)):
        options = Options(format="rootfs", from_archive=path, output=tmp_path / "root.tar")
        (found,) = save(*reference, options=options, network=NOWHERE).images
        assert found.digest == image.digest
        assert found.reference.digest in (None, image.digest)


def test_a_name_that_looks_like_an_address(saved: dict[str, Path], tmp_path: Path) -> None:
    """`docker build -t my.app:12` makes one; no registry is asked for it."""
    (name,) = check_archive(saved["legacy"]).images[0].names
    renamed = b'["my.app:12"]'.ljust(len(name) + 4)
    path = tmp_path / "renamed.tar"
    path.write_bytes(saved["legacy"].read_bytes().replace(f'["{name}"]'.encode(), renamed))
    options = Options(format="rootfs", from_archive=path, output=tmp_path / "root.tar")
    assert str(save("my.app:12", options=options, network=NOWHERE).images[0].reference) == (
        "my.app:12"
    )
    command = [sys.executable, "-m", "dockersave", "--format", "rootfs", "--from", str(path)]
    subprocess.run([*command, "-o", str(tmp_path / "again.tar"), "my.app:12"], check=True)
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "root.tar").read_bytes()


def test_by_the_command_line(saved: dict[str, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dockersave", "--format", "rootfs"]
    done = subprocess.run(
        [*command, "--from", str(saved["docker"]), "-o", "-"], capture_output=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == flattened(saved["docker"]).read_bytes()


def test_what_cannot_be_used_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive".ljust(512))
    (tmp_path / "empty.tar").write_bytes(bytes(10240))
    (tmp_path / "folder").mkdir()
    for path, kind, words in (
        (saved["compressed"], UsageError, "is compressed"),
        (tmp_path / "nothing.tar", UsageError, "cannot read"),
        (tmp_path / "text.tar", ContentError, "not a tar archive"),
        (tmp_path / "empty.tar", ContentError, "not an archive of images"),
        (tmp_path / "folder", ContentError, "not an archive of images"),
    ):
        with pytest.raises(DockersaveError, match=words) as caught:
            save(options=Options(format="rootfs", from_archive=path, output="-"))
        assert isinstance(caught.value, kind)


def errors_about(path: Path) -> list[DockersaveError]:
    """What each of those that read archives says about one that cannot be used."""
    with pytest.raises(ContentError) as of_save:
        save(options=Options(format="rootfs", from_archive=path, output="-"))
    with pytest.raises(ContentError) as of_list:
        list_archive(path)
    return [of_save.value, of_list.value, check_archive(path).failure()]


def test_a_file_system_is_no_archive_of_images(saved: dict[str, Path]) -> None:
    for failure in errors_about(flattened(saved["docker"])):
        assert "damaged" not in str(failure)
        assert "is it a file system?" in failure.hint


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 20_000])
def test_a_file_that_is_no_archive_is_not_called_truncated(size: int, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(("no archive " * 2000)[:size])
    for failure in errors_about(path):
        assert str(failure) == f"{path}: it is not a tar archive"
        assert "is it the right file?" in failure.hint


def test_hints_fit_an_archive(saved: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "cut.tar").write_bytes(saved["docker"].read_bytes()[:-2000])
    os.mkfifo(tmp_path / "pipe")
    for path, words, hint in (
        (tmp_path / "cut.tar", "is truncated", "copy the archive, again"),
        (tmp_path / "pipe", "is no file", "write the archive to a file first"),
        ("-", "is no file", "write the archive to a file first"),
    ):
        with pytest.raises(DockersaveError, match=words) as caught:
            save(options=Options(format="rootfs", from_archive=path, output="-"))
        assert hint in caught.value.hint


def test_it_is_for_file_systems_only(saved: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="only copy the archive"):
        save(options=Options(from_archive=saved["docker"], output="a.tar"))


@pytest.mark.parametrize(
    "options",
    [
        {"lock": "images.lock"},
        {"locked": "images.lock"},
        {"with_signatures": True},
        {"with_referrers": True},
    ],
    ids=str,
)
def test_what_only_a_registry_can_answer_is_refused(
    options: dict[str, Any], saved: dict[str, Path]
) -> None:
    with pytest.raises(UsageError, match="needs a registry, and"):
        save(options=Options(format="rootfs", from_archive=saved["docker"], **options))


@pytest.mark.parametrize("form", ["rootfs", "bundle"])
def test_a_file_system_has_no_place_for_signatures(form: str) -> None:
    with pytest.raises(UsageError, match="no place for"):
        save("localhost:1/image", options=Options(format=form, with_referrers=True))


DAMAGED = r"layer sha256:\w+(, unpacked, hashes to sha256:| cannot be decompressed: )"


def test_a_layer_that_is_damaged_or_missing(saved: dict[str, Path], tmp_path: Path) -> None:
    whole = saved["oci"].read_bytes()
    with tarfile.open(saved["oci"]) as archive:
        largest = max(archive.getmembers(), key=lambda member: member.size)
    damaged = bytearray(whole)
    damaged[largest.offset_data + largest.size // 2] ^= 1
    (tmp_path / "damaged.tar").write_bytes(damaged)
    with pytest.raises(ContentError, match=DAMAGED) as caught:
        flattened(tmp_path / "damaged.tar")
    assert "lists all that is wrong with the archive" in caught.value.hint
    missing = whole.replace(largest.name.encode(), b"x" * len(largest.name))
    (tmp_path / "missing.tar").write_bytes(missing)
    with pytest.raises(DockersaveError):
        flattened(tmp_path / "missing.tar")
    assert not (tmp_path / "made.tar").exists()


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_a_document_that_was_changed(which: str, saved: dict[str, Path], tmp_path: Path) -> None:
    """Its name is its digest, and an engine, or a signature, may have gone by that."""
    manifest = GOOD["mixed"]()
    digest = manifest.digest
    if which == "config":
        digest = json.loads(manifest.manifest)["config"]["digest"]
    whole = saved["oci"].read_bytes()
    with tarfile.open(saved["oci"]) as archive:
        member = archive.getmember(f"blobs/{digest.replace(':', '/')}")
    old = whole[member.offset_data : member.offset_data + member.size]
    new = old.replace(b"amd64", b"arm64").replace(b"linux", b"LINUX").replace(b"gzip", b"GZIP")
    assert new != old
    (tmp_path / "changed.tar").write_bytes(whole.replace(old, new))
    for form in ("rootfs", "bundle"):
        options = Options(format=form, from_archive=tmp_path / "changed.tar", output="-")
        with pytest.raises(ContentError, match=f"{digest} hashes to sha256:"):
            save(options=options, network=NOWHERE)


@pytest.mark.engines
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_archives_of_skopeo(kind: str, saved: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "theirs.tar"
    source = f"docker-archive:{saved['legacy']}"
    name = ":example.com/app:1" if kind == "docker-archive" else ":1"
    command = [program("skopeo"), "copy", "-q", source, f"{kind}:{target}{name}"]
    subprocess.run(command, check=True)
    assert differences(built(GOOD["mixed"]()), of_tar(flattened(target))) == []


def archive_of(path: Path, **documents: object) -> Path:
    """Write an archive of documents, each named without `.json`."""
    with tarfile.open(path, "w") as archive:
        for name, document in documents.items():
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            member = tarfile.TarInfo(f"{name}.json")
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return path


CONFIG = {"rootfs": {"type": "layers", "diff_ids": []}}
ONE = {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]}}


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ({"manifest": None}, "holds no image"),
        ({"manifest": {"a": 1}}, "holds no image"),
        ({"manifest": [None]}, "manifest.json is malformed"),
        ({"manifest": [{"Config": 7}]}, "manifest.json is malformed"),
        ({"manifest": [{"Config": "c", "Layers": "x"}]}, "manifest.json is malformed"),
        ({"manifest": [{"Config": "c"}]}, "archive.tar: c is missing"),
        ({"manifest": [{"Config": "c.json"}], "c": b"text"}, "c.json is not valid JSON"),
        ({"manifest": [{"Config": "c.json", "Layers": [7]}], "c": CONFIG}, "manifest lists 1"),
        ({"manifest": [{"Config": "c.json", "Layers": [7]}], "c": ONE}, "json is malformed"),
        ({"index": b"["}, "index.json is not valid JSON"),
        ({"index": b"text"}, "archive.tar: index.json is not valid JSON"),
        ({"index": []}, "holds no image"),
        ({"index": {"manifests": 5}}, "holds no image"),
        ({"index": {"manifests": [5]}}, "is not a descriptor"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_malformed_is_named(
    documents: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DockersaveError, match=words):
        flattened(archive_of(tmp_path / "archive.tar", **documents))


def test_the_archive_itself_is_not_replaced(saved: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    os.link(saved["docker"], path)
    before = path.read_bytes()
    for name in (str(path), str(saved["docker"]), f"{tmp_path}/../{tmp_path.name}/a.tar"):
        with pytest.raises(UsageError, match="taken from, and would be replaced"):
            save(options=Options(format="rootfs", from_archive=path, output=name))
    assert names_in(tmp_path) == ["a.tar"]
    assert path.read_bytes() == before
