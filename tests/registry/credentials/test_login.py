"""Getting in: whole conversations with registries that ask who is there.

In each a canary's secrets are looked for in all that was said, logged and started, and in every
byte that reached a server which has no business with them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from dockersave.errors import CredentialsError, DockersaveError, NetworkError
from tests.images import GOOD, Store
from tests.registry import real
from tests.registry.canary import Canary
from tests.registry.clients import Run, descriptor_of, drain, opened
from tests.registry.raw_requests import get
from tests.registry.real import SAMPLES, Registries
from tests.registry.simulator import Auth, Fault, Simulator

SAMPLE = GOOD["docker"]()
REPOSITORY = "team/sample"


def simulator(canary: Canary, *, storage: bool = True, tls: bool = False, **auth: Any) -> Simulator:
    """A registry that knows the canary; its blobs are on another server, which must not."""
    known = {"user": canary.user, "password": canary.password}
    store = Store.of({REPOSITORY: SAMPLE})
    return Simulator(store, storage=storage, tls=tls, auth=Auth(**(known | auth)))


def log_in(home: Path, canary: Canary, host: str, **entry: str) -> None:
    """Do as docker login does."""
    path = home / ".docker/config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"auths": {host: entry or {"auth": canary.auth}}}))


def save(run: Run) -> None:
    """Do as a save does: manifest, config, layers."""
    assert run.registry.manifest(REPOSITORY, "latest").body == SAMPLE.manifest
    for blob in SAMPLE.blobs:
        assert drain(run.registry.blob(REPOSITORY, descriptor_of(blob))) == blob.data


def kinds(server: Simulator) -> list[str]:
    return [request.kind for request in server.requests]


def watch(canary: Canary, server: Simulator) -> None:
    canary.must_not_reach(r for r in server.requests if r.server == "storage")


# What it costs


def test_an_anonymous_registry_costs_no_more_than_its_content(home: Path) -> None:
    with Simulator(Store.of({REPOSITORY: SAMPLE})) as server, opened(server.host) as run:
        save(run)
    assert kinds(server) == ["manifest", "config", *["blob"] * (len(SAMPLE.blobs) - 1)]


@pytest.mark.parametrize("anonymous", [True, False])
def test_bearer_costs_a_challenge_and_a_token(home: Path, canary: Canary, anonymous: bool) -> None:
    with simulator(canary, anonymous=anonymous, storage=False) as server:
        if not anonymous:
            log_in(home, canary, server.host)
        with opened(server.host) as run:
            save(run)
    blobs = ["config", *["blob"] * (len(SAMPLE.blobs) - 1)]
    assert kinds(server) == ["manifest", "token", "manifest", *blobs]


def test_basic_costs_a_challenge(home: Path, canary: Canary) -> None:
    with simulator(canary, scheme="basic", storage=False) as server:
        log_in(home, canary, server.host)
        with opened(server.host) as run:
            save(run)
    assert kinds(server)[:2] == ["manifest", "manifest"]
    assert kinds(server).count("manifest") == 2


# All ways in

WAYS: dict[str, dict[str, Any]] = {
    "basic": {"scheme": "basic"},
    "bearer": {},
    "bearer, token server of its own": {"own_server": True},
    "bearer, access_token": {"token_field": "access_token"},
    "bearer, both names": {"token_field": "both"},
    "bearer, no expires_in": {"expires_in": -1},
    "bearer, expires_in 0": {"expires_in": 0},
    "bearer, no service": {"service": ""},
    "bearer, no scope": {"scope": ""},
    "bearer, query in the realm": {"realm": "{realm}?service=simulator&x=a%26b"},
    "bearer, gcr": {"silent": True},
    "harbor": {"basic_too": True},
}


@pytest.mark.parametrize("flags", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_ways_in(home: Path, canary: Canary, way: str, flags: bool) -> None:
    network: dict[str, Any] = {}
    with simulator(canary, **WAYS[way]) as server:
        if flags:
            network = {"user": canary.user, "password": canary.password}
        else:
            log_in(home, canary, server.host)
        with opened(server.host, **network) as run:
            save(run)
            canary.lines += run.lines
    watch(canary, server)
    warning = f"warning: credentials for {server.host} are sent over plain HTTP"
    assert canary.lines == [warning]
    # The password goes to the token endpoint, and nowhere else.
    if "bearer" in way:
        for request in server.requests:
            assert not canary.found_in(request.raw) or request.kind == "token"


@pytest.mark.parametrize("status", [200, 400, 401, 404, 405])
def test_identity_token(home: Path, canary: Canary, status: int) -> None:
    """`docker login` with a browser leaves no password, but an identity token (OAuth2)."""
    with simulator(canary, identity_token=canary.identity_token, oauth2=status) as server:
        log_in(home, canary, server.host, identitytoken=canary.identity_token)
        with opened(server.host) as run:
            save(run)
    watch(canary, server)
    methods = [request.method for request in server.of("token")]
    assert methods == (["POST"] if status == 200 else ["POST", "GET"])


def test_registry_token(home: Path, canary: Canary) -> None:
    with simulator(canary) as server:
        assert server.authority is not None
        url = f"{server.base_url}/token?scope=repository:{REPOSITORY}:pull"
        token = get(server, url, authorization=f"Basic {canary.auth}").json()["token"]
        server.requests.clear()
        log_in(home, canary, server.host, registrytoken=token)
        with opened(server.host) as run:
            save(run)
            assert len(server.of("token")) == 0
        server.authority.expire_tokens()
        with opened(server.host) as run, canary.fails(CredentialsError) as info:
            save(run)
        assert "refuses the token from ~/.docker/config.json" in str(info.value)
    watch(canary, server)


def test_harbor_basic_after_bearer(home: Path, canary: Canary) -> None:
    with simulator(canary, basic_too=True) as server:
        stale = {"registrytoken": "stale", "auth": canary.auth}
        log_in(home, canary, server.host, **stale)
        with opened(server.host) as run:
            save(run)
    watch(canary, server)
    assert server.of("token") == []


# In the middle


def test_a_token_that_expires_in_the_middle_is_replaced(home: Path, canary: Canary) -> None:
    with simulator(canary) as server:
        log_in(home, canary, server.host)
        with opened(server.host) as run:
            run.registry.manifest(REPOSITORY, "latest")
            for blob in SAMPLE.blobs:
                server.service.expire_tokens()
                assert drain(run.registry.blob(REPOSITORY, descriptor_of(blob))) == blob.data
            assert run.lines == [f"warning: credentials for {server.host} are sent over plain HTTP"]
    watch(canary, server)
    assert len(server.of("token")) == 1 + len(SAMPLE.blobs)


# No way in


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_no_credentials(home: Path, canary: Canary, scheme: str) -> None:
    with (
        simulator(canary, scheme=scheme) as server,
        opened(server.host) as run,
        canary.fails(CredentialsError) as info,
    ):
        save(run)
    assert str(info.value).startswith(
        f"{server.host}: {REPOSITORY} needs credentials, or does not exist"
    )
    assert f"docker login {server.host}" in info.value.hint
    assert "give user= and password=" in info.value.hint


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
@pytest.mark.parametrize("flags", [True, False])
def test_wrong_credentials(home: Path, canary: Canary, scheme: str, flags: bool) -> None:
    network: dict[str, Any] = {}
    with simulator(canary, scheme=scheme, user="somebody else") as server:
        if flags:
            network = {"user": canary.user, "password": canary.password}
        else:
            log_in(home, canary, server.host)
        with opened(server.host, **network) as run, canary.fails(CredentialsError) as info:
            save(run)
    source = "user=" if flags else "~/.docker/config.json"
    assert f"refuses the credentials of 'canary-user' from {source}" in str(info.value)
    assert ("two-factor" in info.value.hint) == flags
    assert (f"log in again with docker login {server.host}" in info.value.hint) == (not flags)


def test_a_missing_helper_does_not_break_a_public_pull(home: Path, canary: Canary) -> None:
    path = home / ".docker/config.json"
    path.parent.mkdir()
    path.write_text('{"credsStore": "not-there"}')
    with simulator(canary, anonymous=True) as server, opened(server.host) as run:
        save(run)
        (line,) = run.lines
    assert "docker-credential-not-there in ~/.docker/config.json cannot be used" in line
    with (
        simulator(canary) as server,
        opened(server.host) as run,
        canary.fails(CredentialsError) as info,
    ):
        save(run)
    assert "docker-credential-not-there" in str(info.value)
    assert "not installed" in str(info.value)


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_a_registry_that_repeats_what_it_was_sent(
    home: Path, canary: Canary, scheme: str, status: int
) -> None:
    with simulator(canary, scheme=scheme) as server:
        log_in(home, canary, server.host)
        with opened(server.host) as run:
            save(run)
            sent = server.of("manifest")[-1].headers["authorization"]
            secret = canary.password if scheme == "basic" else sent.removeprefix("Bearer ")
            message = f"{'x' * 150} {sent} is not allowed, nor is {secret}"
            server.faults.add(Fault.error("DENIED", message, status, on="manifest"))
            with canary.fails(DockersaveError) as info:
                save(run)
    shown = f"{info.value} {info.value!r}"
    assert "DENIED" in shown
    assert "***" in shown
    assert sent.partition(" ")[2][:20] not in shown


# Attacks


def test_a_realm_over_http_gets_nothing_from_an_https_registry(
    home: Path, canary: Canary, tmp_path: Path
) -> None:
    with simulator(canary) as attacker:
        realm = f"http://{attacker.host}/token"
        with simulator(canary, tls=True, realm=realm) as server:
            ca_file = tmp_path / "ca.pem"
            ca_file.write_bytes(server.ca_pem)
            log_in(home, canary, server.host)
            trusting = opened(server.host, ca_file=str(ca_file))
            with trusting as run, canary.fails(CredentialsError) as info:
                save(run)
    assert "over plain HTTP" in str(info.value)
    assert attacker.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("identity", [False, True])
def test_a_token_endpoint_that_redirects_elsewhere(
    home: Path, canary: Canary, status: int, identity: bool
) -> None:
    entry = {"identitytoken": canary.identity_token} if identity else {"auth": canary.auth}
    with simulator(canary) as attacker, simulator(canary) as server:
        canary.must_not_reach(attacker.requests)
        location = f"http://{attacker.host}/token"
        server.faults.add(Fault.redirect(location, status=status, on="token"))
        log_in(home, canary, server.host, **entry)
        with opened(server.host) as run, canary.fails(NetworkError) as info:
            save(run)
    assert "the token endpoint redirects to another host" in str(info.value)
    assert attacker.requests == []


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
@pytest.mark.parametrize("theirs", ["basic", "bearer"])
def test_a_redirect_to_a_host_that_asks_for_credentials(
    home: Path, canary: Canary, scheme: str, theirs: str
) -> None:
    """Another host's challenge does not get credentials."""
    with simulator(canary, scheme=theirs) as attacker, simulator(canary, scheme=scheme) as server:
        canary.must_not_reach(attacker.requests)
        location = f"http://{attacker.host}/v2/{REPOSITORY}/manifests/latest"
        log_in(home, canary, server.host)
        for flags in ({}, {"user": canary.user, "password": canary.password}):
            server.faults.add(Fault.redirect(location, on="manifest"))
            with opened(server.host, **flags) as run, canary.fails(CredentialsError) as info:
                save(run)
    assert attacker.requests
    assert attacker.host in str(info.value)


