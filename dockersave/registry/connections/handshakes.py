"""Turn TLS errors into messages that say what to do. The clock is read: it may be to blame."""

from __future__ import annotations

import ssl
import time

from ...errors import NetworkError, shown
from ...spelling import argument

_ISSUER = {18, 19, 20, 21, 2, 27, 33}
_TOO_WEAK = {66, 67, 68}
_TOO_OLD = (
    *("protocol version", "unsupported protocol", "version too low", "wrong ssl version"),
    *("handshake failure", "insufficient security", "legacy renegotiation", "key too small"),
    "legacy sigalg",  # OpenSSL 3.0's error for TLS 1.1, whose signatures it rejects as too weak
)
_GARBLED = ("record mac", "decrypt error", "decryption failed", "decode error", "record overflow")
"""Alerts about damage in transit."""
_LOCAL = {"LIBRARY_HAS_NO_CIPHERS", "NO_CIPHERS_AVAILABLE", "NO_PROTOCOLS_AVAILABLE"}
"""Errors of OpenSSL before it has sent anything."""


def of_tls(cause: ssl.SSLError, name: str, authorities: str) -> NetworkError:
    """Translate an exception of OpenSSL.

    Args:
        cause: the exception.
        name: the host of the connection.
        authorities: where the trusted authorities came from.
    """
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _of_certificate(cause, name, authorities)
    # Python has no names for reasons that newer versions of OpenSSL added.
    reason = (cause.reason or shown(str(cause))).replace("_", " ").lower()
    if cause.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"} or (
        "record layer failure" in reason
    ):
        return NetworkError(
            f"{name}: does not speak TLS",
            f"if it speaks plain HTTP, add {argument('insecure')}, or "
            + argument("insecure_registries", name),
        )
    if "certificate required" in reason or "bad certificate" in reason:
        return NetworkError(
            f"{name}: wants a client certificate",
            f"give {argument('cert')} and {argument('key')}, or put client.cert and client.key "
            f"into /etc/docker/certs.d/{name}/",
        )
    if "unknown ca" in reason or "certificate unknown" in reason or "certificate expired" in reason:
        return NetworkError(
            f"{name}: refuses the client certificate ({reason})",
            "it must be issued by the registry's authority",
        )
    if "unrecognized name" in reason:
        return NetworkError(
            f"{name}: has no certificate for this name, and refuses it (SNI)",
            "is the name right? the server's operator must add it there",
        )
    if any(words in reason for words in _TOO_OLD):
        return NetworkError(
            f"{name}: no TLS version or cipher in common ({reason})",
            "TLS 1.2 or later is needed; some servers say this when they want a client certificate "
            f"({argument('cert')}, {argument('key')})",
        )
    if cause.reason in _LOCAL:
        return NetworkError(
            f"{name}: OpenSSL on this host cannot do TLS ({reason})",
            "fix its configuration, openssl.cnf or the file that OPENSSL_CONF names",
        )
    if "alert" in reason and not any(words in reason for words in _GARBLED):
        # The server refused on purpose, and will again.
        return NetworkError(
            f"{name}: breaks off the TLS handshake ({reason})",
            "some servers say this when they have no certificate for the name, or want a"
            f" client certificate ({argument('cert')}, {argument('key')})",
        )
    return NetworkError(
        f"{name}: TLS failed ({reason})",
        "is a firewall or a proxy in between? another network may help",
        transient=True,
    )


def _of_certificate(
    cause: ssl.SSLCertVerificationError, name: str, authorities: str
) -> NetworkError:
    code, today = cause.verify_code, time.strftime("%Y-%m-%d")
    if code == 9:
        return NetworkError(
            f"{name}: its certificate is not yet valid",
            f"this host's clock says {today}: set it",
            unreachable=True,
        )
    if code == 10:
        return NetworkError(
            f"{name}: its certificate has expired",
            f"its operator must renew it (if this host's clock is right: it says {today})",
        )
    if code in {62, 64}:
        return NetworkError(
            f"{name}: its certificate is for another name",
            "use a name in the certificate (openssl s_client shows it)",
        )
    if code in _ISSUER:
        return NetworkError(
            f"{name}: its certificate comes from an unknown issuer",
            f"trust the issuer with {argument('ca_file', 'FILE')} or "
            f"/etc/docker/certs.d/{name}/ca.crt (trusted now: {authorities})",
        )
    fault = "is too weak" if code in _TOO_WEAK else "cannot be verified"
    return NetworkError(
        f"{name}: its certificate {fault} ({cause.verify_message})", "its operator must replace it"
    )
