"""A registry that misbehaves on purpose, for what a real one cannot be made to do.

In a test:

    with Simulator(Store.of({"sample": sample_image()})) as registry:
        registry.faults.add(Fault.reset_after(1000, on="blob", times=1))
        ...  # fetch from registry.host
        assert [request.kind for request in registry.requests] == ["manifest", "config", "blob"]

As a process of its own: `python -m tests.registry.simulator --help`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.images import GOOD, INDEXES, ODD, Store, image, random_layer
from tests.registry.faults import Fault
from tests.registry.rules import Faults
from tests.registry.server import Server
from tests.registry.service import Service
from tests.registry.tokens import Auth, Authority
from tests.registry.wire import Request, Response

if TYPE_CHECKING:
    import trustme

__all__ = ["Auth", "Fault", "Request", "Simulator", "Tls", "context_of", "spawn"]


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate of a registry.

    Parameters:
        names: that it is valid for.
        not_before, not_after: when it is valid; None for always.
    """

    names: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    not_before: datetime.datetime | None = None
    not_after: datetime.datetime | None = None


@lru_cache(maxsize=1)
def _ca() -> trustme.CA:
    import trustme  # not needed, and slow to load, for plain HTTP

    return trustme.CA()


@lru_cache(maxsize=8)
def context_of(tls: Tls) -> ssl.SSLContext:
    """Make the context of a server with a certificate that `Simulator.ca_pem` has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = _ca().issue_cert(*tls.names, not_before=tls.not_before, not_after=tls.not_after)
    certificate.configure_cert(context)
    return context


class Simulator:
    """A registry on loopback, running between entering and leaving its context.

    Parameters:
        store: what it holds; a change shows at once.
        tls: whether, and how, it speaks TLS.
        auth: what it demands; None for nothing.
        storage: blobs are redirected to a second server, with signed addresses.
        storage_lifetime: seconds that these are good for.
        page_size: tags on a page, at most.
        absolute_links: whether the link to the next page has scheme and host.
        referrers: whether it lists what refers to a manifest.
        port: of the registry; 0 for any.

    Attributes:
        host, storage_host, token_host: `127.0.0.1:PORT`; the latter two may be the same.
        requests: everything that was asked for, in its order.
        faults: what goes wrong.
    """

    def __init__(
        self,
        store: Store,
        *,
        tls: bool | Tls = False,
        auth: Auth | None = None,
        storage: bool = False,
        storage_lifetime: float = 300.0,
        page_size: int = 100,
        absolute_links: bool = False,
        referrers: bool = False,
        port: int = 0,
    ) -> None:
        self.store = store
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._tls = Tls() if tls is True else tls or None
        self.scheme = "https" if self._tls else "http"
        registry = self._server("registry", port)
        stored = self._server("storage") if storage else registry
        tokens = self._server("token") if auth and auth.own_server else registry
        self._servers = {registry, stored, tokens}
        self.host, self.storage_host, self.token_host = registry.host, stored.host, tokens.host
        self.authority = Authority(auth, f"{self.scheme}://{tokens.host}/token") if auth else None
        self.service = Service(
            store,
            self.authority,
            f"{self.scheme}://{stored.host}" if storage else "",
            storage_lifetime,
            page_size,
            absolute_links,
            referrers,
        )
        self.faults = Faults(self.service)

    def _server(self, name: str, port: int = 0) -> Server:
        context = context_of(self._tls) if self._tls else None
        return Server(name, self._answer, self._greet, context, port)

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT`, or https."""
        return f"{self.scheme}://{self.host}"

    @property
    def ca_pem(self) -> bytes:
        """The authority that signed the certificate, in PEM."""
        return _ca().cert_pem.bytes()

    def of(self, *kinds: str) -> list[Request]:
        """Return the requests of these kinds so far."""
        with self._lock:
            return [request for request in self.requests if request.kind in kinds]

    def __enter__(self) -> Simulator:
        for server in self._servers:
            server.start()
        return self

    def __exit__(self, *failure: object) -> None:
        for server in self._servers:
            server.stop()

    def _answer(self, request: Request, active: int) -> Response:
        self.service.classify(request)
        with self._lock:
            self.requests.append(request)
        self.faults.apply(True, request, Response(), active)
        response = self.service.answer(request)
        self.faults.apply(False, request, response, active)
        return response

    def _greet(self, connections: int) -> Response:
        door = Response()
        visit = Request("registry", "", "", {}, {}, kind="connection")
        self.faults.apply(False, visit, door, connections)
        return door


@contextlib.contextmanager
def spawn(*arguments: str) -> Iterator[str]:
    """Run a simulator in a process of its own, for as long as the context lasts.

    Parameters:
        arguments: of its command line.

    Yields:
        Its `127.0.0.1:PORT`.

    Raises:
        RuntimeError: it did not start.
    """
    command = [sys.executable, "-m", "tests.registry.simulator", "--until-eof", *arguments]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            host = process.stdout.readline().strip()
            if not host:
                raise RuntimeError(f"the simulator did not start: {command}")
            yield host
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _store(options: argparse.Namespace) -> Store:
    store = Store()
    for name, _, repository in (word.partition("=") for word in options.sample):
        store.add(repository or name, {**GOOD, **INDEXES, **ODD}[name](), "latest")
    if options.layers:
        compression, folder = options.compression, options.folder
        layers = [
            random_layer(options.layer_size, seed, compression, folder)
            for seed in range(options.layers)
        ]
        store.add("big", image(layers, flavor="oci"), "latest")
    return store


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.registry.simulator",
        description="Serve sample images on loopback; the first line printed is the address.",
    )
    add = parser.add_argument
    names = ", ".join(sorted({**GOOD, **INDEXES, **ODD}))
    add("--port", type=int, default=0, help="to listen on (default: any)")
    add("--sample", action="append", default=[], metavar="NAME[=REPOSITORY]", help=f"of {names}")
    add("--layers", type=int, default=0, help="layers of the image `big`")
    add("--layer-size", type=int, default=1 << 20, metavar="BYTES", help="of random content each")
    add("--compression", choices=("none", "gzip", "zstd"), default="none", help="of these layers")
    add("--folder", type=Path, help="where to keep these layers (default: computed when served)")
    add("--tls", action="store_true", help="speak TLS")
    add("--ca-out", type=Path, metavar="FILE", help="write the authority's certificate there")
    add("--auth", choices=("basic", "bearer"), help="demand user `user`, password `password`")
    add("--storage", action="store_true", help="redirect blobs to a second server")
    add("--fault", action="append", default=[], metavar="JSON", type=Fault.from_json)
    add("--until-eof", action="store_true", help="end when standard input does")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal comes, or standard input ends."""
    options = _parser().parse_args(arguments)
    auth = Auth(scheme=options.auth) if options.auth else None
    with Simulator(
        _store(options), tls=options.tls, auth=auth, storage=options.storage, port=options.port
    ) as registry:
        registry.faults.add(*options.fault)
        if options.ca_out:
            options.ca_out.write_bytes(registry.ca_pem)
        print(registry.host, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            if options.until_eof:
                sys.stdin.read()
            else:
                signal.signal(signal.SIGTERM, signal.default_int_handler)
                signal.pause()


if __name__ == "__main__":
    main()
