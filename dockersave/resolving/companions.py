"""What is attached to an image, to be saved with it: signatures, attestations, SBOMs.

In an archive it is found the way that it is found in a registry without the referrers endpoint:
under tags (OCI distribution specification 1.1, "Referrers Tag Schema"; sigstore/cosign,
specs/SIGNATURE_SPEC.md). So whoever pushes the archive can push it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from ..errors import (
    CancelledError,
    ContentError,
    DockersaveError,
    NetworkError,
    NotFoundError,
)
from ..limits import LIMITS
from ..model.descriptors import OCI_INDEX, Descriptor
from ..model.digest import digest_of
from ..model.image import Artifact, Companion, Image
from ..model.kinds import parse_any
from ..model.manifests import Manifest, to_json
from ..model.reference import Reference
from ..registry.attached import Attached, distinct, of_mirrors, referrers_tag, signature_tag
from ..signatures.manifests import is_signature
from ..values import replace
from .reader import DocumentReader
from .session import Session

T = TypeVar("T")

_ALL = (".sig", ".att", ".sbom")
"""The tags that cosign gives to what is attached to an image, after its digest."""


class Companions:
    """Collects what is attached to the image of a reference.

    Args:
        session: the run's.
        reader: of the documents of this reference.
        reference: the reference.
        proven: digests of manifests with signatures that were asked for: of several with a tag,
            one of these keeps it.
        everything: not only signatures.
    """

    def __init__(
        self,
        session: Session,
        reader: DocumentReader,
        reference: Reference,
        proven: Collection[str] = (),
        *,
        everything: bool,
    ) -> None:
        self._session = session
        self._reader = reader
        self._reference = reference
        self._proven = proven
        self._everything = everything
        self._failure: DockersaveError | None = None
        self._registry = session.registry(reference.registry)
        self._places = self._registry.attached(reference.repository)
        self._artifacts: dict[str, Artifact] = {}
        self._companions: dict[tuple[str, str], Companion] = {}
        self._collected: set[str] = set()

    def of(self, image: Image) -> Image:
        """An image with all of it.

        Raises:
            ContentError: there is too much.
            CredentialsError, NetworkError, CancelledError: it cannot be fetched.
        """
        inside = [artifact.manifest.descriptor.digest for artifact in image.artifacts]
        around = [digest for digest in self._reader.indexes if digest not in inside]
        digests = [*around, *(index.descriptor.digest for index in image.indexes), *inside]
        with self._reader.concealing():
            for digest in dict.fromkeys(digests):
                self._collect(digest, LIMITS.index_depth)
        if not self._companions:
            self._say("nothing refers to it" if self._everything else "it is not signed")
        kept = {index.descriptor.digest for index in image.indexes}
        if self._companions:
            # A signature may be of an index that is not saved as such: this one leads from it.
            for index in self._reader.indexes.values():
                if index.descriptor.digest not in kept:
                    companion = Companion("", index.descriptor, index.body)
                    self._companions["", index.descriptor.digest] = companion
        known = {artifact.manifest.descriptor.digest for artifact in image.artifacts}
        new = (one for digest, one in sorted(self._artifacts.items()) if digest not in known)
        companions = (one for _, one in sorted(self._companions.items()))
        return replace(image, attached=(*image.attached, *new), companions=tuple(companions))

    def _collect(self, digest: str, depth: int) -> None:
        self._session.cancellation.check()
        self._collected.add(digest)
        found: dict[str, Manifest] = {}
        for suffix in _ALL if self._everything else _ALL[:1]:
            self._tagged(signature_tag(digest, suffix))
        for entry in self._entries(digest):
            manifest = self._manifest(entry)
            if manifest is None or manifest.subject != digest:
                continue
            if self._is_wanted(manifest) and self._keep(manifest):
                found[entry.digest] = manifest
        if not found:
            return
        body = _index_of(manifest for _, manifest in sorted(found.items()))
        descriptor = Descriptor(OCI_INDEX, digest_of(body), len(body))
        self._add(Companion(referrers_tag(digest), descriptor, body))
        for inner in found:
            if self._everything and inner not in self._collected:
                if depth == 0:
                    self._leave_out(inner, f"what refers to it is {LIMITS.index_depth} levels deep")
                else:
                    self._collect(inner, depth - 1)

    def _tagged(self, tag: str) -> None:
        """Keep the manifests that places have with a tag.

        One of them keeps the tag: one that proves what was asked for, else the registry's own. The
        others are found by whoever reads the archive.
        """
        answers = self._asking(lambda place: filter(None, [place.tagged(tag)]))
        found = {each.digest: each for each in answers}
        is_free = True
        for each in sorted(found.values(), key=lambda each: each.digest not in self._proven):
            try:
                document = self._reader.kept(each)
            except ContentError as failure:
                self._leave_out(tag, self._registry.conceal(failure).marked)
                continue
            if document.is_index or not self._is_small(document) or not self._keep(document):
                continue
            if is_free:
                self._add(Companion(tag, document.descriptor, each.body))
                is_free = False

    def _keep(self, manifest: Manifest) -> bool:
        """Keep a manifest with its config; false if the registry does not have that."""
        digest = manifest.descriptor.digest
        try:
            body = self._reader.config_body(manifest)
        except (ContentError, NotFoundError) as failure:
            self._leave_out(digest, self._registry.conceal(failure).marked)
            return False
        self._artifacts[digest] = Artifact(manifest, body)
        return True

    def _add(self, companion: Companion) -> None:
        self._companions[companion.tag, companion.descriptor.digest] = companion

    def _entries(self, digest: str) -> Iterable[Descriptor]:
        found: dict[str, Descriptor] = {}
        # As many of each: a mirror with too many is skipped.
        for entry in self._asking(lambda place: distinct(place.referrers(digest), digest)):
            found.setdefault(entry.digest, entry)
        return found.values()

    def _asking(self, ask: Callable[[Attached], Iterable[T]]) -> Iterator[T]:
        """The answers of all places, the registry's first; without it, a mirror must have one."""
        *mirrors, home = self._places
        failure = self._failure
        if failure is None:
            try:
                yield from ask(home)
            except CancelledError:
                raise
            except DockersaveError as found:
                failure = found
                if isinstance(found, NetworkError):
                    # It has been asked often enough.
                    self._failure = found
        answered = False
        for answer in of_mirrors(mirrors, ask, self._session.trace):
            answered = True
            yield answer
        if failure:
            if not answered:
                raise failure
            why = self._registry.conceal(failure).marked
            self._say(f"only a mirror was asked for signatures: {why}")

    def _manifest(self, entry: Descriptor) -> Manifest | None:
        try:
            document = self._reader.child(entry, parse_any)
        except (ContentError, NotFoundError) as failure:
            self._leave_out(entry.digest, self._registry.conceal(failure).marked)
            return None
        return None if document.is_index else document

    def _is_wanted(self, manifest: Manifest) -> bool:
        return self._everything or (is_signature(manifest) and self._is_small(manifest))

    def _is_small(self, manifest: Manifest) -> bool:
        """Whether a signature is not too large to be one."""
        large = [layer for layer in manifest.layers if layer.size > LIMITS.signature]
        if large and not self._everything:
            digest = manifest.descriptor.digest
            self._leave_out(digest, f"{large[0].size} bytes are too many for a signature")
        return self._everything or not large

    def _leave_out(self, what: str, why: str) -> None:
        self._say(f"{what} is left out: {why}")

    def _say(self, line: str) -> None:
        self._session.notify(f"{self._reference}: {line}")


def _index_of(manifests: Iterable[Manifest]) -> bytes:
    """The index of what refers to a manifest, always the same bytes."""
    entries = []
    for manifest in manifests:
        kind = manifest.artifact_type or manifest.config.media_type
        entry = replace(manifest.descriptor, annotations=manifest.annotations).to_json()
        entries.append(entry | {"artifactType": kind})
    return to_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
