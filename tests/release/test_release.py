"""What `make release` publishes: complete, the same bytes always, or one line and nothing."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from dockersave import __version__
from tests.processes import program
from tests.release.publishing import COMMITTED, ROOT, checkout, git, publish, script

FILES = {
    "SHA256SUMS",
    f"dockersave-{__version__}-py3-none-any.whl",
    f"dockersave-{__version__}-share.tar",
    f"dockersave-{__version__}.tar.gz",
    "dockersave-image.tar",
    "dockersave-static-amd64",
    "dockersave-static-amd64.spdx.json",
    "dockersave-static-armhf",
    "dockersave-static-armhf.spdx.json",
    f"dockersave_{__version__}_amd64.deb",
    f"dockersave_{__version__}_armhf.deb",
}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a repository with all of these sources."""
    (tmp_path / "sources").mkdir()
    return checkout(tmp_path / "sources")


def contents(dist: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in dist.iterdir()}


def test_everything_is_there_and_has_its_sum(dist: Path, binaries: dict[str, Path]) -> None:
    assert {path.name for path in dist.iterdir()} == FILES
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=dist, capture_output=True, text=True, check=True)
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == FILES - {"SHA256SUMS"}
    for arch, binary in binaries.items():
        published = dist / f"dockersave-static-{arch}"
        assert published.read_bytes() == binary.read_bytes()
        assert os.access(published, os.X_OK)


def test_twice_the_same_bytes(dist: Path, binaries: dict[str, Path], tmp_path: Path) -> None:
    """Elsewhere, years later, in another time zone, with other rights, once more."""
    elsewhere = tmp_path / "a directory" / "with-a-longer-name"
    elsewhere.mkdir(parents=True)
    done = publish(
        checkout(elsewhere),
        binaries,
        {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "SOURCE_DATE_EPOCH": "1", "NO_FAKE_STAT": "1"},
        [program("faketime"), "2039-08-07 06:05:04", "sh", "-c", 'umask 077; exec "$@"', "sh"],
    )
    assert not done.stderr
    first, second = contents(dist), contents(elsewhere / "dist")
    assert {name for name in first | second if first.get(name) != second.get(name)} == set()
    assert publish(elsewhere, binaries).returncode == 0, "what it left is no change to commit"


def test_the_wheel_is_what_the_source_distribution_makes(dist: Path, tmp_path: Path) -> None:
    wheel = f"dockersave-{__version__}-py3-none-any.whl"
    with tarfile.open(dist / f"dockersave-{__version__}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    build = "import sys; from flit_core import buildapi; buildapi.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, tmp_path],
        cwd=tmp_path / f"dockersave-{__version__}",
        env={**os.environ, "SOURCE_DATE_EPOCH": str(COMMITTED)},
        check=True,
    )
    assert (tmp_path / wheel).read_bytes() == (dist / wheel).read_bytes()
    with zipfile.ZipFile(dist / wheel) as files:
        assert "dockersave/__main__.py" in files.namelist()
        assert "dockersave/help/boot.md" in files.namelist()


def test_man_pages_and_completions_go_where_make_installs_them(dist: Path) -> None:
    listing = "print:\n\t@echo $(MANUAL)\n"
    command = ["make", "--no-print-directory", "-f", "Makefile", "-f", "-", "print"]
    done = subprocess.run(
        command, input=listing, cwd=ROOT, capture_output=True, text=True, check=True
    )
    with tarfile.open(dist / f"dockersave-{__version__}-share.tar") as archive:
        assert {name.removeprefix("share/") for name in archive.getnames()} == set(
            done.stdout.split()
        )
        assert {(entry.mode, entry.uid, entry.mtime) for entry in archive} == {
            (0o644, 0, COMMITTED)
        }


@pytest.mark.parametrize("arch", ["amd64", "armhf"])
def test_the_debian_package(
    dist: Path, binaries: dict[str, Path], tmp_path: Path, arch: str
) -> None:
    package = dist / f"dockersave_{__version__}_{arch}.deb"
    asked = ["Package", "Version", "Architecture", "Maintainer"]
    fields = subprocess.check_output(["dpkg-deb", "--field", package, *asked], text=True)
    assert fields.splitlines() == [
        "Package: dockersave",
        f"Version: {__version__}",
        f"Architecture: {arch}",
        "Maintainer: A Tester <tester@example.org>",
    ]
    subprocess.run(["dpkg-deb", "--raw-extract", package, tmp_path], check=True)
    assert (tmp_path / "usr/bin/dockersave").read_bytes() == binaries[arch].read_bytes()
    sums = ["md5sum", "--check", "--strict", "--quiet", "DEBIAN/md5sums"]
    assert subprocess.check_output(sums, cwd=tmp_path) == b""
    files = [path for path in (tmp_path / "usr").rglob("*") if path.is_file()]
    assert len((tmp_path / "DEBIAN/md5sums").read_text().splitlines()) == len(files)
    changelog = gzip.decompress((tmp_path / "usr/share/doc/dockersave/changelog.gz").read_bytes())
    assert changelog.endswith(b"<tester@example.org>  Fri, 02 Jan 2026 03:04:05 +0000\n")
    # Where man and the three shells look, and each page by its own name.
    with tarfile.open(dist / f"dockersave-{__version__}-share.tar") as archive:
        for entry in archive:
            name = entry.name.replace("site-functions", "vendor-completions")
            assert (tmp_path / "usr" / name).exists() or (tmp_path / "usr" / f"{name}.gz").exists()
    listing = subprocess.check_output(["dpkg-deb", "--contents", package], text=True)
    assert {line.split()[1] for line in listing.splitlines()} == {"root/root"}


