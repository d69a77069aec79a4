"""Files of authorities and certificates: unusable ones, and where a host keeps its own."""

from __future__ import annotations

import shutil
import ssl
import sys
import zlib
from pathlib import Path

import pytest
import trustme

from dockersave.errors import UsageError
from dockersave.model.options import Network
from dockersave.registry.connections.trust import Trust
from tests.images import sample_image
from tests.registry.clients import digest_from
from tests.registry.real import Registry

DIGEST = sample_image().digest


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_authorities_that_is_none(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match="cannot load authorities from"):
        Trust(Network(ca_file=str(path)), {}).context()
    with pytest.raises(UsageError, match="SSL_CERT_FILE: cannot load authorities from"):
        Trust(Network(), {"SSL_CERT_FILE": str(path)}).context()


def test_directories_of_authorities_that_are_none(authority: Path, tmp_path: Path) -> None:
    """Beside others that is no harm: a variable for all hosts names what only some have."""
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copy(authority, plain)
    named = {"SSL_CERT_DIR": f"{tmp_path}/missing:{plain}"}
    with pytest.raises(UsageError, match=f"SSL_CERT_DIR: .* in {tmp_path}/missing:") as caught:
        Trust(Network(), named).context()
    assert "openssl rehash" in caught.value.hint
    for network, environ in (
        (Network(ca_file=str(authority)), named),
        (Network(), {**named, "SSL_CERT_FILE": str(authority)}),
    ):
        assert len(Trust(network, environ).context().get_ca_certs()) == 1


def test_a_client_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    ours, other = trustme.CA().issue_cert("a.test"), trustme.CA().issue_cert("b.test")
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    other.private_key_pem.write_to_path(str(tmp_path / "key"))
    cert, key = str(tmp_path / "cert"), str(tmp_path / "key")
    for other_key in (key, None, str(tmp_path / "missing"), cert):
        with pytest.raises(UsageError, match=f"the client certificate {cert}"):
            Trust(Network(cert=cert, key=other_key), {}, registry="a").context(["a"])


def test_an_encrypted_key_does_not_ask_on_the_terminal(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    ours = trustme.CA().issue_cert("a.test")
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    key = serialization.load_pem_private_key(ours.private_key_pem.bytes(), None)
    (tmp_path / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    network = Network(cert=str(tmp_path / "cert"), key=str(tmp_path / "key"))
    with pytest.raises(UsageError, match="the key is encrypted"):
        Trust(network, {}, registry="a").context(["a"])


def test_a_certificate_without_its_key_in_certs_d(tmp_path: Path) -> None:
    folder = tmp_path / "registry.example"
    folder.mkdir()
    trustme.CA().issue_cert("a.test").cert_chain_pems[0].write_to_path(str(folder / "client.cert"))
    with pytest.raises(UsageError, match="has no key"):
        Trust(Network(), {}, certs_d=[str(tmp_path)]).context(["registry.example"])


# Where a host keeps its authorities


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """An authority's certificate."""
    path = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


def test_the_first_bundle_that_is_there(authority: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    places = [str(tmp_path / "missing"), str(broken), str(authority), "/etc/never"]
    found = Trust(Network(), {}, bundles=places, directories=())
    assert len(found.context().get_ca_certs()) == 1
    assert found.source == str(authority)


def test_a_directory_without_a_bundle(authority: Path, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    found = Trust(Network(), {}, bundles=(), directories=[str(folder)])
    found.context()
    assert found.source == "no authorities"
    shutil.copy(authority, folder / "0a1b2c3d.0")
    found = Trust(Network(), {}, bundles=(), directories=[str(folder)])
    found.context()
    assert found.source == str(folder)


@pytest.mark.parametrize(("links", "is_preferred"), [(1, False), (120, True)])
def test_a_whole_directory_goes_before_a_bundle(
    authority: Path, tmp_path: Path, links: int, is_preferred: bool
) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    for number in range(links):
        (folder / f"{number:08x}.0").symlink_to(authority)
    found = Trust(Network(), {}, bundles=[str(authority)], directories=[str(folder)])
    assert len(found.context().get_ca_certs()) == (0 if is_preferred else 1)
    assert found.source == str(folder if is_preferred else authority)


def test_the_authorities_built_in_are_the_last(
    authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = ssl.PEM_cert_to_DER_cert(authority.read_text())
    (tmp_path / "cacert.der.z").write_bytes(zlib.compress(certificate))
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    found = Trust(Network(), {}, bundles=(), directories=())
    assert len(found.context().get_ca_certs()) == 1
    assert found.source == "the built-in authorities"
    found = Trust(Network(), {}, bundles=[str(authority)], directories=())
    found.context()
    assert found.source == str(authority)


def test_what_the_user_names_is_above_all(authority: Path, tmp_path: Path) -> None:
    found = Trust(Network(), {"SSL_CERT_FILE": str(authority)})
    assert len(found.context().get_ca_certs()) == 1, "the host's bundle is not loaded too"
    own = tmp_path / "own.pem"
    trustme.CA().cert_pem.write_to_path(str(own))
    found = Trust(Network(ca_file=str(own)), {"SSL_CERT_FILE": str(authority)})
    assert len(found.context().get_ca_certs()) == 2


def test_one_context_for_all(authority: Path) -> None:
    found = Trust(Network(ca_file=str(authority)), {}, bundles=(), directories=())
    assert found.context() is found.context(["a.example"]) is found.context(["b.example"])


def test_plain_http_loads_nothing(plain_registry: Registry, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    assert digest_from(plain_registry.host, insecure=True, ca_file=missing) == DIGEST
