"""Images between being resolved and being written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dockersave.archive.formats import format_named
from dockersave.errors import UsageError
from dockersave.model.image import check_names, notes
from dockersave.model.manifests import Index, Manifest, parse_document
from dockersave.spelling import as_python
from tests.archive.resolved_images import resolved, sizes
from tests.images import GOOD, INDEXES, Document, file, foreign, image, index, layer
from tests.images.documents import Flavor
from tests.images.layers import Compression


def test_layers_that_are_served_unpacked_change_nothing() -> None:
    built = GOOD["oci-plain"]()
    plain = resolved(built, gunzip=True).with_sizes(sizes(built))
    assert plain.root.digest == built.digest


def test_unpacking_renames_the_layers_and_nothing_else() -> None:
    built = GOOD["mixed"]()
    known = resolved(built, gunzip=True).with_sizes(sizes(built))
    old, new = json.loads(built.manifest), json.loads(known.primary.manifest.body)
    assert {key: old[key] for key in old if key != "layers"} == {
        key: new[key] for key in new if key != "layers"
    }
    for was, now, made in zip(old["layers"], new["layers"], built.layers, strict=True):
        assert now["digest"] == made.diff_id
        assert now["size"] == made.unpacked
        assert now["mediaType"] == was["mediaType"].partition("+")[0]


OCI, DOCKER = "application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize(
    ("flavor", "label", "right"),
    [
        ("oci", f"{OCI}v1.tar", f"{OCI}v1.tar"),
        ("oci", f"{OCI}v1.tar+gzip", f"{OCI}v1.tar"),
        ("oci", f"{OCI}v1.tar+zstd", f"{OCI}v1.tar"),
        ("oci", f"{OCI}nondistributable.v1.tar+gzip", f"{OCI}nondistributable.v1.tar"),
        ("oci", f"{DOCKER}diff.tar.gzip", f"{DOCKER}diff.tar"),
        ("oci", "Application/VND.OCI.image.layer.v1.tar+gzip", f"{OCI}v1.tar"),
        ("oci", "application/octet-stream", f"{OCI}v1.tar"),
        ("oci", "", f"{OCI}v1.tar"),
        ("docker", f"{DOCKER}diff.tar.zstd", f"{DOCKER}diff.tar"),
        ("docker", f"{DOCKER}foreign.diff.tar.gzip", f"{DOCKER}foreign.diff.tar"),
        ("docker", "application/x-gzip", f"{DOCKER}diff.tar"),
    ],
)
def test_what_is_unpacked_is_labelled_as_that(
    compression: Compression, flavor: Flavor, label: str, right: str
) -> None:
    made = replace(layer([file("a", "a\n")], compression), media_type=label)
    built = image([made], flavor=flavor)
    unpacked = resolved(built, gunzip=True, foreign=True)
    (stored,) = unpacked.with_sizes(sizes(built)).primary.manifest.layers
    assert (stored.media_type, stored.digest) == (right, made.diff_id)
    assert stored.size == made.unpacked
    if compression == "none":
        # Nothing has to be unpacked, so all sizes are known: it is the format that asks.
        members = {member.path: member for member in format_named("oci").documents([unpacked])}
        assert stored.media_type in str(members)


@pytest.mark.parametrize("name", ["multi", "oci-multi", "nested"])
def test_unpacking_renames_manifests_in_their_indexes(name: str) -> None:
    document = INDEXES[name]()
    known = resolved(document, platform="all", gunzip=True).with_sizes(sizes(document))
    manifests = {variant.manifest.descriptor.digest for variant in known.artifacts}
    inner = {index.descriptor.digest for index in known.indexes[1:]}
    named = set()
    for index_ in known.indexes:
        for entry in json.loads(index_.body)["manifests"]:
            named.add(entry["digest"])
            of = entry.get("annotations", {}).get("vnd.docker.reference.digest")
            assert of is None or of in manifests, "an attestation says what it is of"
    assert named == manifests | inner
    made: list[Index | Manifest] = [*known.indexes]
    made += [artifact.manifest for artifact in known.artifacts]
    for each in made:
        stated = each.descriptor
        assert parse_document(each.body, stated.digest, stated.media_type) == each
    assert known.root.digest == known.indexes[0].descriptor.digest != document.digest


def test_attestations_stay_as_they_are() -> None:
    document = INDEXES["oci-multi"]()
    known = resolved(document, platform="all", gunzip=True).with_sizes(sizes(document))
    attached = known.attached
    served = {part.digest for part in document.walk()}
    assert len(attached) == 5
    assert {variant.manifest.descriptor.digest for variant in attached} <= served


def test_an_index_without_a_list_is_kept() -> None:
    """As Go writes one of nothing: `"manifests": null`."""
    built = GOOD["docker"]()
    document = index([built, index([], "oci", {"manifests": None})], "oci")
    known = resolved(document, platform="all", gunzip=True).with_sizes(sizes(document))
    assert [len(each.manifests) for each in known.indexes] == [2, 0]


def test_an_index_of_unpacked_images_stays_as_it_is() -> None:
    document: Document = index([GOOD["oci-plain"]()], "oci")
    known = resolved(document, platform="all", gunzip=True).with_sizes(sizes(document))
    assert known.root.digest == document.digest


def test_what_is_left_out_is_said() -> None:
    far = foreign(layer([file("far", "far\n")]), "https://foreign.invalid/far.tar.gz")
    built = image([layer([file("near", "near\n")]), far])
    (line,) = notes(resolved(built))
    assert "sample:latest" in line
    assert "foreign=True" in as_python(line)
    assert not notes(resolved(built, foreign=True))
    assert not notes(resolved(GOOD["docker"]()))


def test_a_foreign_layer_that_was_fetched_is_unpacked() -> None:
    far = foreign(layer([file("far", "far\n")]), "https://foreign.invalid/far.tar.gz")
    built = image([far], flavor="oci")
    known = resolved(built, gunzip=True, foreign=True).with_sizes(sizes(built))
    (stored,) = known.primary.manifest.layers
    assert (stored.digest, stored.urls) == (far.diff_id, ())


def test_one_name_for_two_images_is_refused() -> None:
    one, two = GOOD["docker"](), GOOD["zstd"]()
    check_names([resolved(one, "a:1"), resolved(one, f"a:1@{one.digest}"), resolved(two, "b:1")])
    check_names([resolved(one, f"a@{one.digest}"), resolved(two, f"a@{two.digest}")])
    with pytest.raises(UsageError, match="a:1 would name two images") as caught:
        check_names([resolved(one, "a:1"), resolved(two, f"a:1@{two.digest}")])
    assert one.digest in str(caught.value)
    assert two.digest in str(caught.value)
