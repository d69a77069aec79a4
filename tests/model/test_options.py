"""What a caller may choose about the network, as far as other tests do not use it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import UsageError
from dockersave.model.options import Network, Options
from dockersave.resolving.session import Session
from tests.images import Store, image, random_layer
from tests.registry.simulator import Simulator

HUB = ["docker.io", "index.docker.io", "registry-1.docker.io", "Registry-1.Docker.io:443"]
HUB += ["registry.hub.docker.com"]


@pytest.mark.parametrize("name", HUB)
def test_docker_hub_never_speaks_plain_http(name: str) -> None:
    assert not Network(insecure=True).speaks_plain(name)
    with pytest.raises(UsageError, match="Docker Hub only speaks TLS"):
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
        ("[0:0:0:0:0:0:0:1]:5000", "[::1]:5000", True),
        ("[FD00::A]", "[fd00:0::000a]", True),
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
    with pytest.raises(UsageError, match="not a registry") as caught:
        Network(insecure_registries=("localhost:5000", name))
    assert "HOST[:PORT]" in caught.value.hint


def test_a_login_in_the_name_of_a_registry_is_not_shown() -> None:
    with pytest.raises(UsageError, match="not a registry") as caught:
        Network(insecure_registries=("me:hunter2@r.example.com",))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"jobs": 2.5}, {"limit_rate": "2M"}, {"retries": None}, {"timeout": "5"}], ids=str
)
def test_what_is_no_number(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(TypeError, match=f"^{name} must be a number, not "):
        Network(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"skip_tls_verify": "false"},
        {"insecure": 1},
        {"jobs": True},
        {"user": ["me"]},
        {"user": "me", "password": b"hunter2"},
        {"mirrors": 3},
        {"mirrors": [3]},
    ],
    ids=str,
)
def test_what_is_of_another_type(wrong: dict[str, Any]) -> None:
    """The text "false" is true, and would switch off the checking of certificates."""
    with pytest.raises(TypeError) as caught:
        Network(**wrong)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"cache_size": "5G"}, {"cache_size": None}, {"gunzip": "no"}, {"working_dir": None}]
)
def test_options_of_another_type(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(TypeError, match=rf"^{name} must be "):
        Options(**wrong)


@pytest.mark.parametrize("kind", [Network, Options])
def test_every_field_has_a_type_that_is_checked(kind: Any) -> None:
    for name in kind.__dataclass_fields__:
        with pytest.raises(TypeError, match=rf"(^{name} |not iterable)"):
            kind(**{name: object()})


@pytest.mark.parametrize(
    "wrong",
    [{"policy": ""}, {"platform": ""}, {"output": ""}, {"output": "a\0b"}, {"reuse": ["a\0b"]}],
    ids=str,
)
def test_a_text_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    """An empty policy would be none."""
    [name] = wrong
    with pytest.raises(UsageError, match=rf"^(the )?{name}.* (is empty|has a null character)"):
        Options(**wrong)


def test_all_platforms_in_any_case() -> None:
    assert Options(platform="ALL").platform == "all"


def test_a_password_after_the_name_is_refused_and_not_shown() -> None:
    """As curl and skopeo take it. As a name it would be sent, and be shown by a refusal."""
    with pytest.raises(UsageError, match="without a colon") as caught:
        Network(user="me:hunter2")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert "password=" in caught.value.hint


def test_one_run_takes_from_a_plain_registry_and_from_one_with_tls(tmp_path: Path) -> None:
    sample = image([random_layer(1000)])
    store = Store.of({"sample": sample})
    with Simulator(store) as plain, Simulator(store, tls=True) as secure:
        (tmp_path / "ca.pem").write_bytes(secure.ca_pem)
        network = Network(
            ca_file=str(tmp_path / "ca.pem"), insecure_registries=(plain.host,), retries=0
        )
        with closing(Session(network, Cancellation(), lambda line: None)) as session:
            for host in (plain.host, secure.host):
                assert session.registry(host).manifest("sample", "latest").digest == sample.digest
    assert not any(request.secure for request in plain.requests)
    assert all(request.secure for request in secure.requests)
