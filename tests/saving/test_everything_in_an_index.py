"""`--platform all`: whatever an index lists is kept, and the archive reads as intact."""

from __future__ import annotations

import gzip
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from dockersave import Options, Registry, check_archive, list_archive, save
from dockersave.model.descriptors import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from tests.archive.resolved_images import archive
from tests.images import ODD, Blob, Document, image, index, random_layer, read
from tests.images.documents import SCHEMA1_SIGNED, artifact, encode, schema1
from tests.saving.from_simulator import PLAIN, refused, serving

IMAGE = image([random_layer(1000, 1)], flavor="oci")
TEXT = Blob.of("text/plain", b"text")
HELM = "application/vnd.cncf.helm.config.v1+json"
OLD = "application/vnd.oci.artifact.manifest.v1+json"


def manifest(config: Blob) -> Document:
    """A manifest with such a config, which need not be an image's."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [TEXT.descriptor()],
    }
    return Document(OCI_MANIFEST, encode(document), (config, TEXT))


OTHERS: dict[str, Document | Blob] = {
    "helm": ODD["helm"](),
    "wasm": ODD["wasm"](),
    "something compressed": artifact(HELM, {}, "a/b.tar+gzip", gzip.compress(b"a chart")),
    "the image's own layer": artifact(HELM, {}, "a/b.tar+gzip", read(IMAGE.layers[0].data)),
    "a config that is text": manifest(Blob.of("application/octet-stream", b"text")),
    "a config that is empty": manifest(Blob.of("", b"")),
    "a config that claims to be an image's": manifest(Blob.of(OCI_CONFIG, b"[]")),
    "a blob": Blob.of("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(b"content")),
    "a blob that is JSON": Blob.of("application/json", b'{"manifests":1}'),
    "an index of such": index([manifest(Blob.of("", b""))], "oci"),
}


def beside(other: Document | Blob) -> Document:
    """An index with an image and something else, which states no platform."""
    listed = other.descriptor()
    listed.pop("platform", None)
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [listed, IMAGE.descriptor()],
    }
    children = (IMAGE,) if isinstance(other, Blob) else (IMAGE, other)
    blobs = (other,) if isinstance(other, Blob) else ()
    return Document(OCI_INDEX, encode(body), blobs, children)


@pytest.mark.parametrize("gunzip", [False, True], ids=["as-served", "gunzip"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_it_is_kept_and_reads_as_intact(
    other: Document | Blob, gunzip: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.tar"
    with serving(sample=beside(other)) as registry:
        name = f"{registry.host}/sample"
        save(name, output=path, options=Options(platform="all", gunzip=gunzip), network=PLAIN)
        with Registry(PLAIN) as questions:
            assert [str(offer.platform) for offer in questions.platforms(name)] == ["linux/amd64"]
    report = check_archive(path)
    assert not report.faults
    (listed,) = list_archive(path).images
    assert "linux/amd64" in [variant.platform for variant in listed.variants]


@pytest.mark.parametrize("kind", [OLD, "application/vnd.example.manifest.v9+json"])
def test_a_manifest_is_asked_for_by_the_type_that_the_index_states(
    kind: str, tmp_path: Path
) -> None:
    """Registries answer 404 unless Accept has it."""
    odd = Document(kind, encode({"mediaType": kind, "blobs": [TEXT.descriptor()]}), (TEXT,))
    path = tmp_path / "x.tar"
    with serving(sample=beside(odd)) as registry:
        save(
            f"{registry.host}/sample",
            output=path,
            options=Options(platform="all"),
            network=PLAIN,
        )
    with tarfile.open(path) as archive:
        for digest, content in ((odd.digest, odd.manifest), (TEXT.digest, read(TEXT.data))):
            file = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file
            assert file.read() == content


@pytest.mark.parametrize("stated", [SCHEMA1_SIGNED, "", "application/json"])
def test_a_schema_1_manifest_is_left_out_by_a_note(stated: str, tmp_path: Path) -> None:
    """Its digest is not that of its bytes, which contain a signature."""
    old = replace(schema1("old", "latest", IMAGE.layers), media_type=stated)
    path = tmp_path / "x.tar"
    lines: list[str] = []
    with serving(sample=beside(old)) as registry:
        name = f"{registry.host}/sample"
        options = Options(platform="all")
        save(name, output=path, options=options, network=PLAIN, notify=lines.append)
        with Registry(PLAIN) as questions:
            assert [str(offer.platform) for offer in questions.platforms(name)] == ["linux/amd64"]
    assert any(f"{old.digest} is left out: it is a schema 1 manifest" in line for line in lines)
    assert not check_archive(path).faults


def test_nothing_but_schema_1_manifests() -> None:
    document = index([schema1("old", "latest", IMAGE.layers)], "docker")
    with serving(sample=document) as registry:
        failure = refused(f"{registry.host}/sample", platform="all")
    assert "schema 1" in failure.message


def test_a_manifest_of_a_type_that_is_no_more(tmp_path: Path) -> None:
    old = Document(OLD, encode({"mediaType": OLD, "blobs": [TEXT.descriptor()]}), (TEXT,))
    path = archive(tmp_path / "x.tar", beside(old), platform="all")
    assert not check_archive(path).faults
    assert list_archive(path).images


def test_without_an_image_it_is_not_intact(tmp_path: Path) -> None:
    """What claims to be an image, and is none, is tolerated beside one only."""
    other = OTHERS["a config that claims to be an image's"]
    with serving(sample=beside(other)) as registry:
        options = Options(platform="all", tar=False, tree=True, working_dir=tmp_path)
        (folder,) = save(f"{registry.host}/sample", options=options, network=PLAIN).paths
    config = Path(folder, "blobs", IMAGE.config_digest.replace(":", "/"))
    config.write_bytes(b"{}")
    said = [str(fault) for fault in check_archive(folder).faults]
    assert any("the config is not a JSON object" in line for line in said), said
