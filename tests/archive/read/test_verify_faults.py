"""Archives with one thing wrong in them, or one thing odd."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave.archive.read.inventory import named_digest
from dockersave.archive.read.listing import list_archive
from dockersave.archive.read.verify import check_archive
from dockersave.model.formats import FORMATS
from tests.archive.handmade_tars import Raw, members_of, rewritten, tar
from tests.archive.read.reports import check, faults
from tests.archive.resolved_images import archive
from tests.images import (
    GOOD,
    INDEXES,
    ODD,
    file,
    image,
    layer,
    read,
)

NEAR = layer([file("near", "near\n")])


@pytest.mark.parametrize("form", FORMATS)
def test_a_flipped_bit_in_any_member_that_has_a_digest(
    form: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    members = members_of(samples[form])
    tried = 0
    for member in members:
        if not named_digest(member.path) and not member.path.endswith("layer.tar"):
            continue
        if not member.data:
            continue
        tried += 1
        middle = len(member.data) // 2
        flipped = (
            member.data[:middle] + bytes([member.data[middle] ^ 1]) + member.data[middle + 1 :]
        )
        changed = rewritten(members, **{member.path: replace(member, data=flipped)})
        lines = faults(check(changed, tmp_path))
        assert any(member.path in line for line in lines), lines
    assert tried >= 5


@pytest.mark.parametrize("form", FORMATS)
def test_a_member_that_is_missing(form: str, samples: dict[str, Path], tmp_path: Path) -> None:
    members = members_of(samples[form])
    optional = ("repositories", "VERSION") if form == "legacy" else ("repositories",)
    for member in members:
        if member.path == "manifest.json" or member.path.rpartition("/")[2] in optional:
            continue  # what is left is an archive of another format, whole in itself
        lines = faults(check(rewritten(members, **{member.path: None}), tmp_path))
        assert any("is missing" in line for line in lines), (member.path, lines)


@given(st.data())
def test_an_archive_that_is_cut_off_anywhere(
    samples: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = samples["docker"].read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1025))
    (fault,) = faults(check(whole[:length], tmp_path_factory.getbasetemp()))
    assert "truncated" in fault or "empty" in fault or "not a tar archive" in fault


@given(st.binary(max_size=5000))
def test_garbage(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    assert faults(check(data, tmp_path_factory.getbasetemp()))


@pytest.mark.parametrize(
    "member",
    [
        Raw("../../etc/passwd", b"x"),
        Raw("/etc/passwd", b"x"),
        Raw("link", type=tarfile.SYMTYPE, target="/etc/passwd"),
        Raw("link", type=tarfile.SYMTYPE, target="../../etc/passwd"),
        Raw("link", type=tarfile.LNKTYPE, target="../etc/passwd"),
        Raw("dev/sda", type=tarfile.BLKTYPE),
        Raw("pipe", type=tarfile.FIFOTYPE),
        Raw("manifest.json", b"[]"),
        Raw("index.json", type=tarfile.SYMTYPE, target="other.json"),
        Raw("bomb", type=tarfile.GNUTYPE_SPARSE),
        Raw("bomb", b"", pax={"GNU.sparse.major": "1", "GNU.sparse.realsize": "1099511627776"}),
        Raw("\udc80\x1b[31mred", b"", tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.path!a}-{member.type!r}",
)
def test_members_that_must_not_be_there(
    member: Raw, samples: dict[str, Path], tmp_path: Path
) -> None:
    for form in ("docker", "legacy"):
        members = members_of(samples[form])
        lines = faults(check(tar(member, *members), tmp_path))
        if form == "docker" or member.path != "index.json":
            name = member.path.strip("./").removeprefix("\udc80\x1b")
            assert any(name in line for line in lines), lines


def test_the_same_member_twice_is_harmless(samples: dict[str, Path], tmp_path: Path) -> None:
    members = members_of(samples["docker"])
    assert not faults(check(tar(*members, *members), tmp_path))


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("manifest.json", b"no JSON", "is not valid JSON"),
        ("manifest.json", b"{}", "no list of images"),
        ("manifest.json", b"[1]", "not an image"),
        ("manifest.json", b'[{"Config":"a","Layers":[],"RepoTags":[]}]', "is missing"),
        ("manifest.json", b'[{"Config":1,"Layers":[],"RepoTags":[]}]', "without a config"),
        ("manifest.json", b'[{"Config":null,"Layers":[],"RepoTags":[]}]', "without a config"),
        ("manifest.json", b'[{"Config":"a","Layers":[1],"RepoTags":[]}]', "not an image"),
        ("manifest.json", b"[" * 100_000, "is not valid JSON"),
        ("manifest.json", b"[" + b"1," * 500_000 + b"1]", "too many values"),
        ("index.json", b'{"schemaVersion":2}', "no list of manifests"),
        ("index.json", b'{"manifests":[{"digest":"sha256:x"}]}', "no valid digest"),
        ("index.json", b'{"manifests":{}}', "no list of manifests"),
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', "version"),
        ("repositories", b"[]", "is not a JSON object"),
        ("repositories", b'{"a":{"b":"c"}}', "is missing"),
        ("repositories", b'{"a":["b"]}', "no tags"),
    ],
)
def test_documents_that_are_none(
    path: str, body: bytes, said: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    members = members_of(samples["docker"])
    lines = faults(check(rewritten(members, **{path: Raw(path, body)}), tmp_path))
    assert any(said in line for line in lines), lines


def changed(document: Any, *path: str | int) -> bytes:
    """A document with null in a place."""
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = None
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("member", "where"),
    [
        ("index.json", ("manifests",)),
        ("index.json", ("manifests", 0, "annotations")),
        ("index.json", ("manifests", 0, "platform")),
        ("index.json", ("mediaType",)),
        ("manifest.json", (0, "RepoTags")),
        ("manifest.json", (0, "LayerSources")),
        ("repositories", ("sample",)),
    ],
)
def test_null_is_what_go_writes_for_nothing(
    member: str, where: tuple[str | int, ...], samples: dict[str, Path], tmp_path: Path
) -> None:
    """`docker save` of an image without a name, by Docker 25: `"manifests":null`."""
    members = members_of(samples["docker"])
    (body,) = (each.data for each in members if each.path == member)
    data = changed(json.loads(body), *where)
    report = check(rewritten(members, **{member: Raw(member, data)}), tmp_path)
    assert not faults(report)
    assert {found.platform for found in report.images} == {"linux/amd64"}


@pytest.mark.parametrize("body", [b"null", b"null\n", b" null\r\n"])
@pytest.mark.parametrize("member", ["manifest.json", "repositories"])
def test_documents_that_are_null_as_a_whole(
    member: str, body: bytes, samples: dict[str, Path], tmp_path: Path
) -> None:
    """Go's `json.Encoder` ends each document with a newline."""
    members = members_of(samples["docker"])
    data = rewritten(members, **{member: Raw(member, body)})
    assert not faults(check(data, tmp_path))
    assert list_archive(tmp_path / "archive.tar").images


