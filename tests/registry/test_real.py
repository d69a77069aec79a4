"""The real components do what the other tests rely on; where they fail, look here first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.images import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Store,
    file,
    image,
    lay_out,
    layer,
    push,
)
from tests.pace import Stopwatch, until
from tests.registry.fronts import PROXY_PASSWORD, Front, delayed, nginx
from tests.registry.real import PASSWORD, SAMPLES, USER, Registries, Registry

MANIFEST = "/v2/docker/manifests/latest"
ACCEPT = {"Accept": f"{DOCKER_MANIFEST}, {OCI_MANIFEST}"}  # a bare */* gets schema 1
BASIC = urllib3.make_headers(basic_auth=f"{USER}:{PASSWORD}")


def get(url: str, registries: Registries, **options: Any) -> urllib3.BaseHTTPResponse:
    """Fetch `url`, trusting the tests' authority."""
    headers = ACCEPT | options.pop("headers", {})
    with urllib3.PoolManager(ca_certs=str(registries.ca_file), **options) as pool:
        return pool.request("GET", url, headers=headers, retries=False)


@pytest.mark.parametrize("tls", [False, True])
def test_serves_the_samples_and_logs_each_request(registries: Registries, tls: bool) -> None:
    registry = registries.get(tls=tls)
    before = len(registry.accesses())
    answer = get(registry.url + MANIFEST, registries)
    assert answer.data == SAMPLES["docker"].manifest
    (access,) = registry.accesses()[before:]
    assert (access.method, access.path, access.status) == ("GET", MANIFEST, 200)


def test_what_is_laid_out_is_what_a_push_leaves(plain_registry: Registry, tmp_path: Path) -> None:
    fresh = image([layer([file("only", "here")])])
    documents = {"one": fresh, "several": SAMPLES["nested"], "chart": SAMPLES["helm"]}
    store = Store.of({f"pushed/{name}": each for name, each in documents.items()}, "V1")
    push(store, plain_registry.url)
    lay_out(store, tmp_path)
    pushed, ours = (folder / "docker/registry/v2" for folder in (plain_registry.storage, tmp_path))
    assert _files(ours / "repositories") == {
        f"pushed/{path}": data for path, data in _files(pushed / "repositories/pushed").items()
    }
    blobs = _files(ours / "blobs")
    assert blobs
    assert blobs.items() <= _files(pushed / "blobs").items()


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_wants_the_right_password(htpasswd_registry: Registry, registries: Registries) -> None:
    url = htpasswd_registry.url + MANIFEST
    wrong = urllib3.make_headers(basic_auth=f"{USER}:wrong")
    assert get(url, registries, headers=BASIC).status == 200
    assert get(url, registries, headers=wrong).status == 401
    assert "Basic" in get(url, registries).headers["WWW-Authenticate"]


def test_believes_only_tokens_of_its_own_server(
    token_registry: Registry, registries: Registries
) -> None:
    url, tokens = token_registry.url + MANIFEST, token_registry.tokens
    assert tokens is not None
    assert f'realm="{tokens.url}"' in get(url, registries).headers["WWW-Authenticate"]
    realm = f"{tokens.url}?scope=repository:docker:pull"
    assert get(realm, registries).status == 401
    token = get(realm, registries, headers=BASIC).json()["token"]
    stranger = registries.get(auth="token").tokens
    assert stranger is not None
    other = stranger.issue(USER, ["repository:docker:pull"])
    for bearer, path, status in [
        (token, MANIFEST, 200),
        (token, "/v2/oci/manifests/latest", 401),
        (other, MANIFEST, 401),
    ]:
        headers = {"Authorization": f"Bearer {bearer}"}
        assert get(token_registry.url + path, registries, headers=headers).status == status


def test_caches_what_it_pulled_through(
    mirror_registry: Registry, plain_registry: Registry, registries: Registries
) -> None:
    digest = SAMPLES["docker"].blobs[1].digest
    path = f"/v2/docker/blobs/{digest}"
    first = get(mirror_registry.url + path, registries)
    until(lambda: mirror_registry.has("docker", digest))
    before = sum(access.path == path for access in plain_registry.accesses())
    assert get(mirror_registry.url + path, registries).data == first.data
    assert sum(access.path == path for access in plain_registry.accesses()) == before


def test_wants_a_client_certificate(client_cert_front: Front, registries: Registries) -> None:
    url = client_cert_front.url + MANIFEST
    assert get(url, registries).status == 400
    shown = {"cert_file": str(client_cert_front.cert), "key_file": str(client_cert_front.key)}
    assert get(url, registries, **shown).status == 200


def test_limits_the_rate_of_a_connection(plain_registry: Registry, registries: Registries) -> None:
    path = f"/v2/large-config/blobs/{SAMPLES['large-config'].blobs[0].digest}"
    with nginx(registries, plain_registry, tls=False, limit_rate=1 << 20) as front:
        start = time.monotonic()
        answer = get(front.url + path, registries)
        assert len(answer.data) > 1 << 20
        assert time.monotonic() - start > 0.5


@pytest.mark.parametrize("tls", [False, True])
def test_delays_every_answer(registries: Registries, tls: bool) -> None:
    registry = registries.get(tls=tls)
    with delayed(registry.port, 0.1) as port:
        watch = Stopwatch()
        answer = get(f"{'https' if tls else 'http'}://127.0.0.1:{port}{MANIFEST}", registries)
        assert answer.data == SAMPLES["docker"].manifest
        assert watch.elapsed >= 0.1
        assert watch.own < 5


def through(front: Front, password: str, url: str, registries: Registries) -> int:
    """Return the status of a request through a proxy, the proxy's own refusals included."""
    credentials = f"{USER}:{password}" if password else None
    headers = urllib3.make_headers(proxy_basic_auth=credentials) if credentials else {}
    proxy = urllib3.ProxyManager(
        front.url, proxy_headers=headers, ca_certs=str(registries.ca_file), retries=False
    )
    try:
        with proxy:
            return proxy.request("GET", url, headers=ACCEPT).status
    except urllib3.exceptions.ProxyError as error:
        return int(str(error.original_error).rpartition("failed: ")[2].split()[0])


@pytest.mark.parametrize("tls", [False, True])
def test_passes_requests_on(proxy: Front, registries: Registries, tls: bool) -> None:
    registry = registries.get(tls=tls)
    before = len(registry.accesses())
    assert through(proxy, "", registry.url + MANIFEST, registries) == 200
    assert len(registry.accesses()) == before + 1


@pytest.mark.parametrize("tls", [False, True])
def test_proxy_wants_a_password(password_proxy: Front, registries: Registries, tls: bool) -> None:
    url = registries.get(tls=tls).url + MANIFEST
    refused = {401, 407}  # tinyproxy says 401 where it should say 407
    assert through(password_proxy, PROXY_PASSWORD, url, registries) == 200
    assert through(password_proxy, "wrong", url, registries) in refused
    assert through(password_proxy, "", url, registries) in refused
