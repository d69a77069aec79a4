"""The judges themselves: they take what is right, and refuse what is wrong by one bit."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.engines.judge import Refused
from tests.engines.judges import Judges
from tests.engines.trees import built, differences
from tests.images import CMD, ENV, GOOD, LABELS
from tests.processes import program
from tests.registry.real import Registry

READS = {
    "skopeo docker-archive": "docker-archive",
    "skopeo oci-archive": "oci-archive",
    "podman": "docker-archive",
    "docker": "docker-archive",
    "containerd": "docker-archive",
    "umoci": "oci-archive",
}
"""What skopeo writes for which judge: neither of its archives is for all of them."""


SAMPLE = {"docker-archive": "docker", "oci-archive": "oci"}
"""What skopeo writes into which of its archives without turning one format into the other."""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory, plain_registry: Registry) -> dict[str, Path]:
    """Save the samples with skopeo, in both of its formats."""
    paths = {}
    for transport, sample in SAMPLE.items():
        reference = plain_registry.reference(sample)
        path = tmp_path_factory.mktemp("archives") / "image.tar"
        name = reference if transport == "docker-archive" else "latest"
        places = [f"docker://{reference}", f"{transport}:{path}:{name}"]
        command = [program("skopeo"), "copy", "--quiet", "--src-tls-verify=false", *places]
        subprocess.run(command, check=True)
        paths[transport] = path
    return paths


@pytest.mark.parametrize("name", READS)
def test_takes_what_skopeo_wrote(name: str, judges: Judges, archives: dict[str, Path]) -> None:
    image = GOOD[SAMPLE[READS[name]]]()
    judge = judges[name]
    judge.forget()
    (loaded,) = judge.load(archives[READS[name]])
    assert loaded.rpartition(":")[2] == "latest"
    facts = judge.inspect(loaded)
    assert facts.platform == "linux/amd64"
    assert (facts.env, facts.cmd, facts.labels) == (ENV, CMD, LABELS)
    assert facts.image_id == image.config_digest
    assert not differences(built(image), judge.export(loaded))


@pytest.mark.parametrize("name", READS)
def test_refuses_a_flipped_bit(
    name: str, judges: Judges, archives: dict[str, Path], tmp_path: Path
) -> None:
    source = archives[READS[name]]
    with tarfile.open(source) as tar:
        layer = max(tar, key=lambda member: member.size)
    content = bytearray(source.read_bytes())
    content[layer.offset_data + layer.size // 2] ^= 1
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(content)
    judge = judges[name]
    judge.forget()
    with pytest.raises(Refused):
        judge.load(damaged)


def test_sees_every_difference_of_two_trees() -> None:
    tree = built(GOOD["docker"]())
    assert not differences(tree, tree)
    for path, node in tree.items():
        less = {other: tree[other] for other in tree if other != path}
        assert differences(tree, less) == [f"{path}: built {node}, found None"]
        assert differences(less, tree) == [f"{path}: not built, found {node}"]
