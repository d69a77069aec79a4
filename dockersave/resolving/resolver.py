"""From a reference to an image: manifest, platform and config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import ContentError, DockersaveError, NotFoundError
from ..limits import LIMITS
from ..model.descriptors import MANIFEST_TYPES, Descriptor
from ..model.image import Artifact, Image, Variant
from ..model.kinds import (
    blobs_beside,
    check_is_image,
    entry_kind,
    kind_of,
    may_be_image,
    may_be_manifest,
    no_image,
)
from ..model.manifests import Index, Manifest, SchemaOneError, no_platform, select
from ..model.platforms import Offer, Platform
from ..spelling import argument
from ..values import dataclass, field
from .reader import DocumentReader

_PRIMARY = Platform("linux", "amd64")


@dataclass(slots=True)
class _Found:
    """What was found while walking through indexes.

    Args:
        seen: digests of what was requested; each is requested once.
        indexes: by digest, each with the indexes that it contains.
        variants, attached: in the order of the index.
        platforms: of images for other platforms.
        kinds: media types of entries that are not images.
        unreadable: digests of schema 1 manifests.
        failure: the first error of an unreadable image.
    """

    seen: set[str] = field(default_factory=set)
    indexes: dict[str, tuple[Index, list[str]]] = field(default_factory=dict)
    variants: list[Variant] = field(default_factory=list)
    attached: list[Artifact] = field(default_factory=list)
    platforms: dict[str, None] = field(default_factory=dict)
    kinds: dict[str, None] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    failure: ContentError | None = None


class Resolver(DocumentReader):
    """Finds the image of a reference: reads its documents, and chooses among them."""

    def image(self, wanted: Platform | None) -> Image:
        """The image for a platform.

        Args:
            wanted: the platform. None means this host's, or the only one that there is, as with
                `docker pull`.

        Raises:
            NotFoundError: there is none for the platform.
            ContentError: it is not an image.
            DockersaveError: as `root`.
        """
        root = self.root()
        with self.concealing():
            return self._image(root, wanted)

    def _image(self, root: Manifest | Index, wanted: Platform | None) -> Image:
        if not root.is_index:
            variant = self._lone(root)
            if wanted is not None:
                self._check_platform(variant, wanted)
            return Image(self._reference, (variant,))
        platform = wanted or Platform.of_host()
        found = _Found()
        for entry, manifest in self._matching(root, platform, found, LIMITS.index_depth):
            try:
                candidate = self.variant(manifest) if may_be_image(manifest) else None
            except ContentError as failure:
                if entry.platform:
                    raise
                # It may not be an image: a bundle's description need not be.
                found.failure = found.failure or failure
                continue
            if candidate is None:
                found.kinds[kind_of(manifest)] = None
            elif entry.platform or _runs(candidate.config.platform, platform):
                return Image(self._reference, (candidate,))
            else:
                found.platforms[str(candidate.config.platform)] = None
        if not found.platforms.keys() - {str(platform)}:
            if found.failure:
                raise found.failure
            if found.kinds:
                raise no_image("the index holds no", found.kinds)
        raise no_platform(platform, found.platforms)

    def all_platforms(self) -> Image:
        """The whole index with everything in it, or an image without an index.

        Raises:
            ContentError: it contains no image.
            DockersaveError: as `root`.
        """
        root = self.root()
        with self.concealing():
            return self._all_platforms(root)

    def _all_platforms(self, root: Manifest | Index) -> Image:
        if not root.is_index:
            return Image(self._reference, (self._lone(root),))
        found = _Found()
        self._collect(root, found, LIMITS.index_depth)
        # First comes the one that engines without indexes load; the same on every host.
        variants = sorted(found.variants, key=lambda each: each.config.platform != _PRIMARY)
        if not variants:
            raise _nothing(found)
        indexes = tuple(index for index, _ in _outermost_first(found.indexes))
        return Image(
            self._reference,
            tuple(variants),
            tuple(found.attached),
            indexes,
            unreadable=tuple(found.unreadable),
        )

    def platforms(self) -> list[Offer]:
        """The available images, each with its platform; see `all_platforms`."""
        root = self.root()
        with self.concealing():
            return self._platforms(root)

    def _platforms(self, root: Manifest | Index) -> list[Offer]:
        if not root.is_index:
            return [Offer(self._lone(root).config.platform, root.descriptor.digest)]
        found = _Found()
        offers = list(self._offers(root, found, LIMITS.index_depth))
        if not offers:
            raise _nothing(found)
        return offers

    def _offers(self, index: Index, found: _Found, depth: int) -> Iterator[Offer]:
        for entry in index.manifests:
            if entry.digest in found.seen:
                continue
            found.seen.add(entry.digest)
            if kind := entry_kind(entry):
                found.kinds[kind] = None
            elif entry.platform and entry.media_type in MANIFEST_TYPES:
                yield Offer(entry.platform, entry.digest, entry.os_version)
            else:
                yield from self._offers_of(entry, found, depth)

    def _offers_of(self, entry: Descriptor, found: _Found, depth: int) -> Iterator[Offer]:
        """The images below an entry that does not state its platform."""
        try:
            child = self.anything(entry)
        except SchemaOneError as failure:
            found.failure = found.failure or failure
            return
        if child is None:
            found.kinds[entry.media_type] = None
        elif child.is_index:
            self._descend(depth)
            yield from self._offers(child, found, depth - 1)
        elif not may_be_image(child):
            found.kinds[kind_of(child)] = None
        else:
            try:
                variant = self.variant(child)
            except ContentError as failure:
                # As for a platform: it may not be an image.
                found.failure = found.failure or failure
                return
            if variant is not None:
                yield Offer(variant.config.platform, entry.digest, entry.os_version)

    def _lone(self, manifest: Manifest) -> Variant:
        """The image of a reference without an index."""
        check_is_image(manifest)
        variant = self.variant(manifest)
        if variant is None:
            raise no_image("this is not a", [kind_of(manifest)])
        return variant

    def _collect(self, index: Index, found: _Found, depth: int) -> None:
        """Collect an index and everything that it refers to, each once."""
        inside: list[str] = []
        blobs: list[Descriptor] = []
        found.indexes[index.descriptor.digest] = (index, inside)
        for entry in index.manifests:
            if entry.digest not in found.seen:
                found.seen.add(entry.digest)
                try:
                    child = self.anything(entry)
                except SchemaOneError as failure:
                    found.unreadable.append(entry.digest)
                    found.failure = found.failure or failure
                    continue
                if child is None:
                    blobs.append(entry)
                    found.kinds[entry.media_type] = None
                elif child.is_index:
                    self._descend(depth)
                    self._collect(child, found, depth - 1)
                else:
                    if entry.is_attestation:
                        found.kinds[entry_kind(entry)] = None
                    self._attach(child, found, is_attestation=entry.is_attestation)
            if entry.digest in found.indexes:
                inside.append(entry.digest)
        if blobs:
            self._attach(blobs_beside(index, blobs), found, is_attestation=True)

    def _attach(self, manifest: Manifest, found: _Found, *, is_attestation: bool) -> None:
        """Keep a manifest: an image, or something attached to one."""
        body = self.config_body(manifest)
        if not is_attestation:
            variant = None
            try:
                variant = self.variant(manifest)
            except ContentError as failure:
                # It is kept unchanged, if there is also an image.
                found.failure = found.failure or failure
            if variant is not None:
                found.variants.append(variant)
                return
            found.kinds[kind_of(manifest)] = None
        found.attached.append(Artifact(manifest, body))

    def _matching(
        self, index: Index, platform: Platform, found: _Found, depth: int
    ) -> Iterator[tuple[Descriptor, Manifest]]:
        """Candidates for a platform, the best first: entries with their manifests."""
        for entry in index.manifests:
            if entry.is_attestation:
                found.kinds[entry_kind(entry)] = None
            elif entry.platform and not entry_kind(entry):
                found.platforms[str(entry.platform)] = None
        try:
            entries = select(index, platform)
        except NotFoundError:
            return
        for entry in entries:
            if entry.digest in found.seen:
                continue
            found.seen.add(entry.digest)
            if not may_be_manifest(entry.media_type):
                found.kinds[entry.media_type] = None
                continue
            try:
                child = self.child(entry)
            except NotFoundError:
                if entry.media_type in MANIFEST_TYPES:
                    raise
                continue
            except SchemaOneError as failure:
                if entry.platform:
                    raise
                found.failure = found.failure or failure
                continue
            if not child.is_index:
                yield entry, child
                continue
            self._descend(depth)
            yield from self._matching(child, platform, found, depth - 1)

    @staticmethod
    def _descend(depth: int) -> None:
        if depth == 0:
            raise ContentError(f"indexes are nested more than {LIMITS.index_depth} levels deep")

    @staticmethod
    def _check_platform(variant: Variant, wanted: Platform) -> None:
        there = variant.config.platform
        if not _runs(there, wanted):
            raise NotFoundError(
                f"there is no image for {wanted}",
                f"it is only for {there}: choose it with {argument('platform', there)}",
            )


def _runs(there: Platform, wanted: Platform) -> bool:
    """Whether an image may be for a platform, according to its config."""
    stated = (there.os, there.architecture or wanted.architecture)
    return stated == (wanted.os, wanted.architecture)


def _nothing(found: _Found) -> DockersaveError:
    """The error for an index without any image."""
    if found.failure:
        return found.failure
    if found.kinds:
        return no_image("the index holds no", found.kinds)
    return NotFoundError("the index has no images", "tell whoever published it")


def _outermost_first(
    indexes: dict[str, tuple[Index, list[str]]],
) -> Iterable[tuple[Index, list[str]]]:
    """Indexes, each before those that it contains; one that is in two of them comes after both.

    Args:
        indexes: each with the digests that it contains; the first is the outermost.
    """
    order: dict[str, tuple[Index, list[str]]] = {}

    def visit(digest: str) -> None:
        if digest not in order:
            for inner in reversed(indexes[digest][1]):
                visit(inner)
            order[digest] = indexes[digest]

    visit(next(iter(indexes)))
    return reversed(order.values())
