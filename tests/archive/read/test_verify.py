"""Whether archives are what they claim to be. What engines wrote is checked in tests/engines."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.archive.read.inventory import named_digest
from dockersave.archive.read.verify import Report, check_archive
from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError, UsageError
from dockersave.limits import LIMITS
from dockersave.model.formats import FORMATS
from dockersave.progress import Progress, Transfer
from tests.archive.write.shelf import archive
from tests.archive.write.writing import Raw, extract, members_of, rewritten, tar
from tests.images import (
    GOOD,
    INDEXES,
    ODD,
    big_image,
    config_document,
    file,
    foreign,
    image,
    layer,
    read,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
}
FAR = foreign(layer([file("far", "far\n")]), "https://foreign.invalid/far.tar.gz")
NEAR = layer([file("near", "near\n")])


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return an archive of the plain sample in each format."""
    folder = tmp_path_factory.mktemp("samples")
    built = GOOD["docker"]()
    return {form: archive(folder / f"{form}.tar", built, form=form) for form in FORMATS}


def check(data: bytes, folder: Path) -> Report:
    """Check bytes."""
    path = folder / "archive.tar"
    path.write_bytes(data)
    return check_archive(path)


def faults(report: Report) -> list[str]:
    """Return the faults as printable text."""
    lines = [str(fault) for fault in report.faults]
    assert all(line.isprintable() for line in lines)
    assert report.is_right == (not lines)
    return lines


