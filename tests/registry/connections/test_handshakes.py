"""TLS that comes to nothing: each refusal told at once, and none taken for a firewall."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from dockersave.errors import NetworkError
from dockersave.registry.connections.handshakes import of_tls
from tests.registry.clients import opened

REFUSALS = {
    "TLSV1_UNRECOGNIZED_NAME": "no certificate for this name",
    "TLSV1_ALERT_UNRECOGNIZED_NAME": "no certificate for this name",
    "TLSV1_ALERT_INTERNAL_ERROR": "breaks off the TLS handshake",  # Go with an unknown name
    "TLSV1_ALERT_ACCESS_DENIED": "breaks off the TLS handshake",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "breaks off the TLS handshake",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "wants a client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "wants a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "refuses the client certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "refuses the client certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "no TLS version or cipher in common",
    "UNSUPPORTED_PROTOCOL": "no TLS version or cipher in common",
    "VERSION_TOO_LOW": "no TLS version or cipher in common",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no TLS version or cipher in common",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "no TLS version or cipher in common",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": "no TLS version or cipher in common",
    "DH_KEY_TOO_SMALL": "no TLS version or cipher in common",
    "WRONG_VERSION_NUMBER": "does not speak TLS",
}
PASSING = [
    "UNEXPECTED_EOF_WHILE_READING", "SSLV3_ALERT_BAD_RECORD_MAC", "TLSV1_ALERT_DECRYPT_ERROR",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "TLSV1_ALERT_DECODE_ERROR",
]  # fmt: skip


def said(reason: str) -> NetworkError:
    error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
    error.reason = reason
    return of_tls(error, "registry.test", "/etc/ssl/certs")


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_a_server_will_say_again(reason: str) -> None:
    failure = said(reason)
    assert REFUSALS[reason] in failure.message
    assert not failure.transient
    assert failure.hint
    assert "firewall" not in failure.hint


@pytest.mark.parametrize("reason", PASSING)
def test_what_may_pass(reason: str) -> None:
    assert said(reason).transient


@contextmanager
def tls_server(tmp_path: Path, **settings: Any) -> Iterator[tuple[str, list[int]]]:
    """A server with a good certificate, and settings of its own; counts its connections."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    for name, value in settings.items():
        setattr(context, name, value)
    listener = socket.create_server(("127.0.0.1", 0))
    count: list[int] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                count.append(1)
                with suppress(OSError), context.wrap_socket(sock, server_side=True) as secure:
                    secure.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"localhost:{listener.getsockname()[1]}", count
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


OLD = {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1}
STRICT = {"verify_mode": ssl.CERT_REQUIRED}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"sni_callback": lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME},
            "no certificate for this name",
        ),
        (
            {"sni_callback": lambda *_: ssl.ALERT_DESCRIPTION_INTERNAL_ERROR},
            "breaks off the TLS handshake",
        ),
        (OLD, "no TLS version or cipher in common"),
        (
            STRICT | {"maximum_version": ssl.TLSVersion.TLSv1_2},
            "TLS version or cipher|client certificate",
        ),
        (STRICT | {"minimum_version": ssl.TLSVersion.TLSv1_3}, "wants a client certificate"),
    ],
    ids=["name", "internal", "old", "client 1.2", "client 1.3"],
)
def test_servers_that_refuse_are_asked_once(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with (
        tls_server(tmp_path, **settings) as (host, count),
        opened(host, ca_file=str(tmp_path / "ca.pem"), retries=5) as run,
    ):
        with pytest.raises(NetworkError, match=message) as caught:
            run.registry.manifest("sample", "latest")
        assert not run.lines
        assert len(count) == 1
        assert "firewall" not in caught.value.hint
