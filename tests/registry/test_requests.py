"""Whole runs cost exactly the requests that they must, on real registries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dockersave
from dockersave.model.options import Network
from tests.images import Image, sample_image, sample_index
from tests.pace import until
from tests.registry.real import PASSWORD, USER, Access, Registries, Registry


def saved(registry: Registry, repository: str, folder: Path, **network: object) -> list[Access]:
    """Save an image, and return what the registry was asked for."""
    before = len(registry.accesses())
    trust = {"ca_file": str(registry.ca_file)} if registry.tls else {"insecure": True}
    dockersave.save(
        registry.reference(repository),
        output=folder / "image.tar",
        network=Network(**{**trust, **network}),  # type: ignore[arg-type]
    )
    return registry.accesses()[before:]


def wanted_by(image: Image, repository: str) -> Iterator[str]:
    """The paths of an image's config and of its layers, each once."""
    for digest in {image.config_digest, *(layer.digest for layer in image.layers)}:
        yield f"/v2/{repository}/blobs/{digest}"


@pytest.mark.parametrize("tls", [False, True])
def test_an_anonymous_registry(
    tls: bool, registries: Registries, home: Path, tmp_path: Path
) -> None:
    asked = saved(registries.get(tls=tls), "docker", tmp_path)
    wanted = ["/v2/docker/manifests/latest", *wanted_by(sample_image(), "docker")]
    assert all((access.method, access.status) == ("GET", 200) for access in asked)
    assert sorted(access.path for access in asked) == sorted(wanted)


def test_an_index_is_one_level_more(plain_registry: Registry, home: Path, tmp_path: Path) -> None:
    index = sample_index()
    asked = saved(plain_registry, "multi", tmp_path)
    manifests = [access.path for access in asked if "/manifests/" in access.path]
    assert manifests[0] == "/v2/multi/manifests/latest"
    assert manifests[1] in {f"/v2/multi/manifests/{part.digest}" for part in index.walk()}
    assert len(manifests) == 2
    blobs = [access.path for access in asked if "/blobs/" in access.path]
    assert len(blobs) == len(set(blobs)) == len(asked) - 2


def test_an_image_that_has_not_changed(
    plain_registry: Registry, home: Path, tmp_path: Path
) -> None:
    first = saved(plain_registry, "docker", tmp_path)
    again = saved(plain_registry, "docker", tmp_path)
    assert len(again) <= 2 < len(first)
    assert not [access for access in again if "layer" in access.path]


@pytest.mark.parametrize("anonymous", [True, False])
def test_tokens_cost_a_challenge_and_a_token(
    anonymous: bool, registries: Registries, home: Path, tmp_path: Path
) -> None:
    registry = registries.get(tls=True, auth="token", anonymous=anonymous)
    assert registry.tokens
    tokens = len(registry.tokens.requests)
    login = {} if anonymous else {"user": USER, "password": PASSWORD}
    asked = saved(registry, "docker", tmp_path, **login)
    wanted = ["/v2/docker/manifests/latest", *wanted_by(sample_image(), "docker")]
    assert [access.status for access in asked] == [401] + [200] * len(wanted)
    assert sorted(access.path for access in asked[1:]) == sorted(wanted)
    assert len(registry.tokens.requests) == tokens + 1


def test_basic_costs_a_challenge(htpasswd_registry: Registry, home: Path, tmp_path: Path) -> None:
    asked = saved(htpasswd_registry, "docker", tmp_path, user=USER, password=PASSWORD)
    wanted = ["/v2/docker/manifests/latest", *wanted_by(sample_image(), "docker")]
    assert [access.status for access in asked] == [401] + [200] * len(wanted)


def test_a_mirror_leaves_one_head_to_the_registry(
    plain_registry: Registry, mirror_registry: Registry, home: Path, tmp_path: Path
) -> None:
    saved(mirror_registry, "docker", tmp_path)
    blobs = {sample_image().config_digest, *(layer.digest for layer in sample_image().layers)}
    until(lambda: all(mirror_registry.has("docker", blob) for blob in blobs))
    (tmp_path / "image.tar").unlink()
    asked = saved(plain_registry, "docker", tmp_path, mirrors=(mirror_registry.url,))
    ours = [access for access in asked if "ns=" not in access.path and access.method == "HEAD"]
    assert ours
    assert not [access for access in asked if "/blobs/" in access.path]