@pytest.mark.parametrize("gunzip", [False, True], ids=["as-served", "gunzip"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", GOOD)
def test_what_dockersave_writes(name: str, form: str, gunzip: bool, tmp_path: Path) -> None:
    built = GOOD[name]()
    report = check_archive(archive(tmp_path / "a.tar", built, form=form, gunzip=gunzip))
    assert not faults(report)
    assert not report.notes
    (found,) = report.images
    known = ("sample:latest",) if form == "legacy" else ("docker.io/library/sample:latest",)
    assert (found.names, found.platform) == (known, "linux/amd64")
    assert form in report.formats
    if form == "legacy":
        assert found.digest == built.config_digest
    elif not gunzip:
        assert found.digest == built.digest


@pytest.mark.parametrize("gunzip", [False, True], ids=["as-served", "gunzip"])
@pytest.mark.parametrize("form", ["docker", "oci"])
@pytest.mark.parametrize("name", INDEXES)
def test_all_platforms(name: str, form: str, gunzip: bool, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", INDEXES[name](), form=form, platform="all", gunzip=gunzip)
    assert not faults(report := check_archive(path))
    assert len(report.images) == 1


def test_several_images(tmp_path: Path) -> None:
    names = ["one:1", "two:2", "ghcr.io/three:3"]
    documents = [GOOD["docker"](), GOOD["zstd"](), GOOD["docker"]()]
    for form in FORMATS:
        report = check_archive(archive(tmp_path / "a.tar", *documents, form=form, names=names))
        assert not faults(report)
        assert sorted(name for found in report.images for name in found.names) == sorted(
            names
            if form == "legacy"
            else ["docker.io/library/one:1", "docker.io/library/two:2", names[2]]
        )


@pytest.mark.parametrize("form", FORMATS)
def test_without_layers(form: str, tmp_path: Path) -> None:
    assert not faults(check_archive(archive(tmp_path / "a.tar", image([]), form=form)))


@pytest.mark.parametrize("form", FORMATS)
def test_foreign_layers(form: str, tmp_path: Path) -> None:
    built = image([NEAR, FAR], flavor="oci")
    report = check_archive(archive(tmp_path / "a.tar", built, form=form))
    assert not faults(report)
    assert report.notes
    assert all("a foreign layer" in note for note in report.notes)
    report = check_archive(archive(tmp_path / "a.tar", built, form=form, foreign=True))
    assert not faults(report)
    assert not report.notes


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_compressed_archives(kind: str, samples: dict[str, Path], tmp_path: Path) -> None:
    data = COMPRESSIONS[kind](samples["docker"].read_bytes())
    report = check(data, tmp_path)
    assert not faults(report)
    assert report.compression == kind
    assert report.size == len(data)
    for damaged in (data[: len(data) // 2], data[:-1]):
        (fault,) = faults(check(damaged, tmp_path))
        assert "truncated" in fault
    if kind != "zstd":  # whose checksum is optional
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        assert faults(check(flipped, tmp_path))


def test_standard_input(samples: dict[str, Path]) -> None:
    program = (
        "from dockersave.archive.read.verify import check_archive as c; print(c('-').is_right)"
    )
    with samples["docker"].open("rb") as source:
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=source, capture_output=True, check=True
        )
    assert done.stdout == b"True\n"


def test_a_directory(samples: dict[str, Path], tmp_path: Path) -> None:
    for form, path in samples.items():
        folder = tmp_path / form
        extract(path, folder)
        assert not faults(check_archive(folder))
        layer_file = max(
            (each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()),
            key=lambda each: each.stat().st_size,
        )
        layer_file.write_bytes(layer_file.read_bytes()[:-1])
        assert faults(check_archive(folder))


# One thing wrong at a time.


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
            continue  # the rest is a complete archive of another format
        lines = faults(check(rewritten(members, **{member.path: None}), tmp_path))
        assert any("is missing" in line for line in lines), (member.path, lines)


@settings(deadline=None)
@given(st.data())
def test_an_archive_that_is_cut_off_anywhere(
    samples: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = samples["docker"].read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1025))
    (fault,) = faults(check(whole[:length], tmp_path_factory.getbasetemp()))
    assert "truncated" in fault or "empty" in fault or "not a tar archive" in fault


@settings(deadline=None)
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
        ("manifest.json", b'[{"Config":1,"Layers":[],"RepoTags":[]}]', "is missing"),
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


@pytest.mark.parametrize("member", ["manifest.json", "repositories"])
def test_documents_that_are_null_as_a_whole(
    member: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    members = members_of(samples["docker"])
    assert not faults(check(rewritten(members, **{member: Raw(member, b"null")}), tmp_path))


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
    """Engines look at the first bytes, and so does the check."""
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


def test_indexes_that_hold_one_another_many_times(tmp_path: Path) -> None:
    """2 ^ 20 ways lead down, and each index is read once."""
    members, digest = {}, ""
    size, kind = 0, "application/vnd.oci.image.index.v1+json"
    for _ in range(4):
        child = {"mediaType": kind, "digest": digest, "size": size}
        body = json.dumps(
            {"schemaVersion": 2, "mediaType": kind, "manifests": [child] * 9000 if digest else []}
        ).encode()
        digest, size = f"sha256:{hashlib.sha256(body).hexdigest()}", len(body)
        members[digest] = Raw(f"blobs/{digest.replace(':', '/')}", body)
    top = {"schemaVersion": 2, "manifests": [{"mediaType": kind, "digest": digest, "size": size}]}
    data = tar(
        *members.values(),
        Raw("index.json", json.dumps(top).encode()),
        Raw("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    )
    check(data, tmp_path)


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(LIMITS, archive_members=100)
    monkeypatch.setattr("dockersave.archive.read.inventory.LIMITS", limits)
    (fault,) = faults(check(tar(*(Raw(f"{number}", b"") for number in range(101))), tmp_path))
    assert "more than 100 members" in fault


def test_a_decompression_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = archive(tmp_path / "bomb.tar", ODD["bomb"]())
    assert path.stat().st_size < 2 << 20
    assert _peak(path) < 40 << 20
    twice = tmp_path / "bomb.tar.xz"
    twice.write_bytes(lzma.compress(tar(Raw("zeros", bytes(64 << 20))), preset=0))
    assert _peak(twice) < 40 << 20


def test_a_large_archive_takes_no_memory(tmp_path: Path) -> None:
    path = archive(tmp_path / "big.tar", big_image(4, 20 << 20))
    assert _peak(path) < 40 << 20


def _peak(path: Path) -> int:
    """Return the peak of a checking process's memory, in bytes."""
    program = (
        "import re, sys; from dockersave.archive.read.verify import check_archive;"
        "check_archive(sys.argv[1]);"
        "print(int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]) * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, check=True, text=True
    )
    return int(done.stdout)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        check_archive(tmp_path / "missing.tar")


def test_devices_and_sockets_are_not_read(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # Its name must be short.
        listener.bind(name := os.path.relpath(tmp_path / "socket"))
        for path in ("/dev/zero", "/dev/null", name):
            with pytest.raises(UsageError, match="neither a file, a directory nor a pipe"):
                check_archive(path)


def test_a_named_pipe(samples: dict[str, Path], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = samples["docker"].read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    assert not faults(check_archive(pipe))
    writer.join()


@pytest.mark.parametrize("kind", ["", "gzip"])
def test_zeros_without_end_behind_an_archive(
    kind: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    data = samples["docker"].read_bytes()
    path = tmp_path / "a.tar"
    path.write_bytes(COMPRESSIONS[kind](data) if kind else data)
    assert not faults(check_archive(path))
    with path.open("ab") as file:
        file.truncate(1 << 40)
    (fault,) = faults(check_archive(path))
    assert "more than" in fault


def test_it_can_be_stopped(samples: dict[str, Path]) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        check_archive(samples["docker"], cancellation=cancellation)


def test_progress(samples: dict[str, Path]) -> None:
    watched: list[Transfer] = []

    class Watcher(Progress):
        def start(self, transfers: Sequence[Transfer]) -> None:
            watched.extend(transfers)

    check_archive(samples["docker"], progress=Watcher())
    (transfer,) = watched
    size = samples["docker"].stat().st_size
    assert (transfer.present, transfer.size, transfer.done) == (size, size, True)


def test_the_failure_names_the_member(tmp_path: Path) -> None:
    report = check(tar(Raw("manifest.json", b"x"), Raw("../a", b"x")), tmp_path)
    failure = report.failure()
    assert failure.exit_code == 6
    assert str(tmp_path / "archive.tar") in str(failure)
    assert "../a" in str(failure) or "manifest.json" in str(failure)


def test_an_image_only_engines_before_docker_1_10_know(tmp_path: Path) -> None:
    built = GOOD["docker"]()
    members = members_of(archive(tmp_path / "a.tar", built, form="legacy"))
    kept = [each for each in members if each.path != "manifest.json"]
    report = check(tar(*kept), tmp_path)
    assert not faults(report)
    assert report.formats == ("legacy",)
    assert [found.names for found in report.images] == [("sample:latest",)]
    gone = next(each for each in kept if each.path.endswith("layer.tar"))
    lines = faults(check(tar(*(each for each in kept if each != gone)), tmp_path))
    assert any(gone.path in line for line in lines)


def test_configs_of_8_mib_of_lists_take_little_memory(tmp_path: Path) -> None:
    """No registry gets such an image into an archive of ours, but others may write one."""
    config = config_document([NEAR])
    config["padding"] = [[]] * 2_000_000
    entry = [{"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": ["sample:latest"]}]
    path = tmp_path / "a.tar"
    path.write_bytes(
        tar(
            Raw("config.json", json.dumps(config).encode()),
            Raw("layer.tar", read(NEAR.data)),
            Raw("manifest.json", json.dumps(entry).encode()),
        )
    )
    assert any("too many values" in line for line in faults(check_archive(path)))
    assert _peak(path) < 60 << 20


def test_links_that_go_round(tmp_path: Path) -> None:
    circle = [Raw(f"{n}", type=tarfile.SYMTYPE, target=f"{(n + 1) % 3}") for n in range(3)]
    entry = [{"Config": "0", "Layers": [], "RepoTags": []}]
    data = tar(*circle, Raw("manifest.json", json.dumps(entry).encode()))
    assert any("is missing" in line for line in faults(check(data, tmp_path)))


def test_what_crane_writes(tmp_path: Path) -> None:
    """go-containerregistry, pkg/v1/tarball: layers by their own digest, the config with a colon."""
    built = GOOD["docker"]()
    layers = [f"{each.digest.partition(':')[2]}.tar.gz" for each in built.layers]
    entry = [{"Config": built.config_digest, "RepoTags": ["sample:latest"], "Layers": layers}]
    members = [
        Raw(built.config_digest, built.config),
        *(
            Raw(name, read(each.data))
            for name, each in dict(zip(layers, built.layers, strict=True)).items()
        ),
        Raw("manifest.json", json.dumps(entry).encode()),
    ]
    report = check(tar(*members), tmp_path)
    assert not faults(report)
    assert [(found.names, found.platform) for found in report.images] == [
        (("sample:latest",), "linux/amd64")
    ]
    members[1] = replace(members[1], data=members[2].data)
    lines = faults(check(tar(*members), tmp_path))
    assert any(layers[0] in line for line in lines)


def test_what_regctl_writes(tmp_path: Path) -> None:
    """regclient, image export: an OCI layout, and a manifest.json without a config's name."""
    built = GOOD["oci"]()
    entry = [
        {
            "Config": f"blobs/{built.config_digest.replace(':', '/')}",
            "RepoTags": ["sample:latest"],
            "Layers": [f"blobs/{each.digest.replace(':', '/')}" for each in built.layers],
            "LayerSources": {each.diff_id: each.descriptor() for each in built.layers},
        }
    ]
    index = {
        "schemaVersion": 2,
        "manifests": [
            built.descriptor() | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
        ],
    }
    blobs = {blob.digest: read(blob.data) for blob in built.blobs}
    blobs[built.digest] = built.manifest
    data = tar(
        Raw("blobs", type=tarfile.DIRTYPE),
        Raw("blobs/sha256", type=tarfile.DIRTYPE),
        *(Raw(f"blobs/{digest.replace(':', '/')}", body) for digest, body in blobs.items()),
        Raw("index.json", json.dumps(index).encode()),
        Raw("manifest.json", json.dumps(entry).encode()),
        Raw("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    )
    report = check(data, tmp_path)
    assert not faults(report)
    assert [found.names for found in report.images] == [("latest",)]


def test_what_is_printed_can_be_printed(tmp_path: Path) -> None:
    config = config_document([NEAR], "linux/\x1b[31mred")
    path = archive(tmp_path / "a.tar", image([NEAR], config=config), platform="all")
    (found,) = check_archive(path).images
    assert found.platform == "linux/?[31mred"


ESCAPES = "\x1b]0;owned\x07"


def test_what_is_cut_off_is_named_so_that_it_can_be_printed(tmp_path: Path) -> None:
    (fault,) = faults(check(Raw(ESCAPES, b"x" * 2000).to_bytes()[:1024], tmp_path))
    assert fault == "the archive is truncated in ?]0;owned?"


def test_what_documents_name_can_be_printed(tmp_path: Path) -> None:
    """Every place where a message quotes an untrusted name."""
    layer_data = tar(Raw("a", b"a"))
    config = config_document([NEAR])
    config["rootfs"] = {"type": "layers", "diff_ids": ["sha512:" + "0" * 128, NEAR.diff_id]}
    entry = {"Config": f"{ESCAPES}.json", "Layers": [ESCAPES, f"{ESCAPES}2"], "RepoTags": ["a:1"]}
    v1 = {"id": ESCAPES}
    report = check(
        tar(
            Raw(ESCAPES, layer_data),
            Raw(f"{ESCAPES}2", layer_data),
            Raw(f"{ESCAPES}.json", json.dumps(config).encode()),
            Raw("manifest.json", json.dumps([entry]).encode()),
        ),
        tmp_path,
    )
    (fault,) = faults(report)
    assert "but ?]0;owned?.json says" in fault
    (note,) = report.notes
    assert note.startswith("?]0;owned? was not checked")
    report = check(
        tar(
            Raw(f"{ESCAPES}/json", json.dumps(v1).encode()),
            Raw(f"{ESCAPES}/layer.tar", layer_data),
            Raw("0" * 64 + "/json", b"{}"),
            Raw("repositories", json.dumps({"a": {"1": ESCAPES}}).encode()),
        ),
        tmp_path,
    )
    assert not faults(report)
    assert [found.digest for found in report.images] == ["sha256:?]0;owned?"]
