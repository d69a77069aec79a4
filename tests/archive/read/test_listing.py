"""Listing archives of all programs: names, platforms, layers and sizes, without hashing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dockersave import (
    ContentError,
    Network,
    Options,
    UsageError,
    check_archive,
    list_archive,
    save,
)
from dockersave.archive.read import inventory
from dockersave.cli.answers import listing
from tests.images import (
    Document,
    Store,
    attestation,
    digest_of,
    image,
    index,
    random_layer,
    sample_index,
)
from tests.registry.simulator import Simulator

LAYERS = [random_layer(200_000, 1), random_layer(3000, 2)]
APP = image(LAYERS)


def write(path: Path, members: Mapping[str, object]) -> str:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return str(path)


def saved(folder: Path, document: Document, **options: object) -> str:
    name = "x.tar.xz" if options.get("xz") else "x.tar"
    with Simulator(Store.of({"app": document})) as server:
        save(
            f"{server.host}/app",
            options=Options(output=str(folder / name), **options),  # type: ignore[arg-type]
            network=Network(insecure=True),
        )
    return str(folder / "x" if options.get("tree") else folder / name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"format": "oci"},
        {"xz": True},
        {"tar": False, "tree": True},
    ],
    ids=str,
)
def test_what_dockersave_has_written(tmp_path: Path, options: dict[str, object]) -> None:
    found = list_archive(saved(tmp_path, APP, **options))
    (listed,) = found.images
    (variant,) = listed.variants
    assert listed.names[0].endswith("/app:latest")
    assert listed.digest == variant.digest == APP.digest
    assert variant.platform == "linux/amd64"
    assert [layer.digest for layer in variant.layers] == [each.digest for each in APP.layers]
    assert [layer.size for layer in variant.layers] == [each.size for each in APP.layers]
    assert variant.size == sum(each.size for each in APP.layers)
    assert all(layer.is_here for layer in variant.layers)
    assert found.compression == ("xz" if "xz" in options else "")
    assert "oci" in found.formats


def test_the_legacy_format(tmp_path: Path) -> None:
    found = list_archive(saved(tmp_path, APP, format="legacy"))
    (listed,) = found.images
    assert found.formats == check_archive(found.path).formats == ("docker", "legacy")
    assert listed.digest == digest_of(APP.config)
    assert [layer.size for layer in listed.variants[0].layers] == [each.size for each in APP.layers]


def test_all_platforms(tmp_path: Path) -> None:
    document = sample_index()
    found = list_archive(saved(tmp_path, document, platform="all"))
    (listed,) = found.images
    assert listed.digest == document.digest
    platforms = [variant.platform for variant in listed.variants]
    assert platforms[0] == "linux/amd64"
    assert len(platforms) == len(set(platforms)) > 2


def test_attestations_are_no_images(tmp_path: Path) -> None:
    document = index([APP, attestation(APP)])
    (listed,) = list_archive(saved(tmp_path, document, platform="all")).images
    assert [variant.digest for variant in listed.variants] == [APP.digest]


def test_nothing_is_hashed_and_layers_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, APP)
    read = 0
    pread = os.pread

    def counted(fd: int, amount: int, offset: int) -> bytes:
        nonlocal read
        data = pread(fd, amount, offset)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    monkeypatch.setattr(inventory.Inventory, "_hash", None)
    assert list_archive(path).images
    assert read < 50_000, "of 200 kB"


CONFIG = {
    "os": "linux",
    "architecture": "arm",
    "variant": "v7",
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'1' * 64}"]},
}
MANIFEST = [{"Config": "c.json", "RepoTags": ["a:1", "b:2"], "Layers": ["1/layer.tar"]}]


def test_docker_archives_of_others(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.tar", {"manifest.json": MANIFEST, "c.json": CONFIG, "1/layer.tar": b"x" * 99}
    )
    found = list_archive(path)
    (listed,) = found.images
    assert found.formats == ("docker",)
    assert listed.names == ("a:1", "b:2")
    digest = hashlib.sha256(json.dumps(CONFIG).encode()).hexdigest()
    assert listed.digest == f"sha256:{digest}"
    assert listed.variants[0].platform == "linux/arm/v7"
    (layer,) = listed.variants[0].layers
    assert (layer.digest, layer.size, layer.is_here) == (f"sha256:{'1' * 64}", 99, True)


def test_a_layer_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", {"manifest.json": MANIFEST, "c.json": CONFIG})
    found = list_archive(path)
    assert not found.images[0].variants[0].layers[0].is_here
    assert "not in the archive" in list(listing(found, as_json=False))[-1]


def test_an_image_without_a_name(tmp_path: Path) -> None:
    """Go writes null for a list that is empty."""
    manifest = [{**MANIFEST[0], "RepoTags": None}]
    path = write(tmp_path / "x.tar", {"manifest.json": manifest, "c.json": CONFIG})
    lines = list(listing(list_archive(path), as_json=False))
    assert lines[0] == "an image without a name"


@pytest.mark.parametrize("compressed", [False, True])
def test_null_is_what_go_writes_for_nothing(compressed: bool, tmp_path: Path) -> None:
    members = {
        "manifest.json": [{**MANIFEST[0], "RepoTags": [None, "a:1"]}],
        "c.json": CONFIG,
        "repositories": {"a": None},
    }
    path = Path(write(tmp_path / "x.tar", members))
    assert list_archive(path).images[0].names == ("a:1",)
    del members["manifest.json"], members["c.json"]
    for nothing in (members["repositories"], b"null\n"):
        path = Path(write(tmp_path / "x.tar", {"repositories": nothing}))
        if compressed:
            path.write_bytes(gzip.compress(path.read_bytes()))
        assert not list_archive(path).images


def test_an_entry_without_a_config(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", {"manifest.json": [{**MANIFEST[0], "Config": None}]})
    with pytest.raises(ContentError, match=r"manifest\.json has an entry without a config"):
        list_archive(path)


def test_before_docker_1_10(tmp_path: Path) -> None:
    ids = ["a" * 64, "b" * 64]
    path = write(
        tmp_path / "x.tar",
        {
            "repositories": {"old": {"1": ids[0]}},
            f"{ids[0]}/json": {"id": ids[0], "parent": ids[1]},
            f"{ids[0]}/layer.tar": b"x" * 10,
            f"{ids[1]}/json": {"id": ids[1]},
            f"{ids[1]}/layer.tar": b"x" * 20,
        },
    )
    found = list_archive(path)
    assert found.formats == ("legacy",)
    assert found.images[0].names == ("old:1",)
    assert [layer.size for layer in found.images[0].variants[0].layers] == [20, 10]


def test_an_archive_that_is_compressed_as_a_whole(tmp_path: Path) -> None:
    members = {"manifest.json": MANIFEST, "c.json": CONFIG, "1/layer.tar": b"x" * 99}
    plain = Path(write(tmp_path / "x.tar", members))
    packed = tmp_path / "x.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    found = list_archive(packed)
    assert found.compression == "gzip"
    assert found.images == list_archive(plain).images


def _cut(folder: Path) -> None:
    whole = Path(saved(folder, APP))
    whole.write_bytes(whole.read_bytes()[:1000])


def _not_named(folder: Path) -> None:
    write(folder / "x.tar", {"a": b"b"})


def _no_config(folder: Path) -> None:
    write(folder / "x.tar", {"manifest.json": MANIFEST})


def _no_json(folder: Path) -> None:
    write(folder / "x.tar", {"manifest.json": b"[nonsense"})


def _no_list(folder: Path) -> None:
    write(folder / "x.tar", {"manifest.json": {"a": 1}})


def _endless(folder: Path) -> None:
    """A chain of layers that ends in itself."""
    name = "a" * 64
    write(
        folder / "x.tar",
        {"repositories": {"old": {"1": name}}, f"{name}/json": {"id": name, "parent": "b"}},
    )


@pytest.mark.parametrize(
    "make",
    [_cut, _not_named, _no_config, _no_json, _no_list, _endless],
    ids=lambda make: make.__name__,
)
def test_what_is_wrong(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    with pytest.raises(ContentError) as caught:
        list_archive(tmp_path / "x.tar")
    assert str(caught.value).startswith(f"{tmp_path}/x.tar: ")
    expected = "is it a file system?" if make is _not_named else "check_archive"
    assert expected in caught.value.hint


def test_a_chain_that_ends_in_itself_ends(tmp_path: Path) -> None:
    name = "a" * 64
    path = write(
        tmp_path / "x.tar",
        {"repositories": {"old": {"1": name}}, f"{name}/json": {"id": name, "parent": name}},
    )
    assert list_archive(path).images


@pytest.mark.parametrize("path", ["nowhere.tar", "/dev/zero"])
def test_what_cannot_be_read(path: str) -> None:
    with pytest.raises(UsageError, match=f"cannot read {path}"):
        list_archive(path)


def test_names_are_safe_to_print(tmp_path: Path) -> None:
    manifest = [{**MANIFEST[0], "RepoTags": ["a:\x1b[31m\x9b"]}]
    path = write(tmp_path / "x.tar", {"manifest.json": manifest, "c.json": CONFIG})
    assert all(line.isprintable() for line in listing(list_archive(path), as_json=False))
    (line,) = listing(list_archive(path), as_json=True)
    assert json.loads(line)["images"][0]["names"] == ["a:?[31m?"]


def test_lines_for_people(tmp_path: Path) -> None:
    lines = list(listing(list_archive(saved(tmp_path, APP)), as_json=False))
    assert lines[0].endswith("/app:latest")
    assert lines[1].startswith(f"  linux/amd64  {APP.digest}  2 layers, ")
    assert lines[2].startswith(f"    {APP.layers[0].digest}  ")
    assert len(lines) == 4
