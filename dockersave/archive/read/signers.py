"""Who signed the images of an archive, as far as the archive itself has their signatures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import ContentError, SignatureError, UsageError
from ...limits import LIMITS
from ...model.descriptors import Descriptor
from ...model.kinds import parse_any
from ...model.manifests import Index, Manifest
from ...model.reference import Reference
from ...signatures.encodings import EncodingError, json_value
from ...signatures.manifests import Look, signed_in
from ...signatures.policy import Policy, requirements
from ...signatures.refusals import Refusals, Refused
from ...signatures.signed import Requirement
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
    signatures = _Signatures(inventory)
    checked: list[CheckedImage] = []
    unsigned = list(_ambiguous(inventory))
    if "legacy" in references.formats:
        unsigned.append(Fault("", "it has an image in Docker's old format, which has no digest"))
    for image in references.images:
        keys: list[PublicKey] = []
        with _refusing(image, unsigned):
            keys = signatures.find([image.digest], _needed(policies, image))
        fingerprints = dict.fromkeys(key.fingerprint for key in keys)
        checked.append(replace(image, signers=tuple(fingerprints)))
    for image in references.docker:
        with _refusing(image, unsigned):
            digests = signatures.manifests_of(image.digest)
            signatures.find(digests, _needed(policies, image))
    return tuple(checked), tuple(dict.fromkeys(unsigned))


def _ambiguous(inventory: Inventory) -> Iterator[Fault]:
    """Lists of images that readers may read differently."""
    for path in ("index.json", "manifest.json", "repositories"):
        if inventory.find(path):
            try:
                json_value(inventory.document(path))
            except (ContentError, EncodingError) as failure:
                yield Fault(path, str(failure))


@contextmanager
def _refusing(image: CheckedImage, unsigned: list[Fault]) -> Iterator[None]:
    try:
        yield
    except SignatureError as failure:
        unsigned.append(Fault(", ".join(image.names) or image.digest, failure.message))


def _needed(policies: Sequence[Policy], image: CheckedImage) -> list[Requirement]:
    """What an image needs, by all its names; without one, as if it had any name."""
    found: list[Requirement] = []
    for name in image.names or (f"localhost/unnamed@{image.digest}",):
        try:
            reference = Reference.parse(name)
        except UsageError:
            raise SignatureError(f"no policy is for a name such as {name}") from None
        found += requirements(policies, reference)
    return found


class _Signatures:
    """The signatures in an archive, wherever they are: each says what it is about."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._looks: list[Look] = []
        self._indexes: list[Index] = []
        self._manifests: dict[str, list[str]] = {}
        for path in inventory.documents:
            document = self._document(path)
            if document is None:
                continue
            if document.is_index:
                self._indexes.append(document)
            else:
                digest = document.descriptor.digest
                self._manifests.setdefault(document.config.digest, []).append(digest)
                self._looks += signed_in(document, self._blob)

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
        missing, refusals = list(needed), Refusals()
        found: list[PublicKey] = []
        around = self._around(digests)
        for look in self._looks[: LIMITS.signatures] if missing else ():
            for requirement in tuple(missing):
                try:
                    found.append(look().check(around, requirement))
                except Refused as refused:
                    # An archive has those of its other images, too.
                    if refused.kind != "other image":
                        refusals.add(refused)
                else:
                    missing.remove(requirement)
        if missing:
            raise refusals.error(len({key.fingerprint for each in missing for key in each.keys}))
        return found

    def _around(self, digests: Sequence[str]) -> set[str]:
        """The digests of an image, and of the indexes in the archive that it is part of."""
        found = set(digests)
        for _ in range(LIMITS.index_depth):
            found |= {
                index.descriptor.digest
                for index in self._indexes
                if any(entry.digest in found for entry in index.manifests)
            }
        return found

    def _document(self, path: str) -> Manifest | Index | None:
        """A manifest or an index, if the file is one, and has the digest in its name."""
        digest, item = named_digest(path), self._inventory.find(path)
        if not path.startswith("blobs/") or item is None or digest not in item.digests:
            return None
        try:
            return parse_any(self._inventory.document(path), digest, "")
        except ContentError:
            return None

    def _blob(self, layer: Descriptor) -> bytes:
        path, item = layer.blob_path, self._inventory.find(layer.blob_path)
        if item is None or layer.digest not in item.digests or item.size > LIMITS.signature:
            raise Refused.damaged("a part of it is missing, too large, or wrong")
        try:
            return self._inventory.document(path)
        except ContentError as failure:
            raise Refused.damaged(f"it {failure.message}") from None
