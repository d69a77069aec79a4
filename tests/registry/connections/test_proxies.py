"""Requests through proxies: which one, when none, and what it may refuse."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from dockersave.errors import CredentialsError, DockersaveError, NetworkError, UsageError
from dockersave.registry.connections.proxies import EVEN_LOOPBACK, proxy_for, split_credentials
from tests.images import sample_image
from tests.pace import until
from tests.processes import Daemon, answers, free_port, scratch
from tests.registry.clients import Run, descriptor_of, drain, opened
from tests.registry.connections.test_warm import idle
from tests.registry.fronts import PROXY_PASSWORD, Front
from tests.registry.real import USER, Registries, Registry

PROXY = "http://proxy.example:3128"
BOTH = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://a.example/", {}, None),
        ("https://a.example/", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://a.example/", {"https_proxy": PROXY}, PROXY),
        ("https://a.example/", {"HTTP_PROXY": PROXY}, None),
        ("http://a.example/", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://a.example/", {"HTTPS_PROXY": PROXY}, None),
        ("https://a.example/", {"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, PROXY),
        ("https://a.example/", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://a.example/", {"HTTPS_PROXY": f" {PROXY} "}, PROXY),
        ("https://a.example/", {"HTTPS_PROXY": ""}, None),
        ("https://a.example/", {"HTTPS_PROXY": "https://p.example"}, "https://p.example"),
        ("http://a.example/", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None),
        ("http://a.example/", {"http_proxy": PROXY, "REQUEST_METHOD": "GET"}, PROXY),
    ],
)
def test_which_proxy(url: str, environ: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(url, environ) == proxy


@pytest.mark.parametrize(
    ("url", "excluded"),
    [
        ("https://a.example/", "*"),
        ("https://a.example/", "a.example"),
        ("https://A.Example/", "a.example"),
        ("https://a.example./", "a.example"),
        ("https://b.a.example/", "a.example"),
        ("https://b.a.example/", ".a.example"),
        ("https://b.a.example/", "*.a.example"),
        ("https://a.example/", "x,  a.example ,y"),
        ("https://a.example/", "x a.example"),
        ("https://a.example/", "a.example:443"),
        ("http://a.example/", "a.example:80"),
        ("https://a.example:5000/", "a.example:5000"),
        ("https://a.example:5000/", "a.example"),
        ("https://192.0.2.7/", "192.0.2.7"),
        ("https://192.0.2.7:5000/", "192.0.2.7:5000"),
        ("https://192.0.2.7/", "192.0.2.0/24"),
        ("https://192.0.2.7/", "192.0.2.9/24"),
        ("https://[2001:db8::7]/", "2001:db8::/32"),
        ("https://[2001:db8::7]/", "2001:db8:0::7"),
        ("https://[2001:db8::7]:5000/", "[2001:db8::7]:5000"),
        ("https://[2001:db8::7]:5000/", "[2001:db8::7]"),
        ("https://localhost/", ""),
        ("https://sub.localhost:5000/", ""),
        ("https://127.0.0.1:5000/", ""),
        ("https://127.8.8.8/", ""),
        ("https://[::1]/", ""),
        ("https://a.example/", f"{EVEN_LOOPBACK},a.example"),
    ],
)
def test_what_no_proxy_excludes(url: str, excluded: str) -> None:
    assert proxy_for(url, {**BOTH, "NO_PROXY": excluded}) is None
    assert proxy_for(url, {**BOTH, "no_proxy": excluded, "NO_PROXY": ""}) is None


@pytest.mark.parametrize(
    ("url", "excluded"),
    [
        ("https://a.example/", ""),
        ("https://a.example/", "b.example"),
        ("https://ba.example/", "a.example"),
        ("https://a.example/", ".a.example"),
        ("https://a.example/", "*.a.example"),
        ("https://a.example.evil/", "a.example"),
        ("https://a.example/", "a.example:5000"),
        ("https://192.0.2.7/", "192.0.3.0/24"),
        ("https://192.0.2.7/", "192.0.2"),
        ("https://a.example/", "192.0.2.0/24"),
        ("https://192.0.2.7/", "192.0.2.0/999"),
        ("https://192.0.2.7/", "2001:db8::/32"),
        ("https://a.example/", "::/0"),
        ("https://a.example/", ",,: :: /"),
        ("https://127.0.0.1:5000/", EVEN_LOOPBACK),
        ("https://localhost/", EVEN_LOOPBACK),
    ],
)
def test_what_it_does_not_exclude(url: str, excluded: str) -> None:
    assert proxy_for(url, {**BOTH, "NO_PROXY": excluded}) == PROXY


@pytest.mark.parametrize(
    "value", ["http://", "socks5://proxy.example:1080", "http://p:99999", "http://[::1", "://"]
)
def test_what_is_no_proxy(value: str) -> None:
    with pytest.raises(
        UsageError, match=("HTTPS_PROXY is not the address of an http or https proxy")
    ):
        proxy_for("https://a.example/", {"HTTPS_PROXY": value})


def test_a_secret_in_a_wrong_address_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        proxy_for("https://a.example/", {"HTTPS_PROXY": f"ftp://me:{PROXY_PASSWORD}@p:1"})
    assert PROXY_PASSWORD not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("proxy", "address", "headers"),
    [
        (PROXY, PROXY, {}),
        (f"{PROXY}/", PROXY, {}),
        ("http://a:b@p:1", "http://p:1", {"proxy-authorization": "Basic YTpi"}),
        ("http://a:%C3%BC%40@p:1", "http://p:1", {"proxy-authorization": "Basic YTrDvEA="}),
        ("http://a@p:1", "http://p:1", {"proxy-authorization": "Basic YTo="}),
    ],
)
def test_credentials_of_a_proxy(proxy: str, address: str, headers: dict[str, str]) -> None:
    assert split_credentials(proxy) == (address, headers)


# Through squid and tinyproxy


@pytest.fixture(autouse=True)
def _loopback_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", EVEN_LOOPBACK)


@pytest.fixture(params=["http", "https"])
def real(
    request: pytest.FixtureRequest, plain_registry: Registry, tls_registry: Registry
) -> Registry:
    """A real registry, and how it is spoken to."""
    return plain_registry if request.param == "http" else tls_registry


def through(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Send everything through a proxy."""
    monkeypatch.setenv("HTTP_PROXY", url)
    monkeypatch.setenv("HTTPS_PROXY", url)


