"""What each format is made of. What engines make of it is tested in tests/engines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dockersave.archive.formats import format_named
from dockersave.archive.formats.docker import DockerFormat
from dockersave.archive.formats.format import Format
from dockersave.archive.formats.oci import OciFormat
from dockersave.archive.tar import fixed_parts, lay_out
from dockersave.model.digest import digest_of
from dockersave.model.formats import FORMATS
from dockersave.model.image import Image
from dockersave.model.manifests import parse_document
from tests.archive.write.shelf import paths, resolved, sizes
from tests.images import GOOD, INDEXES, file, foreign, image, layer

DOCKER, OCI = DockerFormat(), OciFormat()


def bodies(form: Format, images: list[Image]) -> dict[str, bytes]:
    """Return all documents by their names, making sure that each is there once."""
    documents = form.documents(images)
    names = paths([*form.layers(images), *documents])
    assert len(set(names)) == len(names)
    return {document.path: document.body for document in documents}


def documents(form: Format, images: list[Image]) -> dict[str, Any]:
    """Return the top documents, parsed."""
    return {
        path: json.loads(body)
        for path, body in bodies(form, images).items()
        if "blobs/" not in path
    }


@pytest.mark.parametrize("form", [DOCKER, OCI])
@pytest.mark.parametrize("name", [*GOOD, *INDEXES])
def test_every_blob_is_named_by_its_digest_and_mentioned(name: str, form: Format) -> None:
    document = (GOOD | INDEXES)[name]()
    images = [resolved(document, platform="all" if name in INDEXES else "linux/amd64")]
    members = bodies(form, images)
    layers = {layer.path: layer.digest for layer in form.layers(images)}
    wanted = [entry["digest"] for entry in documents(form, images)["index.json"]["manifests"]]
    seen = set()
    while wanted:
        digest = wanted.pop()
        path = f"blobs/{digest.replace(':', '/')}"
        seen.add(path)
        if path in members:
            assert digest_of(members[path]) == digest
            told = json.loads(members[path])
            wanted += [
                entry["digest"] for key in ("manifests", "layers") for entry in told.get(key, ())
            ] + ([told["config"]["digest"]] if "layers" in told else [])
        else:
            assert layers[path] == digest
    assert seen == {path for path in [*layers, *members] if path.startswith("blobs/")}


def test_documents_are_kept_byte_for_byte() -> None:
    built = GOOD["docker"]()
    members = bodies(DOCKER, [resolved(built)])
    assert members[f"blobs/{built.digest.replace(':', '/')}"] == built.manifest
    assert members[f"blobs/{built.config_digest.replace(':', '/')}"] == built.config


def test_names_of_an_image() -> None:
    built = GOOD["docker"]()
    found = documents(DOCKER, [resolved(built, "sample:1")])
    (descriptor,) = found["index.json"]["manifests"]
    assert descriptor["digest"] == built.digest
    assert descriptor["annotations"] == {
        "io.containerd.image.name": "docker.io/library/sample:1",
        "org.opencontainers.image.ref.name": "1",
    }
    assert descriptor["platform"] == {"architecture": "amd64", "os": "linux"}
    (entry,) = found["manifest.json"]
    assert entry["RepoTags"] == ["sample:1"]
    assert found["repositories"] == {"sample": {"1": built.layers[-1].digest.partition(":")[2]}}
    assert found["oci-layout"] == {"imageLayoutVersion": "1.0.0"}


def test_an_image_without_a_tag_gets_none() -> None:
    built = GOOD["docker"]()
    found = documents(DOCKER, [resolved(built, f"ghcr.io/a/b@{built.digest}")])
    (descriptor,) = found["index.json"]["manifests"]
    assert descriptor["annotations"] == {"io.containerd.image.name": f"ghcr.io/a/b@{built.digest}"}
    assert found["manifest.json"][0]["RepoTags"] == []
    assert "repositories" not in found


def test_two_names_of_one_image() -> None:
    built = GOOD["oci"]()
    images = [resolved(built, "one:1"), resolved(built, "ghcr.io/two:2")]
    found = documents(DOCKER, images)
    assert [
        (entry["digest"], entry["annotations"]["io.containerd.image.name"])
        for entry in found["index.json"]["manifests"]
    ] == [(built.digest, "docker.io/library/one:1"), (built.digest, "ghcr.io/two:2")]
    (entry,) = found["manifest.json"]
    assert entry["RepoTags"] == ["one:1", "ghcr.io/two:2"]


REF_NAME = "org.opencontainers.image.ref.name"


@pytest.mark.parametrize("name", ["docker", "oci"])
def test_images_with_one_tag_are_told_apart(name: str) -> None:
    one, two, three = GOOD["oci"](), GOOD["zstd"](), GOOD["docker"]()
    odd = f"odd/a__b:1@{three.digest}"
    images = [
        resolved(one, "sample:latest"),
        resolved(two, "localhost:5000/org/app:latest"),
        resolved(three, "sample:1"),
        resolved(three, odd),
        resolved(two, "sample:only"),
        resolved(two, f"sample@{two.digest}"),
    ]
    found = documents(format_named(name), images)["index.json"]["manifests"]
    assert [(each["digest"], each["annotations"].get(REF_NAME)) for each in found] == [
        (one.digest, "docker.io/library/sample:latest"),
        (two.digest, "localhost:5000/org/app:latest"),
        (three.digest, "docker.io/library/sample:1"),
        # Two underscores are in no name that the specification allows here.
        (three.digest, three.digest),
        (two.digest, "only"),
        (two.digest, None),
    ]


def test_shared_layers_are_there_once() -> None:
    base = layer([file("base", "base\n")])
    one, two = image([base]), image([base, layer([file("top", "top\n")])])
    layers = DOCKER.layers([resolved(one, "one"), resolved(two, "two")])
    assert len(layers) == 2


def test_all_platforms_have_one_name() -> None:
    document = INDEXES["oci-multi"]()
    found = documents(DOCKER, [resolved(document, platform="all")])
    (descriptor,) = found["index.json"]["manifests"]
    assert descriptor["digest"] == document.digest
    assert "platform" not in descriptor
    (entry,) = found["manifest.json"]
    assert len(entry["Layers"]) == 5


@pytest.mark.parametrize("name", FORMATS)
def test_a_foreign_layer_is_left_out_and_stays_in_the_documents(name: str) -> None:
    far = foreign(layer([file("far", "far\n")]), "https://foreign.invalid/far.tar.gz")
    built = image([layer([file("near", "near\n")]), far], flavor="oci")
    form = format_named(name)
    assert len(form.layers([resolved(built)])) == 1
    assert len(form.layers([resolved(built, foreign=True)])) == 2
    members = bodies(form, [resolved(built)])
    if name != "legacy":
        assert members[f"blobs/{built.digest.replace(':', '/')}"] == built.manifest
    if name != "oci":
        (entry,) = json.loads(members["manifest.json"])
        assert len(entry["Layers"]) == 2
        assert list(entry["LayerSources"]) == [far.diff_id]


@pytest.mark.parametrize("name", FORMATS)
def test_a_plan_does_not_depend_on_when_it_is_made(name: str) -> None:
    def plan() -> list[bytes]:
        images = [resolved(GOOD[each](), f"{each}:1") for each in ("docker", "zstd")]
        form = format_named(name)
        planned = lay_out(form.layers(images), form.documents(images))
        return [body for _, body in fixed_parts(planned)]

    assert plan() == plan()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sample", ["docker", "mixed", "plain"])
def test_unpacked_layers_are_named_by_their_diff_ids(sample: str, name: str) -> None:
    built = GOOD[sample]()
    image_ = resolved(built, gunzip=True)
    form = format_named(name)
    known = image_.with_sizes(sizes(built))
    before, after = form.layers([image_]), form.layers([known])
    assert paths(before) == paths(after), "documents are made when the layers are in place"
    stored = [member.stored for member in after]
    assert {one.digest for one in stored} == {one.diff_id for one in built.layers}
    assert all(one.size == sizes(built)[one.digest] for one in stored)
    if name != "legacy":
        members = bodies(form, [known])
        manifest = known.primary.manifest
        assert members[manifest.descriptor.blob_path] == manifest.body
        parse_document(manifest.body, manifest.descriptor.digest, manifest.descriptor.media_type)
