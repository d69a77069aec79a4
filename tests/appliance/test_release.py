"""A release of the real binary: what is in it runs, and lintian and `--licenses` agree with it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave import __version__
from tests.appliance.conftest import ARCH
from tests.engines.docker import Docker
from tests.engines.judges import Judges
from tests.processes import program
from tests.release.publishing import checkout, publish


@pytest.fixture(scope="module")
def dist(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with the release."""
    sources = checkout(tmp_path_factory.mktemp("sources"))
    done = publish(sources, {ARCH: binary})
    assert not done.stderr
    return sources / "dist"


@pytest.fixture(scope="module")
def judges() -> Iterator[Judges]:
    """Return all engines by name."""
    running = Judges()
    yield running
    running.close()


def package(dist: Path) -> Path:
    return dist / f"dockersave_{__version__}_{ARCH}.deb"


def test_lintian_has_nothing_to_say(dist: Path) -> None:
    command = [program("lintian"), "--allow-root", "--fail-on", "error,warning"]
    done = subprocess.run([*command, package(dist)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_package_s_command_runs(dist: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", package(dist), tmp_path], check=True)
    said = subprocess.check_output([tmp_path / "usr/bin/dockersave", "--version"], text=True)
    assert said == f"dockersave {__version__}\n"


def test_the_sbom_has_what_licenses_has(dist: Path) -> None:
    binary = dist / f"dockersave-static-{ARCH}"
    text = subprocess.check_output([binary, "--licenses"], text=True)
    listed, _, texts = text.partition("=" * 72)
    titles = [line.removeprefix("- ") for line in listed.strip().splitlines()]
    titles = [title for title in titles if not title.endswith("to which others point")]
    document = json.loads((dist / f"{binary.name}.spdx.json").read_text())
    assert len(titles) == len(document["packages"]) > 10
    for each in document["packages"]:
        name, version = each["name"], each.get("versionInfo", "")
        name = {"zstd": "Zstandard", "ziglang": "zig"}.get(name, name)
        pattern = re.compile(rf"(Debian package )?{re.escape(f'{name} {version}'.strip())}\b")
        assert any(map(pattern.match, titles)), f"{name} {version}"
    for each in document["hasExtractedLicensingInfos"]:
        assert each["extractedText"].strip() in texts, each["licenseId"]


def test_the_image_runs_in_docker(dist: Path, judges: Judges) -> None:
    docker = judges["docker"]
    assert isinstance(docker, Docker)
    (name,) = docker.load(dist / "dockersave-image.tar")
    run = ("run", "--rm", "--network", "none", "--read-only", name)
    assert docker.docker(*run, "--version") == f"dockersave {__version__}\n"


@pytest.mark.parametrize(
    "engine", ["podman", "containerd", "skopeo docker-archive", "skopeo oci-archive"]
)
def test_every_engine_has_the_binary(engine: str, dist: Path, judges: Judges) -> None:
    ((_, tree),) = judges[engine].load_and_export(dist / "dockersave-image.tar")
    (line,) = [
        line for line in (dist / "SHA256SUMS").read_text().splitlines() if line.endswith("-amd64")
    ]
    assert tree["dockersave"].content == f"sha256:{line.split()[0]}"
    assert tree["dockersave"].mode == 0o755
