"""The simulator does what its faults say: a test double that is wrong makes every test wrong."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import urllib3

from tests.images import Store, random_layer, read, sample_image
from tests.images import image as build_image
from tests.pace import Stopwatch
from tests.registry import tokens
from tests.registry.faults import Fault
from tests.registry.raw_requests import blob, exchange, get
from tests.registry.simulator import Auth, Simulator, Tls, spawn

SAMPLE = sample_image()
BIG = SAMPLE.layers[2]


@pytest.fixture(name="registry")
def _registry() -> Iterator[Simulator]:
    with Simulator(Store.of({"a/b": SAMPLE})) as registry:
        yield registry


def test_it_serves_what_the_store_has(registry: Simulator) -> None:
    assert get(registry, "").status == 200
    manifest = get(registry, "a/b/manifests/latest")
    assert (manifest.status, manifest.data) == (200, SAMPLE.manifest)
    assert manifest.headers["Docker-Content-Digest"] == SAMPLE.digest
    assert manifest.headers["Content-Type"] == SAMPLE.media_type
    assert get(registry, f"a/b/manifests/{SAMPLE.digest}").data == SAMPLE.manifest
    assert get(registry, f"a/b/blobs/{SAMPLE.config_digest}").data == SAMPLE.config
    assert get(registry, blob(BIG)).data == BIG.data
    head = get(registry, blob(BIG), "HEAD")
    assert (head.headers["Content-Length"], head.data) == (str(BIG.size), b"")
    seen = [(request.kind, request.method, request.status) for request in registry.requests]
    assert seen == [
        ("ping", "GET", 200),
        ("manifest", "GET", 200),
        ("manifest", "GET", 200),
        ("config", "GET", 200),
        ("blob", "GET", 200),
        ("blob", "HEAD", 200),
    ]
    assert [request.sent for request in registry.of("blob")] == [BIG.size, 0]


@pytest.mark.parametrize(
    "path",
    ["a/b/manifests/none", "x/y/manifests/latest", f"a/b/blobs/sha256:{'0' * 64}", "x/tags/list"],
)
def test_what_is_not_there_is_an_error_of_the_api(registry: Simulator, path: str) -> None:
    answer = get(registry, path)
    assert answer.status == 404
    assert json.loads(answer.data)["errors"][0]["code"].endswith("_UNKNOWN")


def test_a_client_that_does_not_name_the_media_type_is_refused(registry: Simulator) -> None:
    wrong = get(registry, "a/b/manifests/latest", Accept="application/vnd.oci.image.index.v1+json")
    assert wrong.status == 404


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("10-19", 10, 20), ("10-", 10, None), ("-7", -7, None), ("5-99999999", 5, None)],
)
def test_ranges(registry: Simulator, asked: str, start: int, stop: int | None) -> None:
    answer = get(registry, blob(BIG), Range=f"bytes={asked}")
    expected = read(BIG.data)[start:stop]
    first = start % BIG.size
    assert (answer.status, answer.data) == (206, expected)
    last = first + len(expected) - 1
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{BIG.size}"


def test_a_range_behind_the_end_is_refused(registry: Simulator) -> None:
    answer = get(registry, blob(BIG), Range=f"bytes={BIG.size}-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{BIG.size}")


@pytest.mark.parametrize("absolute", [False, True])
def test_tags_come_in_pages(absolute: bool) -> None:
    store = Store()
    tags = [f"tag-{number:02}" for number in range(7)]
    store.add("a/b", SAMPLE, *tags)
    with Simulator(store, page_size=3, absolute_links=absolute) as registry:
        found, path = [], f"{registry.base_url}/v2/a/b/tags/list"
        while path:
            answer = get(registry, path)
            found += json.loads(answer.data)["tags"]
            link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers.get("Link", ""))
            path = "" if link is None else link[1]
            assert path.startswith("http://") == (absolute and link is not None)
            path = path if absolute or not path else registry.base_url + path
    assert found == tags
    assert len(registry.of("tags")) == 3


def test_blobs_on_disk_and_computed_ones_are_served_alike(tmp_path: Path) -> None:
    kept = random_layer(3 << 20, 1, "none", tmp_path)
    computed = random_layer(3 << 20, 1)
    assert isinstance(kept.data, Path)
    store = Store.of({"kept": build_image([kept]), "computed": build_image([computed])})
    assert kept.digest == computed.digest
    with Simulator(store) as registry:
        for asked in ("", "bytes=1000000-2999999"):
            headers = {"Range": asked} if asked else {}
            answers = [
                get(registry, f"{name}/blobs/{kept.digest}", **headers).data
                for name in ("kept", "computed")
            ]
            assert answers[0] == answers[1]
            assert len(answers[0]) == (2_000_000 if asked else kept.size)


def test_tls_is_trusted_through_its_authority(tmp_path: Path) -> None:
    with Simulator(Store.of({"a/b": SAMPLE}), tls=True) as registry:
        (tmp_path / "ca.pem").write_bytes(registry.ca_pem)
        url = f"{registry.base_url}/v2/a/b/manifests/latest"
        with urllib3.PoolManager(ca_certs=str(tmp_path / "ca.pem"), retries=False) as pool:
            assert pool.request("GET", url).data == SAMPLE.manifest
        with pytest.raises(urllib3.exceptions.SSLError):
            get(registry, url)
        assert exchange(registry, "").startswith(b"HTTP/1.0 400")
    with Simulator(Store(), tls=Tls(names=("elsewhere.test",))) as registry:
        context = ssl.create_default_context(cadata=registry.ca_pem.decode())
        with (
            urllib3.PoolManager(ssl_context=context, retries=False) as pool,
            pytest.raises(urllib3.exceptions.SSLError, match="mismatch"),
        ):
            pool.request("GET", f"{registry.base_url}/v2/")


# Authentication


def credentials(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_basic_authentication() -> None:
    with Simulator(Store.of({"a/b": SAMPLE}), auth=Auth("basic")) as registry:
        refused = get(registry, "")
        assert (refused.status, refused.headers["WWW-Authenticate"][:6]) == (401, "Basic ")
        wrong = credentials("user", "wrong")
        assert get(registry, "a/b/manifests/latest", Authorization=wrong).status == 401
        right = credentials("user", "password")
        assert get(registry, "a/b/manifests/latest", Authorization=right).status == 200


@pytest.mark.parametrize("own_server", [False, True])
def test_bearer_authentication(own_server: bool) -> None:
    auth = Auth(own_server=own_server, identity_token="identity")
    with Simulator(Store.of({"a/b": SAMPLE, "c": SAMPLE}), auth=auth) as registry:
        challenge = get(registry, "a/b/manifests/latest").headers["WWW-Authenticate"]
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        assert fields["scope"] == "repository:a/b:pull"
        assert (registry.host in fields["realm"]) != own_server
        ask = f"{fields['realm']}?service={fields['service']}&scope={fields['scope']}"
        assert get(registry, ask).status == 401
        given_token = get(registry, ask, Authorization=credentials("user", "password"))
        answer = json.loads(given_token.data)
        assert answer["expires_in"] == 300
        bearer = f"Bearer {answer['token']}"
        assert get(registry, "a/b/manifests/latest", Authorization=bearer).status == 200
        assert get(registry, "c/manifests/latest", Authorization=bearer).status == 401
        with urllib3.PoolManager() as pool:
            fields = {"grant_type": "refresh_token", "refresh_token": "identity", "scope": "x"}
            form = pool.request("POST", ask.split("?")[0], fields=fields, encode_multipart=False)
        assert form.status == 200
        registry.faults.add(Fault.expire_tokens(on="manifest", times=1))
        assert get(registry, "a/b/manifests/latest", Authorization=bearer).status == 401
        assert registry.authority is not None
        assert answer["token"] in registry.authority.issued
        server = {request.server for request in registry.of("token")}
        assert server == ({"token"} if own_server else {"registry"})


def test_tokens_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(Store.of({"a/b": SAMPLE}), auth=Auth(lifetime=60, anonymous=True)) as registry:
        ask = f"{registry.base_url}/token?scope=repository:a/b:pull"
        bearer = "Bearer " + json.loads(get(registry, ask).data)["token"]
        assert get(registry, "a/b/manifests/latest", Authorization=bearer).status == 200
        later = time.monotonic() + 61
        monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: later))
        assert get(registry, "a/b/manifests/latest", Authorization=bearer).status == 401


# Storage


def test_blobs_are_redirected_to_signed_addresses() -> None:
    with Simulator(Store.of({"a/b": SAMPLE}), storage=True) as registry:
        answer = get(registry, blob(BIG))
        place = answer.headers["Location"]
        assert answer.status == 307
        assert registry.storage_host in place
        assert registry.storage_host != registry.host
        assert get(registry, place).data == BIG.data
        assert get(registry, place, Authorization="Bearer leaked").status == 400
        assert get(registry, place[:-1] + "x").status == 403
        registry.faults.add(Fault.expire_urls(on="storage", times=1))
        assert get(registry, place).status == 403
        assert get(registry, get(registry, blob(BIG)).headers["Location"]).data == BIG.data


def test_signed_addresses_expire() -> None:
    with Simulator(Store.of({"a/b": SAMPLE}), storage=True, storage_lifetime=0.05) as registry:
        place = get(registry, blob(BIG)).headers["Location"]
        time.sleep(0.06)
        assert get(registry, place).status == 403


# Its life


def test_it_ends_while_it_answers() -> None:
    with Simulator(Store.of({"a/b": SAMPLE})) as registry:
        registry.faults.add(
            Fault.stall_after(10, on="blob", times=2), Fault.delay(60, on="manifest")
        )
        sockets = []
        host, port = registry.host.split(":")
        for path in (blob(BIG), blob(BIG), "a/b/manifests/latest"):
            sock = socket.create_connection((host, int(port)))
            sock.sendall(f"GET /v2/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            sockets.append(sock)
        while len(registry.requests) < 3:
            time.sleep(0.001)
        watch = Stopwatch()
    assert watch.own < 5, "it waits for its own delays"
    assert not [thread for thread in threading.enumerate() if "-connection" in thread.name]
    for sock in sockets:
        sock.close()


def test_it_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    fault = Fault.status(503, on="blob").as_json()
    arguments = ("--sample", "oci", "--layers", "2", "--layer-size", "5000", "--fault", fault)
    authority = str(tmp_path / "ca.pem")
    with (
        spawn(*arguments, "--tls", "--ca-out", authority) as host,
        urllib3.PoolManager(ca_certs=authority, retries=False) as pool,
    ):
        layers = pool.request("GET", f"https://{host}/v2/big/manifests/latest").json()["layers"]
        assert len(layers) == 2
        place = f"https://{host}/v2/big/blobs/{layers[0]['digest']}"
        assert pool.request("GET", place).status == 503
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"https://{host}/v2/", retries=False)


def test_stops_while_connections_arrive() -> None:
    for number in range(2000):
        with Simulator(Store.of({})) as server:
            host, _, port = server.host.partition(":")
            client = socket.create_connection((host, int(port)))
            if number % 2:
                client.close()
        client.close()
        assert not [thread for thread in threading.enumerate() if "-connection" in thread.name]