@pytest.mark.parametrize("form", FORMATS)
def test_space_around_documents(form: str, samples: dict[str, Path], tmp_path: Path) -> None:
    """RFC 8259, section 2."""
    names = ("index.json", "manifest.json", "oci-layout", "repositories")
    data = tar(
        *(
            replace(each, data=b"\n \t" + each.data + b"\r\n") if each.path in names else each
            for each in members_of(samples[form])
        )
    )
    report = check(data, tmp_path)
    assert not faults(report)
    assert report.images
    assert len(list_archive(tmp_path / "archive.tar").images) == len(report.images)


def test_an_archive_of_docker_25_without_a_name(samples: dict[str, Path], tmp_path: Path) -> None:
    members, entry = _entry(samples)
    entry |= {"RepoTags": None}  # type: ignore[dict-item]
    data = rewritten(
        members,
        **{
            "index.json": Raw("index.json", b'{"schemaVersion":2,"manifests":null}'),
            "manifest.json": Raw("manifest.json", json.dumps([entry]).encode()),
            "repositories": None,
        },
    )
    report = check(data, tmp_path)
    assert not faults(report)
    assert [(found.names, found.platform) for found in report.images] == [((), "linux/amd64")]


def _entry(samples: dict[str, Path]) -> tuple[list[Raw], dict[str, list[str]]]:
    members = members_of(samples["docker"])
    (entry,) = json.loads(next(each.data for each in members if each.path == "manifest.json"))
    return members, entry


