"""The distribution API: manifests, digests, tags and blobs of one registry.

Source: OCI distribution specification 1.1, "Pulling" and "Content discovery".
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ..budget import Budget
from ..cancellation import Cancellation
from ..errors import ContentError, DockersaveError, NetworkError, NotFoundError
from ..limits import LIMITS
from ..model.descriptors import Descriptor
from ..model.digest import check, digest_of, is_digest
from ..model.manifests import json_object
from ..model.options import Network
from ..model.reference import DOCKER_HUB
from ..trace import SILENT, Trace
from ..values import replace
from .concealing.secrets import Secrets
from .connections import failures, redirects
from .connections.transport import Transport
from .credentials.where_from import Credentials, Keyring
from .document_retry import Retry
from .documents import Document, accepting, are_comparable, media_type_of, name_of
from .endpoint import Endpoint, mirror_base
from .exchange import Answered
from .mirrors import Mirrors
from .source import RemoteBlob
from .stream import BlobStream, open_range

if TYPE_CHECKING:
    from .attached import Attached

T = TypeVar("T")

_HUB_HOST = "registry-1.docker.io"
_FEW_LEFT = 10
_THINKING = 0.015
"""Seconds that even a nearby registry may need for a response."""


class RegistryClient:
    """One registry, and its mirrors, for one run.

    All methods are thread-safe. Nothing is sent before the first call.

    Args:
        name: the registry as written in references: `docker.io`, `registry.example:5000`.
        network: how to reach it.
        cancellation: makes every method raise `CancelledError`.
        retry: the run's retry policy.
        notify: gets lines for the user.
        trace: gets a line for each request and decision.
        budget: the remaining budget for documents of the run.
        keyring: credentials found in this run.

    Raises:
        UsageError: a mirror has no valid address.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        cancellation: Cancellation,
        retry: Retry,
        notify: Callable[[str], None],
        trace: Trace = SILENT,
        budget: Budget | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self._trace = trace
        self.name = name
        self.budget = budget or Budget()
        self._retry = retry
        self._notify = notify
        self._cancellation = cancellation
        self._secrets = Secrets()
        self._secrets.add_proxies(os.environ)
        trace.hide(self._secrets.conceal)
        self._transport = Transport(name, network, cancellation, trace=trace, secrets=self._secrets)
        keyring = keyring or Keyring(network.authfile, os.environ, notify, cancellation)
        credentials = Credentials(network, os.environ, notify, cancellation, keyring)
        # `user` and `password` are for the registry; a mirror's credentials come only from
        # config.json.
        without = replace(network, user=None, password=None)
        others = Credentials(without, os.environ, notify, cancellation, keyring)
        is_hub = name == DOCKER_HUB
        scheme = "http" if network.speaks_plain(name) else "https"
        host = _HUB_HOST if is_hub else name
        self._home = Endpoint(
            f"{scheme}://{host}/v2",
            name,
            self._transport,
            credentials,
            network,
            notify,
            trace=trace,
            secrets=self._secrets,
        )
        mirrors = [
            Endpoint(
                mirror_base(url),
                redirects.host_of(url),
                self._transport,
                others,
                network,
                notify,
                f"ns={name}",
                trace,
                secrets=self._secrets,
            )
            for url in network.mirrors
        ]
        self._mirrors = Mirrors(mirrors, self._say, trace)
        self._astray = 0
        self._has_served = False
        """Whether the registry has served anything, and so is one."""
        self._said: set[str] = set()

    def manifest(
        self,
        repository: str,
        version: str,
        large: Callable[[int], object] = lambda size: None,
        media_type: str = "",
    ) -> Document:
        """Fetch a manifest or an index.

        Args:
            repository: its full path.
            version: a tag, or a digest that the bytes must match.
            large: called with the size while a large document is read: see `Transport.read`.
            media_type: what an index says that it is: accepted, too.

        Raises:
            NotFoundError, CredentialsError, NetworkError, ContentError, CancelledError
        """
        if self._mirrors and not is_digest(version):
            # Mirrors do not decide what a tag means: ask the registry, without a pull.
            version = self.head(repository, version)
        what = f"the manifest of {name_of(repository, version)}"

        def fetch(endpoint: Endpoint) -> Document:
            path = f"{repository}/manifests/{version}"
            answered = self._ok(
                endpoint, endpoint.get(path, repository, accepting(media_type)), what
            )
            body = self._transport.read(
                answered.response, LIMITS.manifest, answered.url, what, large
            )
            if is_digest(version):
                check(body, version, f"{answered.host}: {what}")
                digest = version
            else:
                digest = digest_of(body)
            return Document(body, media_type_of(answered.response.headers), digest)

        return self._retry.call(lambda: self._first(fetch))

    def head(self, repository: str, version: str) -> str:
        """The digest of a manifest or an index, without fetching it if possible.

        Args:
            repository: its full path.
            version: a tag, for which the registry is trusted; or a digest that must match.

        Raises:
            As `manifest`.
        """
        what = f"the manifest of {name_of(repository, version)}"
        path = f"{repository}/manifests/{version}"

        def ask() -> str:
            answered = self._home.get(path, repository, accepting(), method="HEAD")
            self._transport.discard(answered.response)
            digest = answered.response.headers.get("Docker-Content-Digest", "")
            if answered.response.status == 200 and are_comparable(digest, version):
                if is_digest(version) and digest != version:
                    raise ContentError(
                        f"{answered.host}: {what} is reported to hash to {digest}",
                        "the registry, or something in between, changes the content; "
                        "try another network",
                    )
                self._say_what_is_left(answered)
                return digest
            # No digest, one of another algorithm, or a refusal: HEAD has no body that could explain
            # it.
            answered = self._ok(self._home, self._home.get(path, repository, accepting()), what)
            body = self._transport.read(answered.response, LIMITS.manifest, answered.url, what)
            if is_digest(version):
                check(body, version, f"{answered.host}: {what}")
                return version
            json_object(body, "manifest")
            return digest_of(body)

        return self._retry.call(ask)

    def tags(self, repository: str) -> Iterator[str]:
        """The tags of a repository, page by page.

        Raises:
            As `manifest`.
        """
        from .tags import Pages

        ask = functools.partial(self._ok, self._home)
        pages = Pages(self._home, self._transport, self._secrets, ask)
        return pages.tags(repository, self._retry)

    def attached(self, repository: str) -> list[Attached]:
        """The places that may have what is attached to images: mirrors, then the registry."""
        from .attached import Attached

        places = (*self._mirrors.usable(), self._home)
        return [
            Attached(each, self._transport, repository, self._ok, self._retry) for each in places
        ]

    def read_blob(self, repository: str, descriptor: Descriptor, limit: int) -> bytes:
        """Fetch a small blob completely, and check it.

        Args:
            limit: its maximum size in bytes.

        Raises:
            As `manifest`.
        """
        if descriptor.size > limit:
            raise ContentError(
                f"{self.name}: the blob {descriptor.digest} has {descriptor.size} bytes; "
                f"at most {limit} are accepted"
            )

        def fetch(endpoint: Endpoint) -> bytes:
            what = f"the blob {descriptor.digest}"
            path = f"{repository}/blobs/{descriptor.digest}"
            answered = self._ok(endpoint, endpoint.get(path, repository, {}), what)
            body = self._transport.read(answered.response, limit, answered.url, what)
            if len(body) > descriptor.size:
                raise ContentError(
                    f"{answered.host}: {what} has {len(body)} bytes instead of {descriptor.size}",
                    transient=True,
                )
            check(body, descriptor.digest, f"{answered.host}: a blob", descriptor.size)
            return body

        return self._retry.call(lambda: self._first(fetch))

    def source(
        self, repository: str, descriptor: Descriptor, *, foreign: bool = False
    ) -> RemoteBlob:
        """A blob, as a source that is opened range by range.

        Args:
            repository: its full path.
            descriptor: which blob.
            foreign: whether it is asked for at its `urls`, too, if the registry does not have it.
        """
        return RemoteBlob(self, repository, descriptor, foreign)

    def blob(
        self, repository: str, descriptor: Descriptor, start: int = 0, stop: int | None = None
    ) -> BlobStream:
        """Start to fetch a blob, or its range `start` to `stop`. Not retried.

        A server without ranges sends the whole blob: see `BlobStream.ranged`.

        Raises:
            As `manifest`.
        """
        end = descriptor.size if stop is None else stop

        def fetch(endpoint: Endpoint) -> BlobStream:
            if endpoint is not self._home:
                self._mirrors.ask_once(endpoint, descriptor.digest, start)
            return self._open(endpoint, repository, descriptor, start, end)

        return self._first(fetch)

    def foreign(
        self, descriptor: Descriptor, url: str, start: int = 0, stop: int | None = None
    ) -> BlobStream:
        """Start to fetch a layer from one of its `urls`, without any credentials.

        Raises:
            As `manifest`.
        """
        end = descriptor.size if stop is None else stop
        if self._astray >= LIMITS.foreign_failures:
            raise NetworkError(f"{self.name}: {self._astray} external addresses of layers failed")
        # The same rules as for a redirect of the registry.
        there = redirects.target(self._home.base, url)
        endpoint = Endpoint(
            redirects.origin(there),
            redirects.host_of(there),
            self._transport,
            None,
            Network(),
            self._notify,
            trace=self._trace,
            secrets=self._secrets,
        )
        get = functools.partial(endpoint.anonymous, there)
        try:
            return open_range(get, endpoint, descriptor, start, end)
        except DockersaveError:
            self._astray += 1
            raise

    def conceal(self, error: DockersaveError) -> DockersaveError:
        """An error about a document, with secrets removed that the registry put into it."""
        return self._secrets.clean(error)

    def warm(self, count: int) -> None:
        """Connect in the background to the host that will serve blobs.

        Args:
            count: how many connections there should be, including idle ones.
        """
        next(self._mirrors.usable(), self._home).warm(count)

    @property
    def latency(self) -> float | None:
        """Seconds of the fastest connect to the registry so far, or None.

        None behind a proxy, which hides how far away the registry is.
        """
        return self._home.latency

    @property
    def distance(self) -> float:
        """Seconds of a round trip to the registry; 0 if unknown.

        If something nearby accepts connections (a proxy, a gateway), the time to a response counts,
        if it is longer than a registry needs for processing.
        """
        answer = self._home.answered_in or 0.0
        return max(self.latency or 0.0, answer if answer > _THINKING else 0.0)

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def _open(
        self, endpoint: Endpoint, repository: str, descriptor: Descriptor, start: int, stop: int
    ) -> BlobStream:
        path = f"{repository}/blobs/{descriptor.digest}"

        exchange = endpoint.exchange()

        def get(headers: dict[str, str]) -> Answered:
            digest = descriptor.digest
            return endpoint.get(path, repository, headers, remember=digest, exchange=exchange)

        return open_range(get, endpoint, descriptor, start, stop)

    def _ok(self, endpoint: Endpoint, answered: Answered, what: str) -> Answered:
        if answered.response.status != 200:
            failure = endpoint.refusal(answered, what)
            is_lost = isinstance(failure, NotFoundError) and endpoint is self._home
            if is_lost and not self._has_served:
                endpoint.check_is_registry(answered)
            raise failure
        self._has_served = self._has_served or endpoint is self._home
        self._say_what_is_left(answered)
        return answered

    def _first(self, action: Callable[[Endpoint], T]) -> T:
        return self._mirrors.first(action, self._home)

    def _say_what_is_left(self, answered: Answered) -> None:
        left = failures.remaining(answered.response.headers)
        if left and left[0] < _FEW_LEFT:
            self._say(
                "limit",
                f"{answered.host}: {left[0]} pulls of {left[1]} are left; logging in "
                "raises the limit",
            )

    def _say(self, topic: str, line: str) -> None:
        if topic not in self._said:
            self._said.add(topic)
            self._notify(line)
