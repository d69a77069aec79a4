"""Real registries: processes of Debian's `docker-registry` on loopback, in every variant."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import bcrypt
import trustme
import urllib3

from tests.images import GOOD, INDEXES, ODD, Document, Store, lay_out
from tests.pace import until
from tests.processes import Daemon, answers, free_port, scratch
from tests.registry.token_server import ISSUER, SERVICE, TokenServer

USER = "tester"
PASSWORD = "canary-p4ssw0rd:with,signs"
AuthKind: TypeAlias = Literal["none", "htpasswd", "token"]

_MARK = "/v2/mark-in-the-log/"
_ACCESS = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[0-9.]+" (?P<status>\d{3}) (\d+)')

SAMPLES: dict[str, Document] = {
    **{name: make() for name, make in (GOOD | INDEXES).items()},
    **{name: ODD[name]() for name in ("helm", "wasm", "wrong-diff-id", "not-a-tar", "not-gzip")},
}
"""What every sample registry holds, by repository; each has the tag `latest`."""


@dataclass(frozen=True, slots=True)
class Access:
    """One line of a registry's access log."""

    method: str
    path: str
    status: int


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that runs.

    Parameters:
        port: on 127.0.0.1.
        tls: whether it speaks https.
    """

    port: int
    tls: bool

    @property
    def host(self) -> str:
        """The server as a reference names it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"{'https' if self.tls else 'http'}://{self.host}"


@dataclass(frozen=True, slots=True)
class Registry(Listening):
    """A registry that runs.

    Parameters:
        ca_file: PEM file of the authority that signed its certificate, if it has one.
        log: file that it logs to, one line a request among others.
        tokens: its token server, if it has one.
        storage: directory of what it stores.
    """

    ca_file: Path | None
    log: Path
    tokens: TokenServer | None = None
    storage: Path = Path()

    def reference(self, repository: str, tag: str = "latest") -> str:
        """Return a reference to an image in here; `tag` may be a digest."""
        return f"{self.host}/{repository}{'@' if ':' in tag else ':'}{tag}"

    def accesses(self) -> list[Access]:
        """Return all requests so far, in the order of their answers.

        Whoever has an answer may be ahead of the line in the log. So one more request is made, and
        awaited in the log; it is not returned.
        """
        mark = f"{_MARK}{uuid.uuid4().hex}"
        with urllib3.PoolManager(ca_certs=self.ca_file, retries=False, timeout=60) as pool:
            pool.request("GET", self.url + mark)
        until(lambda: any(access.path == mark for access in self._logged()))
        return [access for access in self._logged() if not access.path.startswith(_MARK)]

    def _logged(self) -> list[Access]:
        lines = self.log.read_text(errors="replace").splitlines()
        found = (_ACCESS.search(line) for line in lines)
        return [Access(m["method"], m["path"], int(m["status"])) for m in found if m]

    def has(self, repository: str, digest: str) -> bool:
        """Tell whether a blob is stored: a pull-through cache sends its last byte before that."""
        layers = self.storage / "docker/registry/v2/repositories" / repository / "_layers"
        return (layers / digest.replace(":", "/") / "link").exists()


class Registries:
    """Starts registries, each variant once, and ends them all.

    All variants that are not pull-through caches serve one storage, so that what is pushed into
    one is in all of them.
    """

    def __init__(self) -> None:
        self.folder = scratch("registries")
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca_file = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        self.certificate = self.authority.issue_cert(
            "127.0.0.1", "localhost", "::1", key_type=trustme.KeyType.ECDSA
        )
        self.certificate_file = self.folder / "server.pem"
        self.certificate.private_key_and_cert_chain_pem.write_to_path(str(self.certificate_file))
        self._running: dict[object, Registry] = {}
        self._storage = self.folder / "storage"
        self._has_samples = False

    def get(
        self,
        *,
        tls: bool = False,
        auth: AuthKind = "none",
        anonymous: bool = False,
        lifetime: int = 300,
        mirror_of: Registry | None = None,
    ) -> Registry:
        """Return a running registry with the samples in it.

        Parameters:
            tls: serve https with a certificate that `ca_file` vouches for.
            auth: what it demands of who reads; the credentials are `USER` and `PASSWORD`.
            anonymous: the token server gives tokens to everybody.
            lifetime: seconds that its tokens are good for.
            mirror_of: be a pull-through cache of this one, empty at first.
        """
        if not self._has_samples:
            self._has_samples = True
            self._put(SAMPLES, "latest")
        variant = (tls, auth, anonymous, lifetime, mirror_of and mirror_of.port)
        if variant not in self._running:
            tokens = None
            if auth == "token":
                tokens = TokenServer(
                    self.folder,
                    {USER: PASSWORD},
                    anonymous=anonymous,
                    lifetime=lifetime,
                    tls=self.certificate if tls else None,
                )
                self._stack.callback(tokens.close)
            self._running[variant] = self._start(tls, auth, tokens, mirror_of)
        return self._running[variant]

    def push(self, documents: Mapping[str, Document], tag: str = "latest") -> None:
        """Put images into the storage that all registries share, by repository.

        Raises:
            ValueError: a sample would change under the other tests that use it.
        """
        if shared := sorted(SAMPLES.keys() & documents.keys()):
            raise ValueError(f"{shared} are every test's: push into a repository of your own")
        self._put(documents, tag)

    def _put(self, documents: Mapping[str, Document], tag: str) -> None:
        lay_out(Store.of(documents, tag), self._storage)

    def _start(
        self, tls: bool, auth: AuthKind, tokens: TokenServer | None, mirror_of: Registry | None
    ) -> Registry:
        number = len(self._running)
        port = free_port()
        storage = self.folder / f"cache-{number}" if mirror_of else self._storage
        http: dict[str, object] = {"addr": f"127.0.0.1:{port}", "secret": "tests"}
        if tls:
            pem = str(self.certificate_file)
            http["tls"] = {"certificate": pem, "key": pem}
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "fields": {"service": "registry"}},
            "storage": {
                "filesystem": {"rootdirectory": str(storage)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
        }
        if auth == "htpasswd":
            users = self.folder / "htpasswd"
            hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
            users.write_text(f"{USER}:{hashed}\n")
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(users)}}
        if tokens is not None:
            config["auth"] = {
                "token": {
                    "realm": tokens.url,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(tokens.roots),
                }
            }
        if mirror_of is not None:
            config["proxy"] = {"remoteurl": mirror_of.url}
        # Every JSON document is a YAML document.
        file = self.folder / f"registry-{number}.yml"
        file.write_text(json.dumps(config, indent=1))
        log = self.folder / f"registry-{number}.log"
        env = {"SSL_CERT_FILE": str(self.ca_file), "OTEL_TRACES_EXPORTER": "none"}
        env |= {name: "" for name in os.environ if name.lower().endswith("_proxy")}
        self._stack.enter_context(
            Daemon(["docker-registry", "serve", file], log, lambda: answers(port), env=env)
        )
        return Registry(port, tls, self.ca_file if tls else None, log, tokens, storage)

    def close(self) -> None:
        """End all of them and remove what they stored."""
        self._stack.close()
