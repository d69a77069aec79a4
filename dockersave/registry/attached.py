"""What is attached to an image: signatures, attestations, SBOMs.

Sources: OCI distribution specification 1.1, "Listing Referrers", "Referrers Tag Schema" and
"Enabling the Referrers API"; sigstore/cosign, specs/SIGNATURE_SPEC.md ("Storage").
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ..errors import CancelledError, ContentError, DockersaveError
from ..limits import LIMITS
from ..model.descriptors import OCI_INDEX, Descriptor
from ..model.digest import digest_of
from ..model.manifests import Index, parse_document
from ..trace import Trace
from .connections.transport import Transport
from .document_retry import Retry
from .documents import Document, accepting, media_type_of, name_of
from .endpoint import Endpoint
from .exchange import Answered
from .links import UnreadableLinkError, next_query

T = TypeVar("T")

_REFUSED = frozenset({400, 403, 404, 405, 406, 415, 501})
"""How registries without the endpoint answer; what is in front of them may not know its path."""
_TAG = 128
"""Characters of a tag: one with a whole sha512 digest is longer."""
_SCHEMA = 64
"""Characters of a digest in a tag."""


def signature_tag(digest: str, suffix: str = ".sig") -> str:
    """The tag under which cosign keeps what is attached to a manifest: `sha256-<hex>.sig`."""
    return f"{digest.replace(':', '-')}{suffix}"


def referrers_tag(digest: str) -> str:
    """The tag of an index of what refers to a manifest: `sha256-<hex>`."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}-{value[:_SCHEMA]}"


def of_mirrors(
    mirrors: Iterable[Attached], ask: Callable[[Attached], Iterable[T]], trace: Trace
) -> Iterator[T]:
    """What mirrors answer, one after another. What one of them fails to say is left out.

    Args:
        mirrors: the places.
        ask: asks one of them.
        trace: gets a line for each that fails.

    Raises:
        CancelledError: the run was stopped.
    """
    for mirror in mirrors:
        try:
            yield from ask(mirror)
        except CancelledError:
            raise
        except DockersaveError as failure:
            trace.say("mirror", f"{mirror.name} is skipped: {failure.marked}")


def distinct(entries: Iterable[Descriptor], digest: str) -> Iterator[Descriptor]:
    """Each of the manifests that refer to an image once.

    Args:
        entries: what places say of them.
        digest: of the image.

    Raises:
        ContentError: there are too many.
    """
    seen: set[str] = set()
    for entry in entries:
        if entry.digest not in seen:
            seen.add(entry.digest)
            if len(seen) > LIMITS.referrers:
                raise ContentError(
                    f"more than {LIMITS.referrers} manifests refer to {digest}",
                    "have those that are outdated removed from the registry",
                )
            yield entry


class Attached:
    """Asks one place, a registry or a mirror, what is attached to images.

    Nothing that it says is trusted: entries of indexes are to be read, and what they are about is
    to be compared.

    Args:
        endpoint: the place.
        transport: reads its answers.
        repository: of the images.
        ok: returns a response below 400, or raises.
        retry: the run's retry policy.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        repository: str,
        ok: Callable[[Endpoint, Answered, str], Answered],
        retry: Retry,
    ) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._repository = repository
        self._ok = ok
        self._retry = retry
        self._has_endpoint = self._conforms = True

    @property
    def name(self) -> str:
        """The name of the place."""
        return self._endpoint.name

    def tagged(self, tag: str) -> Document | None:
        """A manifest or an index by its tag; None if there is none.

        Raises:
            CredentialsError, NetworkError, ContentError, CancelledError
        """
        if len(tag) > _TAG:
            return None
        what = f"the manifest of {name_of(self._repository, tag)}"

        def fetch() -> Document | None:
            path = f"{self._repository}/manifests/{tag}"
            answered = self._endpoint.get(path, self._repository, accepting())
            if answered.response.status == 404:
                self._transport.discard(answered.response)
                return None
            self._ok(self._endpoint, answered, what)
            body = self._transport.read(answered.response, LIMITS.manifest, answered.url, what)
            return Document(body, media_type_of(answered.response.headers), digest_of(body))

        return self._retry.call(fetch)

    @property
    def knows_all(self) -> bool:
        """Whether its referrers endpoint answers as the specification says, as far as it was asked.

        Then it must list what tags list, too ("Enabling the Referrers API"), and other clients
        (go-containerregistry and with it cosign, oras, regctl) look at no tags.
        """
        return self._has_endpoint and self._conforms

    def referrers(self, digest: str) -> Iterator[Descriptor]:
        """The manifests that say that they are about an image, as far as an index tells.

        Args:
            digest: of the image.

        Raises:
            As `tagged`.
        """
        found = False
        for entry in self.listed(digest):
            found = True
            yield entry
        if not found:
            # Also where an endpoint has nothing to say: pull-through caches have it, and know only
            # what was pushed to them.
            yield from self.listed_by_tag(digest)

    def listed(self, digest: str) -> Iterator[Descriptor]:
        """What the referrers endpoint says of an image; nothing if there is none."""
        query: str | None = ""
        for _ in range(LIMITS.referrers_pages):
            page = self._retry.call(functools.partial(self._page, digest, query or ""))
            index, query = page or (None, None)
            yield from index.manifests if index else ()
            if query is None:
                return
        raise ContentError(f"{self.name}: the list of what refers to {digest} never ends")

    def listed_by_tag(self, digest: str) -> Iterator[Descriptor]:
        """What the index with a tag made of an image's digest says of it."""
        found = self.tagged(referrers_tag(digest))
        # GitLab answers with the image itself.
        if found is not None and found.digest != digest:
            document = parse_document(found.body, found.digest, found.media_type)
            if isinstance(document, Index):
                yield from document.manifests

    def _page(self, digest: str, query: str) -> tuple[Index, str | None] | None:
        if not self._has_endpoint:
            return None
        what = f"what refers to {name_of(self._repository, digest)}"
        path, headers = f"{self._repository}/referrers/{digest}", {"Accept": OCI_INDEX}
        answered = self._endpoint.get(path, self._repository, headers, query=query)
        if answered.response.status in _REFUSED:
            self._transport.discard(answered.response)
            self._has_endpoint = False
            return None
        self._ok(self._endpoint, answered, what)
        self._conforms &= media_type_of(answered.response.headers) == OCI_INDEX
        body = self._transport.read(answered.response, LIMITS.manifest, answered.url, what)
        try:
            found = parse_document(body, digest_of(body))
            if isinstance(found, Index):
                return found, next_query(answered.response.headers.get("Link", ""))
        except (ContentError, UnreadableLinkError):
            pass
        # A web page, for example: there is no such endpoint, or one that is of no use.
        self._has_endpoint = False
        return None
