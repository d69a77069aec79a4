"""The judges themselves: they accept correct images, and refuse those with one wrong bit."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.engines.judge import Refused
from tests.engines.judges import Judges
from tests.engines.trees import built, differences
from tests.images import CMD, ENV, GOOD, LABELS, sample_image
from tests.images.documents import Flavor
from tests.processes import program
from tests.registry.real import Registries, Registry

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
    folder = tmp_path_factory.mktemp("archives")
    return {
        transport: save_with_skopeo(plain_registry.reference(sample), transport, folder / transport)
        for transport, sample in SAMPLE.items()
    }


def save_with_skopeo(reference: str, transport: str, path: Path) -> Path:
    name = reference if transport == "docker-archive" else "latest"
    places = [f"docker://{reference}", f"{transport}:{path}:{name}"]
    command = [program("skopeo"), "copy", "--quiet", "--src-tls-verify=false", *places]
    subprocess.run(command, check=True)
    return path


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
    name: str, judges: Judges, registries: Registries, tmp_path: Path
) -> None:
    """In an image of its own: Docker 26 keeps the layers of images that are gone."""
    flavor: Flavor = "docker" if READS[name] == "docker-archive" else "oci"
    registries.push({f"flipped-{flavor}": sample_image(flavor=flavor, seed=26)})
    reference = registries.get().reference(f"flipped-{flavor}")
    source = save_with_skopeo(reference, READS[name], tmp_path / "right.tar")
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