def test_a_mirror_gets_no_credentials_of_the_registry(home: Path, canary: Canary) -> None:
    with simulator(canary) as mirror, simulator(canary) as server:
        canary.must_not_reach(mirror.requests)
        network = {"user": canary.user, "password": canary.password}
        with opened(server.host, mirrors=(f"http://{mirror.host}",), **network) as run:
            save(run)
    assert mirror.requests


def test_a_mirror_gets_its_own(home: Path, canary: Canary) -> None:
    other = Canary()
    with simulator(other) as mirror, simulator(canary) as server:
        other.must_not_reach(server.requests)
        canary.must_not_reach(mirror.requests)
        log_in(home, other, mirror.host)
        network = {"user": canary.user, "password": canary.password}
        with opened(server.host, mirrors=(f"http://{mirror.host}",), **network) as run:
            save(run)
    other.check()
    assert mirror.of("config", "storage")


# Real registries


@pytest.mark.parametrize("kind", ["htpasswd", "token"])
@pytest.mark.parametrize("flags", [True, False])
def test_a_real_registry(home: Path, registries: Registries, kind: Any, flags: bool) -> None:
    registry = registries.get(tls=True, auth=kind)
    network: dict[str, Any] = {"ca_file": str(registries.ca_file)}
    if flags:
        network |= {"user": real.USER, "password": real.PASSWORD}
    else:
        auth = base64.b64encode(f"{real.USER}:{real.PASSWORD}".encode()).decode()
        log_in(home, Canary(), registry.host, auth=auth)
    sample = SAMPLES["docker"]
    before = len(registry.accesses())
    with opened(registry.host, **network) as run:
        assert run.registry.manifest("docker", "latest").body == sample.manifest
        for blob in sample.blobs:
            assert drain(run.registry.blob("docker", descriptor_of(blob))) == blob.data
    statuses = [access.status for access in registry.accesses()[before:]]
    assert statuses == [401, 200, *[200] * len(sample.blobs)]


def test_a_real_registry_by_identity_token(
    home: Path, canary: Canary, registries: Registries
) -> None:
    registry = registries.get(tls=True, auth="token")
    assert registry.tokens is not None
    canary.identity_token = registry.tokens.identity_token
    log_in(home, canary, registry.host, identitytoken=canary.identity_token)
    before = len(registry.tokens.requests)
    with opened(registry.host, ca_file=str(registries.ca_file)) as run:
        assert run.registry.manifest("docker", "latest").body == SAMPLES["docker"].manifest
    assert [method for method, _ in registry.tokens.requests[before:]] == ["POST"]


def test_a_real_registry_refuses(home: Path, canary: Canary, registries: Registries) -> None:
    for kind in ("htpasswd", "token"):
        registry = registries.get(tls=True, auth=kind)
        log_in(home, canary, registry.host)
        with (
            opened(registry.host, ca_file=str(registries.ca_file)) as run,
            canary.fails(CredentialsError) as info,
        ):
            run.registry.manifest("docker", "latest")
        assert "refuses the credentials of 'canary-user' from ~/.docker" in str(info.value)
        canary.say(registry.log.read_text())
