"""Who signed the images of an archive, as far as the archive itself has their signatures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ContentError, SignatureError, UsageError, shown
from ...limits import LIMITS
from ...model.descriptors import Descriptor
from ...model.digest import digest_of
from ...model.kinds import parse_any
from ...model.manifests import Index, Manifest
from ...model.reference import Reference
from ...signatures.encodings import EncodingError, json_value
from ...signatures.manifests import Look, refusing, signed_in
from ...signatures.policy import Policy, requirements
from ...signatures.refusals import Refused
from ...signatures.signed import Requirement
from ...signatures.wanted import Wanted
from ...spelling import argument
from ...values import replace
from .findings import Fault
from .inventory import Inventory, named_digest
from .references import CheckedImage, References

if TYPE_CHECKING:
    from ...signatures.keys import PublicKey


def check_signers(
    inventory: Inventory, references: References, policies: Sequence[Policy]
) -> tuple[tuple[CheckedImage, ...], tuple[Fault, ...]]:
    """Check the signatures of all images that an engine may find in an archive.

    Engines do not all look at the same documents. What any of them may load must be signed.

    Args:
        inventory: the content of the archive.
        references: what its documents refer to.
        policies: whose signatures its images need; all of them must be met.

    Returns:
        The images with their signers, and what is not signed as it should be, with the reason.

    Raises:
        UsageError: a key cannot be read or used.
    """
    signatures = Signatures(inventory)
    signers: dict[CheckedImage, tuple[str, ...]] = {}
    unsigned = list(_ambiguous(inventory))
    if "legacy" in references.formats:
        unsigned.append(Fault("", "it has an image in Docker's old format, which has no digest"))
    configs = set(references.docker)
    for image in dict.fromkeys((*references.images, *references.docker)):
        is_config = image in configs
        digests = signatures.manifests_of(image.digest) if is_config else [image.digest]
        try:
            names = (*image.names, *references.other_names.get(image.digest, ()))
            keys = signatures.find(digests, _needed(policies, image.digest, names))
        except SignatureError as failure:
            named = ", ".join(image.names) or image.digest
            unsigned.append(Fault(named, failure.message, failure.advice))
        else:
            signers[image] = tuple(dict.fromkeys(key.fingerprint for key in keys))
    checked = (replace(image, signers=signers.get(image, ())) for image in references.images)
    return tuple(checked), tuple(dict.fromkeys(unsigned))


def _ambiguous(inventory: Inventory) -> Iterator[Fault]:
    """Lists of images that readers may read differently."""
    for path in ("index.json", "manifest.json", "repositories"):
        if inventory.find(path):
            try:
                _check_spelling(json_value(inventory.document(path)))
            except (ContentError, EncodingError) as failure:
                yield Fault(path, str(failure))


def _check_spelling(document: Any) -> None:
    """Check that a list of images has no member whose name is one only if case is ignored."""
    listed = document.get("manifests") if isinstance(document, dict) else document
    for one in (document, *(listed if isinstance(listed, list) else ())):
        for name in one if isinstance(one, dict) else ():
            if _MEMBERS.get(name.casefold(), name) != name:
                raise EncodingError(f"it has {shown(name)!r}, which only some readers know")


_MEMBERS = {
    name.casefold(): name
    for name in (
        *("manifests", "mediaType", "digest", "size", "annotations", "platform"),
        *("Config", "RepoTags", "Layers", "LayerSources"),
    )
}
"""The members of `index.json` and `manifest.json`. Go ignores their case."""


def _needed(policies: Sequence[Policy], digest: str, names: Sequence[str]) -> list[Requirement]:
    """What an image needs, by all its names; without one, as if it had any name.

    Anybody can write a name, so none excuses an image from what archives need.
    """
    found: list[Requirement] = []
    for name in dict.fromkeys(names) or (f"localhost/unnamed@{digest}",):
        try:
            reference = Reference.parse(name)
        except UsageError:
            raise SignatureError(f"no policy is for a name such as {name}") from None
        for policy in policies:
            found += requirements([policy], reference) or requirements([policy], None)
    return found


class Signatures:
    """The signatures in an archive, wherever they are: each says what it is about.

    Args:
        inventory: the content of the archive; the names of files in it are not trusted.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._about: dict[str, list[Look]] = {}
        self._refused: list[Look] = []
        self._parents: dict[str, dict[str, None]] = {}
        self._manifests: dict[str, list[str]] = {}
        for path in inventory.documents:
            document = self._document(path)
            if document is None:
                continue
            digest = document.descriptor.digest
            if document.is_index:
                for entry in filter(lambda entry: self._has(entry.digest), document.manifests):
                    self._parents.setdefault(entry.digest, {})[digest] = None
            else:
                self._manifests.setdefault(document.config.digest, []).append(digest)
                for look in signed_in(document, self._blob):
                    self._add(look)

    def manifests_of(self, config: str) -> list[str]:
        """The digests of the manifests with a config, which says what its layers contain."""
        return self._manifests.get(config, [])

    def find(self, digests: Sequence[str], needed: Sequence[Requirement]) -> list[PublicKey]:
        """Find a signature of an image, or of an index around it, for each requirement.

        Args:
            digests: of manifests that describe the image.
            needed: what it needs.

        Raises:
            SignatureError: there is none.
        """
        search, around = Wanted(needed), self._around(digests)
        looks = [look for digest in around for look in self._about.get(digest, ())]
        for look in (*looks[: LIMITS.signatures], *self._refused):
            if search.is_over:
                break
            search.consider(look, around)
        if len(looks) > LIMITS.signatures:
            search.leave(LIMITS.signatures)
        try:
            return search.result()
        except SignatureError as failure:
            if not looks and not self._refused:
                wanted = argument("with_signatures")
                failure.hint = f"an archive has signatures only if it was saved with {wanted}"
            raise

    def _add(self, look: Look) -> None:
        try:
            subjects = look().subjects
        except Refused as refused:
            # Nobody knows of which image.
            if len(self._refused) < LIMITS.signatures:
                self._refused.append(refusing(refused))
            return
        for digest in filter(self._has, subjects):
            self._about.setdefault(digest, []).append(look)

    def _has(self, digest: str) -> bool:
        return self._inventory.find(f"blobs/{digest.replace(':', '/')}") is not None

    def _around(self, digests: Sequence[str]) -> dict[str, None]:
        """The digests of an image, and of the indexes in the archive that it is part of."""
        found = dict.fromkeys(digests)
        for _ in range(LIMITS.index_depth):
            found |= {above: None for digest in found for above in self._parents.get(digest, ())}
        return found

    def _document(self, path: str) -> Manifest | Index | None:
        """A manifest or an index, if the file is one, and has the digest in its name."""
        digest = named_digest(path)
        if not digest or not path.startswith("blobs/"):
            return None
        try:
            return parse_any(self._body(path, digest), digest, "")
        except ContentError:
            return None

    def _blob(self, layer: Descriptor) -> bytes:
        path, item = layer.blob_path, self._inventory.find(layer.blob_path)
        if item is None or item.size > LIMITS.signature:
            raise Refused.damaged("a part of it is missing or too large")
        try:
            return self._body(path, layer.digest)
        except ContentError as failure:
            raise Refused.damaged(f"it {failure.message}") from None

    def _body(self, path: str, digest: str) -> bytes:
        body = self._inventory.document(path)
        if digest_of(body, digest.partition(":")[0]) != digest:
            raise ContentError("is not what its name says")
        return body