def trusting(real: Registry) -> dict[str, object]:
    """The options that a real registry is spoken to with."""
    return {"ca_file": str(real.ca_file)} if real.tls else {"insecure": True}


def fetch_all(run: Run) -> None:
    """Fetch a sample's manifest, a layer, and a range of it."""
    layer = sample_image().layers[2]
    descriptor = descriptor_of(layer)
    assert run.registry.manifest("docker", "latest").digest == sample_image().digest
    whole = drain(run.registry.blob("docker", descriptor))
    assert len(whole) == layer.size
    assert drain(run.registry.blob("docker", descriptor, 100, 5000)) == whole[100:5000]


def test_through_a_proxy(real: Registry, proxy: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    through(monkeypatch, proxy.url)
    before = len(proxy.requests())
    with opened(real.host, **trusting(real)) as run:
        fetch_all(run)
    # A tunnel is logged when it has ended.
    until(lambda: any(real.host in line for line in proxy.requests()[before:]))


def test_connections_ahead_through_a_proxy(
    real: Registry, proxy: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    through(monkeypatch, proxy.url)
    with opened(real.host, **trusting(real)) as run:
        run.registry.warm(2)
        until(lambda: idle(run) == 2)
        made = next(run.registry._transport._watch.numbers)
        fetch_all(run)
        if real.tls:  # tinyproxy ends a connection with each answer of plain HTTP
            assert next(run.registry._transport._watch.numbers) == made + 1, "none was made anew"
        assert run.registry.latency is None, "the proxy is near, the registry need not be"


def logged(proxy: Front, real: Registry) -> list[str]:
    """What a proxy has logged about a registry: one more request, for nobody, is awaited first."""
    word = uuid.uuid4().hex
    with urllib3.ProxyManager(proxy.url, retries=False, timeout=60) as pool:
        pool.request("GET", f"http://127.0.0.1:9/{word}")
    until(lambda: any(word in line for line in proxy.requests()))
    return [line for line in proxy.requests() if real.host in line]


@pytest.mark.parametrize("excluded", [EVEN_LOOPBACK + ",{host}", ""], ids=["named", "loopback"])
def test_past_a_proxy(
    real: Registry, proxy: Front, monkeypatch: pytest.MonkeyPatch, excluded: str
) -> None:
    through(monkeypatch, proxy.url)
    monkeypatch.setenv("NO_PROXY", excluded.format(host=real.host))
    before = logged(proxy, real)
    with opened(real.host, **trusting(real)) as run:
        fetch_all(run)
    assert logged(proxy, real) == before


def test_a_proxy_with_credentials(
    real: Registry, password_proxy: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    through(monkeypatch, f"http://{USER}:{PROXY_PASSWORD}@{password_proxy.host}")
    with opened(real.host, **trusting(real)) as run:
        fetch_all(run)
    assert PROXY_PASSWORD not in real.log.read_text()


@pytest.mark.parametrize("login", ["", f"{USER}:wrong-canary@"])
def test_a_proxy_that_wants_other_credentials(
    login: str, real: Registry, password_proxy: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    through(monkeypatch, f"http://{login}{password_proxy.host}")
    with opened(real.host, **trusting(real)) as run, pytest.raises(DockersaveError) as caught:
        run.registry.manifest("docker", "latest")
    assert "wrong-canary" not in str(caught.value) + caught.value.hint
    if isinstance(caught.value, CredentialsError):
        # without a tunnel, tinyproxy answers wrong ones instead of the registry
        assert (bool(login), real.tls) == (True, False)
    else:
        assert re.search(r"proxy.* wants credentials \(40[17]\)", caught.value.message)
        assert "http://USER:PASSWORD@HOST:PORT" in caught.value.hint


def test_a_proxy_that_refuses_to_connect(
    tls_registry: Registry, proxy: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens where it is to connect to: it says 500 or 503."""
    through(monkeypatch, proxy.url)
    with opened("127.0.0.1:9", ca_file=str(tls_registry.ca_file)) as run:
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("docker", "latest")
        assert f"the proxy {proxy.host} refuses to connect to 127.0.0.1:9: 50" in str(caught.value)
        assert "NO_PROXY" in caught.value.hint


@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_that_is_not_there(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    through(monkeypatch, f"http://{USER}:{PROXY_PASSWORD}@127.0.0.1:9")
    with opened("registry.test", insecure=not tls) as run:
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("docker", "latest")
        assert str(caught.value) == "the proxy 127.0.0.1:9: connection refused"
        assert caught.value.unreachable


def test_an_https_proxy(
    real: Registry, tls_proxy: str, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through(monkeypatch, f"https://{tls_proxy}")
    with opened(real.host, ca_file=str(ca_file), insecure=not real.tls) as run:
        fetch_all(run)


def test_an_https_proxy_that_is_not_trusted(
    real: Registry, tls_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    through(monkeypatch, f"https://{tls_proxy}")
    with opened(real.host, insecure=not real.tls) as run:
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("docker", "latest")
        assert "its certificate comes from an unknown issuer" in caught.value.message
        assert f"the proxy {tls_proxy}" in caught.value.message


@pytest.fixture(scope="module")
def tls_proxy(registries: Registries) -> Iterator[str]:
    """A squid that is spoken to over TLS, with a certificate of the registries' authority."""
    folder, port = scratch("squid-tls"), free_port()
    folder.chmod(0o777)  # it drops its privileges before it opens the logs
    pem = folder / "proxy.pem"
    shutil.copy(registries.certificate_file, pem)
    pem.chmod(0o644)
    lines = [
        f"https_port 127.0.0.1:{port} tls-cert={pem} tls-key={pem}",
        "pid_filename none",
        "access_log none",
        f"cache_log {folder}/cache.log",
        "cache deny all",
        "shutdown_lifetime 0 seconds",
        "pinger_enable off",
        "http_access allow localhost",
    ]
    (folder / "squid.conf").write_text("\n".join(lines) + "\n")
    command: list[str | Path] = ["squid", "-N", "-n", f"tls{port}", "-f", folder / "squid.conf"]
    with Daemon(command, folder / "output", lambda: answers(port)):
        yield f"127.0.0.1:{port}"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ca_file(tls_registry: Registry) -> Path:
    """The authority of the registries, and of the proxy."""
    assert tls_registry.ca_file
    return tls_registry.ca_file