@pytest.mark.parametrize(
    ("version", "debian", "follows"),
    [
        ("1.0.0", "1.0.0", "0.9"),
        ("1.0.0rc1", "1.0.0~rc1", "1.0.0~b2"),
        ("1.0.0.dev3", "1.0.0~dev3", "0.9"),
        ("1.0.0.post1", "1.0.0.post1", "1.0.0"),
        ("1.0.1", "1.0.1", "1.0.1~rc1"),
    ],
)
def test_debian_sorts_versions_as_python_does(version: str, debian: str, follows: str) -> None:
    facts = script("debian")["Facts"](version, "A Tester <tester@example.org>", 0)
    assert facts.debian_version == debian
    subprocess.run(["dpkg", "--compare-versions", debian, "gt", follows], check=True)


@pytest.mark.parametrize("arch", ["amd64", "armhf"])
def test_the_sbom_is_right_by_spdx_s_own_tools(
    dist: Path, binaries: dict[str, Path], arch: str
) -> None:
    path = dist / f"dockersave-static-{arch}.spdx.json"
    tool = Path(sys.executable).with_name("pyspdxtools")
    done = subprocess.run([tool, "--infile", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(path.read_text())
    components = json.loads(Path(f"{binaries[arch]}.components.json").read_text())
    whole, *parts = document["packages"]
    listed = [
        (each["name"], each.get("versionInfo", ""), each["externalRefs"][0]["referenceLocator"])
        for each in document["packages"]
    ]
    assert listed == [(each["name"], each["version"], each["purl"]) for each in components]
    assert "pkg:deb/debian/libssl3@1%3A3~a%2Bb?arch=amd64" in {place for *_, place in listed}
    (checksum,) = whole["checksums"]
    line = f"{checksum['checksumValue']}  dockersave-static-{arch}"
    assert line in (dist / "SHA256SUMS").read_text().splitlines()
    texts = {
        each["licenseId"]: each["extractedText"] for each in document["hasExtractedLicensingInfos"]
    }
    found = [texts.get(each["licenseDeclared"], "") for each in parts]
    assert found == [each["text"] for each in components[1:]]
    contained = {
        each["relatedSpdxElement"]
        for each in document["relationships"]
        if each["relationshipType"] == "CONTAINS"
    }
    assert contained == {each["SPDXID"] for each in parts}


def refused(sources: Path, binaries: dict[str, Path], env: dict[str, str] | None = None) -> str:
    """Return the line with which it ends, and see that it did nothing."""
    done = publish(sources, binaries, env)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("release: ")
    assert not (sources / "dist").exists()
    return line


@pytest.mark.parametrize("also_check", [False, True])
def test_changes_are_to_be_committed_first(
    sources: Path, binaries: dict[str, Path], also_check: bool
) -> None:
    binaries = {} if also_check else binaries  # as before the binaries are built
    (sources / "README.md").write_text("changed")
    assert refused(sources, binaries) == "release: not committed: README.md"
    (sources / "dockersave" / "new.py").touch()
    assert refused(sources, binaries) == "release: not committed: README.md and 1 more"


def test_needs_git(sources: Path, binaries: dict[str, Path]) -> None:
    shutil.rmtree(sources / ".git")
    line = refused(sources, binaries)
    assert line.startswith("release: needs the date and state of a commit: fatal: not a git repo")
    git(sources, "init", "--quiet")
    assert "does not have any commits yet" in refused(sources, binaries)


@pytest.mark.parametrize("tool", ["git", "dpkg-deb"])
def test_names_a_missing_tool(
    sources: Path, binaries: dict[str, Path], tmp_path: Path, tool: str
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for other in {"git", "dpkg-deb"} - {tool}:
        (folder / other).symlink_to(program(other))
    assert refused(sources, binaries, {"PATH": str(folder)}).startswith(
        f"release: {tool} is missing (Debian package "
    )


def test_an_old_release_stays_until_there_is_a_new_one(
    sources: Path, binaries: dict[str, Path], tmp_path: Path
) -> None:
    old = sources / "dist" / "dockersave-0.9.tar.gz"
    old.parent.mkdir()
    old.touch()
    done = publish(sources, {**binaries, "arm64": tmp_path / "not-there"})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("release: ")
    assert "not-there" in line
    assert [path.name for path in old.parent.iterdir()] == [old.name]
    assert publish(sources, binaries).returncode == 0
    assert {path.name for path in old.parent.iterdir()} == FILES


def test_make_names_the_binaries_that_it_builds() -> None:
    listing = "print:\n\t@echo $(RELEASED)\n"
    command = ["make", "--no-print-directory", "-f", "Makefile", "-f", "-", "print"]
    done = subprocess.run(
        [*command, "ARCHITECTURES=amd64 armhf"],
        input=listing, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["amd64=dockersave-static", "armhf=dockersave-static-armhf"]
