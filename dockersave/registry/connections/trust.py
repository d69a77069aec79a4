"""TLS trust: authorities, client certificates, and where hosts keep them."""

from __future__ import annotations

import os
import ssl
import sys
import threading
import zlib
from collections.abc import Iterable, Mapping

from ...errors import UsageError
from ...model.options import Network

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL, CentOS
    "/etc/ssl/cert.pem",  # Alpine, OpenWrt, BSD
)
"""Files with all authorities of a host; the same as in Go's crypto/x509 (root_linux.go)."""

DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/tls/certs")
"""Directories where OpenSSL looks up an authority by the hash of its name, on demand."""

BUILT_IN = "cacert.der.z"
"""The authorities of the static binary: certificates in DER, compressed with zlib."""

_ALL = 50
"""A directory with fewer is a local addition; distributions trust twice as many."""

CERTS_D = ("/etc/containers/certs.d", "/etc/docker/certs.d")
"""Directories with a subdirectory per registry: `*.crt` authorities, `*.cert` and `*.key` pairs."""


class Trust:
    """Creates TLS contexts, each once and on demand: a bundle takes 20 ms to load.

    Args:
        network: `skip_tls_verify`, `ca_file`, `cert` and `key`.
        environ: for SSL_CERT_FILE, SSL_CERT_DIR and HOME.
        socket_class: the class of the contexts' sockets.
        registry: the name of the only one that gets the client certificate of `network`.
        bundles, directories, certs_d: where to look.
    """

    def __init__(
        self,
        network: Network,
        environ: Mapping[str, str],
        socket_class: type[ssl.SSLSocket] = ssl.SSLSocket,
        *,
        registry: str = "",
        bundles: Iterable[str] = BUNDLES,
        directories: Iterable[str] = DIRECTORIES,
        certs_d: Iterable[str] = CERTS_D,
    ) -> None:
        self._network = network
        self._environ = environ
        self._socket_class = socket_class
        self._registry = registry
        self._bundles = tuple(bundles)
        self._directories = tuple(directories)
        home = environ.get("HOME")
        own = (f"{home}/.config/containers/certs.d",) if home else ()
        self._certs_d = own + tuple(certs_d)
        self._lock = threading.Lock()
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        self.source = "no authorities"
        """Where the host's authorities came from, for messages."""

    @property
    def trusted(self) -> str:
        """Where all authorities came from, for messages."""
        return " and ".join(filter(None, (self.source, self._network.ca_file)))

    def context(self, names: Iterable[str] = ()) -> ssl.SSLContext:
        """The context for one host.

        Args:
            names: the host's directories in certs.d.

        Raises:
            UsageError: a file that the user named, or put in certs.d, cannot be used.
        """
        names = tuple(names)
        authorities, pairs = self._extras(names)
        key = (*authorities, "|", *(str(pair) for pair in pairs))
        with self._lock:
            if key not in self._contexts:
                self._contexts[key] = self._make(authorities, pairs)
            return self._contexts[key]

    def _extras(self, names: tuple[str, ...]) -> tuple[list[str], list[tuple[str, str]]]:
        """Authorities, and certificates with their keys, for one host only."""
        authorities: list[str] = []
        pairs: list[tuple[str, str]] = []
        for directory in (os.path.join(root, name) for root in self._certs_d for name in names):
            try:
                files = sorted(os.path.join(directory, file) for file in os.listdir(directory))
            except OSError:
                continue
            authorities += [file for file in files if file.endswith(".crt")]
            for certificate in (file for file in files if file.endswith(".cert")):
                key = f"{certificate.removesuffix('.cert')}.key"
                if key not in files:
                    raise UsageError(
                        f"{certificate} has no key",
                        f"its key belongs in {key}; an authority's certificate ends in .crt",
                    )
                pairs.append((certificate, key))
        if self._network.cert and self._registry in names:
            pairs = [(self._network.cert, self._network.key or self._network.cert)]
        return authorities, pairs

    def _make(self, authorities: list[str], pairs: list[tuple[str, str]]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.sslsocket_class = self._socket_class
        if self._network.skip_tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            # A certificate that the user trusts is sufficient, whoever issued it.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            own = [*filter(None, (self._network.ca_file, *authorities))]
            self._load_host(context, is_all=not own)
            for file in own:
                _load(context, file)
        for certificate, key in pairs:
            try:
                context.load_cert_chain(certificate, key, password=_no_password)
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"the client certificate {certificate} with the key {key}: {_reason(error)}",
                    "both are PEM files; the key belongs to the certificate and is not encrypted",
                ) from None
        return context

    def _load_host(self, context: ssl.SSLContext, *, is_all: bool) -> None:
        """Trust the host's authorities, or the embedded ones if the host has none.

        Args:
            is_all: nothing else is trusted, so variables without authorities are an error.
        """
        file, listed = (self._environ.get(f"SSL_CERT_{what}", "") for what in ("FILE", "DIR"))
        if file or listed:
            # OpenSSL's list, with locations that only some hosts have.
            directories = [path for path in listed.split(":") if _hashed(path)]
            if is_all and not (file or directories):
                raise UsageError(
                    f"SSL_CERT_DIR: there are no authorities in {listed}",
                    "name directories prepared by openssl rehash, separated by :",
                )
            if file:
                _load(context, file, "SSL_CERT_FILE")
            for path in directories:
                context.load_verify_locations(capath=path)
            self.source = " and ".join(filter(None, (file, *directories))) or self.source
            return
        embedded = getattr(sys, "_MEIPASS", None)
        last = [os.path.join(embedded, BUILT_IN)] if embedded else []
        # Looking one authority up costs nothing, loading all takes 30 to 80 ms.
        whole = [path for path in self._directories if len(_hashed(path)) >= _ALL]
        for path in (*whole, *self._bundles, *self._directories, *last):
            if self._offers(context, path):
                self.source = "the built-in authorities" if path in last else path
                return
        context.set_default_verify_paths()  # OpenSSL's compiled-in location

    @staticmethod
    def _offers(context: ssl.SSLContext, path: str) -> bool:
        if os.path.isdir(path):
            if not _hashed(path):
                return False
            context.load_verify_locations(capath=path)
            return True
        try:
            if os.path.basename(path) == BUILT_IN:
                with open(path, "rb") as file:
                    context.load_verify_locations(cadata=zlib.decompress(file.read()))
            else:
                context.load_verify_locations(cafile=path)
        except OSError:  # missing, unreadable, or without certificates
            return False
        return True


def _hashed(directory: str) -> list[str]:
    """The authorities of a directory that OpenSSL can find in it."""
    try:
        return [name for name in os.listdir(directory) if name.endswith(".0")]
    except OSError:
        return []


def _load(context: ssl.SSLContext, path: str, named_by: str = "") -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        prefix = f"{named_by}: " if named_by else ""
        raise UsageError(
            f"{prefix}cannot load authorities from {path}: {_reason(error)}",
            "it must be a file of certificates in PEM (-----BEGIN CERTIFICATE-----)",
        ) from None


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return "they do not match" if "MISMATCH" in str(error.reason) else "not valid PEM"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _no_password() -> str:
    # OpenSSL would prompt on the terminal.
    raise ValueError("the key is encrypted")
