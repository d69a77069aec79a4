"""What a caller may choose about the network, as far as other tests do not use it."""

from __future__ import annotations

import pytest

from dockersave.errors import UsageError
from dockersave.options import Network

HUB = ["docker.io", "index.docker.io", "registry-1.docker.io", "Registry-1.Docker.io:443"]


@pytest.mark.parametrize("name", HUB)
def test_docker_hub_never_speaks_plain_http(name: str) -> None:
    assert not Network(insecure=True).speaks_plain(name)
    with pytest.raises(UsageError, match="Docker Hub speaks TLS"):
        Network(insecure_registries=(name,))


@pytest.mark.parametrize(
    ("listed", "registry", "plain"),
    [
        ("localhost:5000", "localhost:5000", True),
        ("localhost:5000", "localhost", False),
        ("localhost", "localhost:5000", False),
        ("registry.example", "Registry.Example", True),
        ("Registry.Example:80", "registry.example:80", True),
        ("registry.example", "storage.registry.example", False),
        ("[::1]:5000", "[::1]:5000", True),
        ("127.0.0.1:5000", "127.0.0.1:5001", False),
    ],
)
def test_one_registry_speaks_plain_http_and_others_do_not(
    listed: str, registry: str, plain: bool
) -> None:
    assert Network(insecure_registries=(listed,)).speaks_plain(registry) is plain
    assert Network(insecure=True, insecure_registries=(listed,)).speaks_plain(registry)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "http://localhost:5000",
        "localhost:5000/app",
        "localhost:x",
        "host",
        "a b:1",
        "10.0.0.0/8",
    ],
)
def test_what_is_no_registry(name: str) -> None:
    with pytest.raises(UsageError, match="no registry") as caught:
        Network(insecure_registries=("localhost:5000", name))
    assert "HOST[:PORT]" in caught.value.hint
