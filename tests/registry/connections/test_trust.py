"""Whom TLS trusts, where that comes from, and failures told apart."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from dockersave.errors import NetworkError
from dockersave.registry.connections import trust
from dockersave.registry.connections.trust import Trust
from tests.images import Store, image, random_layer, sample_image
from tests.registry.clients import digest_from, opened
from tests.registry.fronts import Front
from tests.registry.real import Registries, Registry
from tests.registry.simulator import Fault, Simulator, Tls

SAMPLE = image([random_layer(1000)])
STORE = Store.of({"sample": SAMPLE})
DIGEST = sample_image().digest


@pytest.fixture(autouse=True)
def _bare_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host without certs.d and without variables that say where authorities are."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def certs_d(name: str) -> Path:
    """Where the user keeps what one registry needs; made."""
    folder = Path(os.environ["HOME"], ".config/containers/certs.d", name)
    folder.mkdir(parents=True)
    return folder


def failure_of(host: str, *, lasting: bool = True, **network: Any) -> NetworkError:
    """How a request fails."""
    with opened(host, **{"insecure": False, **network}) as run:
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("sample", "latest")
        assert lasting != caught.value.transient
        return caught.value


# A registry with a certificate of its own authority


def test_an_authority_from_the_command_line(tls_registry: Registry) -> None:
    assert digest_from(tls_registry.host, ca_file=str(tls_registry.ca_file)) == DIGEST


def test_an_authority_from_certs_d(tls_registry: Registry) -> None:
    assert tls_registry.ca_file
    shutil.copy(tls_registry.ca_file, certs_d(tls_registry.host) / "ca.crt")
    assert digest_from(tls_registry.host) == DIGEST


def test_an_authority_in_certs_d_is_trusted_for_its_registry_only(
    tls_registry: Registry, htpasswd_registry: Registry
) -> None:
    assert tls_registry.ca_file
    shutil.copy(tls_registry.ca_file, certs_d(tls_registry.host) / "ca.crt")
    failure = failure_of(htpasswd_registry.host)
    assert "its certificate comes from an unknown issuer" in failure.message


@pytest.mark.parametrize("root", trust.CERTS_D)
def test_certs_d_of_docker_and_of_containers(
    root: str, tls_registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tls_registry.ca_file
    folder = tmp_path / root.lstrip("/") / tls_registry.host
    folder.mkdir(parents=True)
    shutil.copy(tls_registry.ca_file, folder / "ca.crt")
    moved = tuple(f"{tmp_path}{path}" for path in trust.CERTS_D)
    monkeypatch.setattr(Trust.__init__, "__kwdefaults__", {**DEFAULTS, "certs_d": moved})
    assert digest_from(tls_registry.host) == DIGEST


DEFAULTS = dict(Trust.__init__.__kwdefaults__ or {})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "{file}"),
        ("SSL_CERT_DIR", "{folder}/right"),
        ("SSL_CERT_DIR", "{folder}/missing:{folder}/other:{folder}/right:"),
    ],
)
def test_an_authority_from_the_environment(
    variable: str,
    value: str,
    tls_registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert tls_registry.ca_file
    for name in ("other", "right"):
        (tmp_path / name).mkdir()
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other/0a1b2c3d.0"))
    hashed = f"{subject_hash(tls_registry.ca_file)}.0"
    shutil.copy(tls_registry.ca_file, tmp_path / "right" / hashed)
    monkeypatch.setenv(variable, value.format(file=tls_registry.ca_file, folder=tmp_path))
    assert digest_from(tls_registry.host) == DIGEST


def subject_hash(certificate: Path) -> str:
    """The name by which OpenSSL finds an authority in a directory."""
    import subprocess

    command = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_without_checking(tls_registry: Registry) -> None:
    assert digest_from(tls_registry.host, skip_tls_verify=True) == DIGEST


def test_localhost_needs_no_name_server(
    tls_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    name = f"localhost:{tls_registry.port}"
    assert digest_from(name, ca_file=str(tls_registry.ca_file)) == DIGEST


# Client certificates, as nginx wants them


def test_a_client_certificate_from_the_command_line(
    client_cert_front: Front, registries: Registries
) -> None:
    pair = {"cert": str(client_cert_front.cert), "key": str(client_cert_front.key)}
    assert digest_from(client_cert_front.host, ca_file=str(registries.ca_file), **pair) == DIGEST


def test_a_client_certificate_from_certs_d(
    client_cert_front: Front, registries: Registries
) -> None:
    assert client_cert_front.cert
    assert client_cert_front.key
    folder = certs_d(client_cert_front.host)
    shutil.copy(client_cert_front.cert, folder / "client.cert")
    shutil.copy(client_cert_front.key, folder / "client.key")
    shutil.copy(registries.ca_file, folder / "ca.crt")
    assert digest_from(client_cert_front.host) == DIGEST


def test_a_client_certificate_that_is_missing(
    client_cert_front: Front, registries: Registries
) -> None:
    failure = failure_of(client_cert_front.host, ca_file=str(registries.ca_file))
    assert "wants a client certificate" in failure.message
    assert "cert=" in failure.hint
    assert f"certs.d/{client_cert_front.host}" in failure.hint


def test_a_client_certificate_of_a_stranger(
    client_cert_front: Front, registries: Registries, tmp_path: Path
) -> None:
    stranger = trustme.CA().issue_cert("stranger@example.test")
    stranger.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "stranger.pem"))
    ca_file, cert = str(registries.ca_file), str(tmp_path / "stranger.pem")
    failure = failure_of(client_cert_front.host, ca_file=ca_file, cert=cert)
    assert "certificate" in failure.message


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_ends_the_handshake_without_a_client_certificate(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    with tls_server(context) as host:
        failure = failure_of(host, ca_file=str(tmp_path / "ca.pem"))
    assert "client certificate" in failure.message + failure.hint


def test_the_client_certificate_is_shown_to_its_registry_only(tmp_path: Path) -> None:
    """The storage that a registry redirects to must not learn who is asking."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = authority.issue_cert("client@example.test")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    cert = str(tmp_path / "client.pem")
    shown: list[bool] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    with tls_server(context, shown) as storage:
        location = f"https://{storage}/x"
        with Simulator(STORE, tls=True) as server:
            merged = tmp_path / "both.pem"
            merged.write_bytes(authority.cert_pem.bytes() + server.ca_pem)
            server.faults.add(Fault.redirect(location))
            failure_of(server.host, ca_file=str(merged), cert=cert, lasting=False)
        failure_of(storage, ca_file=str(merged), cert=cert, lasting=False)
    assert shown == [False, True]


