"""Who signed an image: find its signatures, and check them, before anything of it is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import ContentError, NotFoundError
from ..limits import LIMITS
from ..model.descriptors import Descriptor
from ..model.manifests import Manifest, parse_document
from ..registry.attached import of_mirrors, signature_tag
from ..signatures.manifests import Look, refusing, signed_in
from ..signatures.refusals import Refused
from ..signatures.signed import Requirement
from ..signatures.wanted import Wanted
from ..trace import Trace

if TYPE_CHECKING:
    from ..registry.attached import Attached
    from ..registry.client import RegistryClient
    from ..registry.documents import Document
    from ..signatures.keys import PublicKey


class Signers:
    """Looks for the signatures of one image.

    Args:
        registry: the image's registry.
        repository: its repository.
        digests: of the image, or of what its name refers to: a signature of any of them counts.
        trace: gets a line for each signature that does not count.
        check: called before each signature; raises if the run was stopped.
    """

    def __init__(
        self,
        registry: RegistryClient,
        repository: str,
        digests: Sequence[str],
        trace: Trace,
        check: Callable[[], object],
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._digests = tuple(dict.fromkeys(digests))
        self._trace = trace
        self._check = check
        self._requests = self._bytes = 0
        self._seen: set[str] = set()
        self._reading = ""
        self.proofs: list[str] = []
        """The digests of the manifests with the signatures that were found."""
        self._last: tuple[str, bytes] = ("", b"")

    def find(self, requirements: Sequence[Requirement]) -> list[PublicKey]:
        """Find a signature for each requirement.

        Returns:
            The keys that made them.

        Raises:
            SignatureError: there is none.
            CredentialsError, NetworkError, CancelledError: see there.
        """
        search = Wanted(requirements, lambda line: self._trace.say("signature", line))
        for look in self._candidates():
            self._check()
            if search.consider(look, self._digests):
                self.proofs.append(self._reading)
            if search.is_over:
                break
        return search.result()

    def _candidates(self) -> Iterator[Look]:
        """All signatures, the cheapest to find first, each to be read when it is needed."""
        *mirrors, home = self._registry.attached(self._repository)
        yield from of_mirrors(mirrors, self._at, self._trace)
        yield from self._at(home)

    def _at(self, place: Attached) -> Iterator[Look]:
        # Each place has its own: a mirror full of others hides none of the registry's.
        self._requests, self._bytes = LIMITS.signature_requests, LIMITS.signature_bytes
        for number, look in enumerate(self._looks(place)):
            if number >= LIMITS.signatures or self._is_spent:
                yield refusing(Refused("too many", str(number)))
                return
            yield look

    def _looks(self, place: Attached) -> Iterator[Look]:
        """In an order in which six requests suffice wherever one signature is.

        Six places would take eight, for a bundle leads to two more documents. So where the
        referrers endpoint is as it should be, no tag lists what refers to the platform's manifest.
        For what was asked for, the tag is read all the same: pull-through caches have the endpoint,
        and know only what was pushed to them.
        """
        first, *others = self._digests
        answered: set[str] = set()
        yield from self._older(place, first)
        for digest in self._digests:
            yield from self._bundles(place.listed(digest), digest, answered)
        listed = (first,) if place.knows_all else self._digests
        for digest in listed:
            if digest not in answered:
                yield from self._bundles(place.listed_by_tag(digest), digest, answered)
        for digest in others:
            yield from self._older(place, digest)

    def _older(self, place: Attached, digest: str) -> Iterator[Look]:
        """Signatures in the manifest with a tag made of the digest."""
        self._requests -= 1
        try:
            found = place.tagged(signature_tag(digest))
        except ContentError as failure:
            yield refusing(Refused.damaged(failure.message))
            return
        document = self._parsed(found) if found else None
        if document is not None:
            yield from signed_in(document, self._blob)

    def _bundles(
        self, entries: Iterator[Descriptor], digest: str, answered: set[str]
    ) -> Iterator[Look]:
        """Signatures in manifests that refer to the image.

        Args:
            entries: of a list of them.
            digest: what it is a list of.
            answered: gets the digest if there is an entry.
        """
        self._requests -= 1
        try:
            for number, entry in enumerate(entries):
                answered.add(digest)
                if number >= LIMITS.referrers or self._is_spent:
                    yield refusing(Refused("too many", str(number)))
                    return
                if entry.digest in self._seen:
                    continue
                manifest = self._manifest(entry)
                self._seen.add(entry.digest)
                # Lists may have what refers to the platform's manifest, not to the index.
                if manifest is not None and manifest.subject in self._digests:
                    yield from signed_in(manifest, self._blob)
        except ContentError as failure:
            yield refusing(Refused.damaged(self._registry.conceal(failure).message))

    def _manifest(self, entry: Descriptor) -> Manifest | None:
        self._requests -= 1
        try:
            found = self._registry.manifest(self._repository, entry.digest)
        except (ContentError, NotFoundError) as failure:
            self._trace.say("signature", f"{entry.digest} cannot be read: {failure.marked}")
            return None
        return self._parsed(found)

    def _blob(self, layer: Descriptor) -> bytes:
        if layer.digest != self._last[0]:
            if layer.size > LIMITS.signature:
                raise Refused.damaged(f"it has {layer.size} bytes")
            self._requests -= 1
            try:
                body = self._registry.read_blob(self._repository, layer, LIMITS.signature)
                self._bytes -= len(body)
            except (ContentError, NotFoundError) as failure:
                raise Refused.damaged(self._registry.conceal(failure).message) from None
            self._last = (layer.digest, body)
        return self._last[1]

    def _parsed(self, found: Document) -> Manifest | None:
        """The manifest that was found, if it is one."""
        self._reading = found.digest
        self._bytes -= len(found.body)
        try:
            with self._registry.budget.taking(len(found.body)):
                document = parse_document(found.body, found.digest, found.media_type)
        except ContentError:
            return None
        return None if document.is_index else document

    @property
    def _is_spent(self) -> bool:
        return self._requests < 0 or self._bytes < 0
