"""Whether archives are what they claim to be. What engines wrote is checked in tests/engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dockersave.archive.read.verify import check_archive
from dockersave.model.formats import FORMATS
from tests.archive.handmade_tars import extract
from tests.archive.read.reports import check, faults
from tests.archive.resolved_images import archive
from tests.compressors import COMPRESSORS
from tests.images import GOOD, INDEXES, file, foreign, image, layer

FAR = foreign(layer([file("far", "far\n")]), "https://foreign.invalid/far.tar.gz")
NEAR = layer([file("near", "near\n")])


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


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_archives(kind: str, samples: dict[str, Path], tmp_path: Path) -> None:
    data = COMPRESSORS[kind](samples["docker"].read_bytes())
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