@contextmanager
def tls_server(context: ssl.SSLContext, shown: list[bool] | None = None) -> Iterator[str]:
    """A server that shakes hands, notes whether a certificate was shown, and leaves."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = server.accept()
                except OSError:
                    return
                with context.wrap_socket(
                    accepted, server_side=True, do_handshake_on_connect=False
                ) as sock:
                    try:
                        sock.do_handshake()
                        sock.recv(1)
                        if shown is not None:
                            shown.append(bool(sock.getpeercert()))
                    except OSError:
                        # To close with bytes unread would overtake the alert.
                        with contextlib.suppress(OSError):
                            socket.socket.shutdown(sock, socket.SHUT_WR)
                            while socket.socket.recv(sock, 65536):
                                pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


# Failures told apart


def test_an_unknown_issuer(tls_registry: Registry) -> None:
    failure = failure_of(tls_registry.host)
    assert failure.message == f"{tls_registry.host}: its certificate comes from an unknown issuer"
    assert "ca_file='FILE'" in failure.hint
    assert f"/etc/docker/certs.d/{tls_registry.host}/ca.crt" in failure.hint


def test_an_unknown_issuer_although_an_authority_was_given(
    tls_registry: Registry, tmp_path: Path
) -> None:
    """It was the wrong one: the hint says that it was read."""
    wrong = tmp_path / "wrong.pem"
    trustme.CA().cert_pem.write_to_path(str(wrong))
    hint = failure_of(tls_registry.host, ca_file=str(wrong)).hint
    assert "trusted now: " in hint
    assert f"and {wrong})" in hint


NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("certificate", "message", "hint"),
    [
        (Tls(("elsewhere.example",)), "is for another name", "use a name in the certificate"),
        (Tls(("127.0.0.2",)), "is for another name", "use a name in the certificate"),
        (Tls(not_before=NOW - 9 * DAY, not_after=NOW - DAY), "has expired", "must renew it"),
        (Tls(not_before=NOW + DAY, not_after=NOW + 9 * DAY), "is not yet valid", "clock says"),
    ],
    ids=["name", "address", "expired", "not yet valid"],
)
def test_certificates_that_are_wrong(
    certificate: Tls, message: str, hint: str, tmp_path: Path
) -> None:
    with Simulator(STORE, tls=certificate) as server:
        (tmp_path / "ca.pem").write_bytes(server.ca_pem)
        failure = failure_of(server.host, ca_file=str(tmp_path / "ca.pem"))
        assert failure.message == f"{server.host}: its certificate {message}"
        assert hint in failure.hint
        assert not server.requests


def test_a_host_that_booted_in_1970(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message names the clock's date; urllib3's own warning stays away."""
    tomorrow = Tls(not_before=NOW + DAY, not_after=NOW + 9 * DAY)
    with Simulator(STORE, tls=tomorrow) as server:
        (tmp_path / "ca.pem").write_bytes(server.ca_pem)
        monkeypatch.setattr(
            "urllib3.connection.RECENT_DATE", datetime.date.today() + datetime.timedelta(days=365)
        )
        monkeypatch.setattr(time, "strftime", lambda *_: "1970-01-01")
        failure = failure_of(server.host, ca_file=str(tmp_path / "ca.pem"))
    assert failure.hint == "this host's clock says 1970-01-01: set it; wait= waits for it"


def test_a_clock_that_is_set_while_we_wait(tmp_path: Path) -> None:
    """Without a battery, it is set some seconds after the network is up."""
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    with Simulator(STORE, tls=Tls(not_before=soon, not_after=soon + DAY)) as server:
        (tmp_path / "ca.pem").write_bytes(server.ca_pem)
        network = {"insecure": False, "ca_file": str(tmp_path / "ca.pem"), "wait": 30}
        with opened(server.host, **network) as run:
            assert run.registry.manifest("sample", "latest").digest == SAMPLE.digest
    said = f"{server.host}: its certificate is not yet valid, waiting up to 30 s"
    assert run.lines == [said]


def test_no_tls_at_all(plain_registry: Registry) -> None:
    failure = failure_of(plain_registry.host)
    assert failure.message == f"{plain_registry.host}: does not speak TLS"
    assert "insecure=True" in failure.hint


def test_tls_where_none_was_expected(tls_registry: Registry) -> None:
    failure = failure_of(tls_registry.host, insecure=True)
    assert failure.message == f"{tls_registry.host}: speaks TLS"
    assert "insecure=True" in failure.hint


def test_a_server_that_only_knows_old_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tls_server(context) as host:
        failure = failure_of(host, ca_file=str(tmp_path / "ca.pem"))
    assert "no TLS version or cipher in common" in failure.message