def test_layers_in_the_wrong_order(samples: dict[str, Path], tmp_path: Path) -> None:
    members, entry = _entry(samples)
    entry["Layers"].reverse()
    body = json.dumps([entry]).encode()
    lines = faults(
        check(rewritten(members, **{"manifest.json": Raw("manifest.json", body)}), tmp_path)
    )
    assert all("unpacks to" in line for line in lines)
    assert len(lines) == 2, "the others are where they should be"


@pytest.mark.parametrize("tag", ["no tag", "untagged", "UPPER:1", "a@sha256:" + "0" * 64, ""])
def test_names_that_no_engine_takes(tag: str, samples: dict[str, Path], tmp_path: Path) -> None:
    members, entry = _entry(samples)
    entry["RepoTags"] = [tag]
    body = json.dumps([entry]).encode()
    lines = faults(
        check(rewritten(members, **{"manifest.json": Raw("manifest.json", body)}), tmp_path)
    )
    assert any("no engine accepts" in line for line in lines), lines


@pytest.mark.parametrize("form", FORMATS)
def test_a_diff_id_that_is_wrong(form: str, tmp_path: Path) -> None:
    report = check_archive(archive(tmp_path / "a.tar", ODD["wrong-diff-id"](), form=form))
    assert any("unpacks to" in line for line in faults(report))


@pytest.mark.parametrize("form", FORMATS)
def test_a_layer_that_is_not_what_its_type_says(form: str, tmp_path: Path) -> None:
    """Engines go by the first bytes, and so does the check."""
    assert not faults(check_archive(archive(tmp_path / "a.tar", ODD["not-gzip"](), form=form)))


def test_a_layer_that_is_cut_off_but_named_rightly(tmp_path: Path) -> None:
    whole = read(NEAR.data)
    cut = whole[:-4]
    digest = f"sha256:{hashlib.sha256(cut).hexdigest()}"
    broken = replace(NEAR, data=cut, size=len(cut), digest=digest)
    path = archive(tmp_path / "a.tar", image([broken]))
    assert any("truncated" in line for line in faults(check_archive(path)))


def test_an_index_of_which_only_a_part_is_here(tmp_path: Path) -> None:
    """Docker's containerd store saves what it has of an index."""
    document = INDEXES["oci-multi"]()
    members = members_of(archive(tmp_path / "a.tar", document, form="oci", platform="all"))
    gone = document.children[1].digest.partition(":")[2]
    report = check(rewritten(members, **{gone: None}), tmp_path)
    assert not faults(report)
    assert any(gone in note and "linux/arm64" in note for note in report.notes)
    every = {child.digest.partition(":")[2]: None for child in document.children}
    assert all(
        "is missing" in line for line in faults(check(rewritten(members, **every), tmp_path))
    )


def test_manifests_without_layers_as_docker_25_wrote_them(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    members, _ = _entry(samples)
    built = GOOD["docker"]()
    manifest = json.loads(built.manifest) | {"layers": []}
    body = json.dumps(manifest).encode()
    digest = hashlib.sha256(body).hexdigest()
    index = json.loads(next(each.data for each in members if each.path == "index.json"))
    index["manifests"][0] |= {"digest": f"sha256:{digest}", "size": len(body)}
    old = built.digest.partition(":")[2]
    changes = {
        old: Raw(f"blobs/sha256/{digest}", body),
        "index.json": Raw("index.json", json.dumps(index).encode()),
    }
    report = check(rewritten(members, **changes), tmp_path)
    assert not faults(report)
    assert report.notes
    assert faults(check(rewritten(members, **changes, **{"manifest.json": None}), tmp_path))


def test_sha512(tmp_path: Path) -> None:
    """Digests of the other registered algorithm (OCI descriptor.md, "Registered algorithms")."""
    data = read(NEAR.data)
    wide = replace(NEAR, digest=f"sha512:{hashlib.sha512(data).hexdigest()}")
    path = archive(tmp_path / "a.tar", image([wide], flavor="oci"))
    assert not faults(check_archive(path))
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tarball:
        info = next(each for each in tarball if "sha512" in each.name)
    content[info.offset_data + 20] ^= 1
    assert any(
        wide.digest.partition(":")[2] in line for line in faults(check(bytes(content), tmp_path))
    )
