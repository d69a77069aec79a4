"""The image in a release: every engine loads it, and has the binary for each platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockersave import __version__, check_archive
from tests.engines.containerd import SNAPSHOTTER, Containerd
from tests.engines.judges import Judges
from tests.engines.trees import Node, Tree, differences
from tests.images import digest_of

NAME = f"dockersave:{__version__}"
FULL_NAME = f"docker.io/library/{NAME}"
PLATFORMS = {"amd64": "linux/amd64", "armhf": "linux/arm/v7"}


def tree(binary: Path) -> Tree:
    return {
        "dockersave": Node("file", 0o755, (0, 0), digest_of(binary)),
        "images": Node("directory", 0o755, (0, 0)),
    }


def test_it_is_a_right_archive(dist: Path) -> None:
    report = check_archive(dist / "dockersave-image.tar")
    assert report.is_right
    assert {name for found in report.images for name in found.names} == {FULL_NAME}


@pytest.mark.parametrize("engine", ["docker", "skopeo docker-archive"])
def test_engines_without_indexes_have_a_name_for_each(
    engine: str, judges: Judges, dist: Path, binaries: dict[str, Path]
) -> None:
    judge = judges[engine]
    trees = dict(judge.load_and_export(dist / "dockersave-image.tar"))
    assert trees.keys() == {NAME, f"{NAME}-amd64", f"{NAME}-armhf"}
    for arch, binary in binaries.items():
        found = dict(trees[f"{NAME}-{arch}"])
        found.pop("etc", None)  # Docker's own, in every container
        assert not differences(tree(binary), found)
        facts = judge.inspect(f"{NAME}-{arch}")
        assert facts.platform == PLATFORMS[arch]
        assert facts.labels["org.opencontainers.image.version"] == __version__


@pytest.mark.parametrize("engine", ["podman", "containerd"])
def test_the_others_take_this_machine_s(
    engine: str, judges: Judges, dist: Path, binaries: dict[str, Path]
) -> None:
    ((name, found),) = judges[engine].load_and_export(dist / "dockersave-image.tar")
    assert name.endswith(f"/{NAME}")
    assert not differences(tree(binaries["amd64"]), found)


def test_containerd_takes_all_if_it_is_told_to(judges: Judges, dist: Path) -> None:
    judge = judges["containerd"]
    assert isinstance(judge, Containerd)
    judge.forget()
    archive = dist / "dockersave-image.tar"
    judge.ctr("images", "import", "--all-platforms", *SNAPSHOTTER, archive)
    _, row = judge.ctr("images", "ls", f"name=={FULL_NAME}").splitlines()
    assert all(platform in row for platform in PLATFORMS.values())


def test_skopeo_takes_the_platform_that_is_asked_for(
    judges: Judges, dist: Path, binaries: dict[str, Path], tmp_path: Path
) -> None:
    judge = judges["skopeo oci-archive"]
    source = f"oci-archive:{dist / 'dockersave-image.tar'}:{__version__}"
    for arch, words in {"amd64": ["amd64"], "armhf": ["arm", "--override-variant", "v7"]}.items():
        target = f"dir:{tmp_path}/{arch}"
        judge.run("skopeo", "--override-arch", *words, "copy", "--quiet", source, target)
        config = judge.json("skopeo", "inspect", "--config", target)
        assert config["config"]["Entrypoint"] == ["/dockersave"]
        layers = [path.read_bytes() for path in (tmp_path / arch).iterdir()]
        assert any(binaries[arch].read_bytes() in layer for layer in layers)
