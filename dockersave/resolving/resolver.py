"""From a reference to an image: manifest, platform and config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..budget import Budget
from ..errors import ContentError, NotFoundError
from ..limits import LIMITS
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
from ..model.manifests import (
    MANIFEST_TYPES,
    Descriptor,
    Index,
    Manifest,
    images_of,
    no_platform,
    select,
)
from ..model.platforms import Offer, Platform
from ..model.reference import Reference
from ..spelling import argument
from ..values import dataclass, field
from .documents import Documents
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
        failure: the first error of an unreadable image.
    """

    seen: set[str] = field(default_factory=set)
    indexes: dict[str, tuple[Index, list[str]]] = field(default_factory=dict)
    variants: list[Variant] = field(default_factory=list)
    attached: list[Artifact] = field(default_factory=list)
    platforms: dict[str, None] = field(default_factory=dict)
    kinds: dict[str, None] = field(default_factory=dict)
    failure: ContentError | None = None


class Resolver:
    """Finds the image of a reference.

    Args:
        registry: the reference's registry.
        reference: the reference.
        local: reads a config from this machine's disk; returns None if it is not there.
        budget: the remaining budget for documents; by default the registry's.
        expect: called with a manifest whose layers will be needed, while its config is being
            fetched.
        copies: how many copies of a config the output format keeps in memory.
    """

    def __init__(
        self,
        registry: Documents,
        reference: Reference,
        local: Callable[[Descriptor], bytes | None] = lambda descriptor: None,
        budget: Budget | None = None,
        expect: Callable[[Manifest], object] = lambda manifest: None,
        copies: int = 1,
    ) -> None:
        self._reference = reference
        self._reader = DocumentReader(registry, reference, local, budget, expect, copies)

    def root(self) -> Manifest | Index:
        """The manifest or index of the reference.

        Raises:
            DockersaveError: there is no such image, or it cannot be fetched.
        """
        return self._reader.root()

    @property
    def asked(self) -> str:
        """The digest of what the reference names, once it was read."""
        return self._reader.asked

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
        with self._reader.concealing():
            return self._image(root, wanted)

    def _image(self, root: Manifest | Index, wanted: Platform | None) -> Image:
        if isinstance(root, Manifest):
            variant = self._lone(root)
            if wanted is not None:
                self._check_platform(variant, wanted)
            return Image(self._reference, (variant,))
        platform = wanted or Platform.of_host()
        found = _Found()
        for entry, manifest in self._matching(root, platform, found, LIMITS.index_depth):
            try:
                candidate = self._reader.variant(manifest) if may_be_image(manifest) else None
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
        with self._reader.concealing():
            return self._all_platforms(root)

    def _all_platforms(self, root: Manifest | Index) -> Image:
        if isinstance(root, Manifest):
            return Image(self._reference, (self._lone(root),))
        found = _Found()
        self._collect(root, found, LIMITS.index_depth)
        # First comes the one that engines without indexes load; the same on every host.
        variants = sorted(found.variants, key=lambda each: each.config.platform != _PRIMARY)
        if not variants:
            if found.failure:
                raise found.failure
            if found.kinds:
                raise no_image("the index holds no", found.kinds)
            raise NotFoundError("the index has no images", "it is empty: tell whoever published it")
        indexes = tuple(index for index, _ in _outermost_first(found.indexes))
        return Image(self._reference, tuple(variants), tuple(found.attached), indexes)

    def platforms(self) -> list[Offer]:
        """The available images, each with its platform; see `all_platforms`."""
        root = self.root()
        with self._reader.concealing():
            return self._platforms(root)

    def _platforms(self, root: Manifest | Index) -> list[Offer]:
        if isinstance(root, Manifest):
            return [Offer(self._lone(root).config.platform, root.descriptor.digest)]
        found = _Found()
        offers = list(self._offers(root, found, LIMITS.index_depth))
        if not offers:
            raise no_image("the index holds no", found.kinds or ["nothing"])
        return offers

    def _offers(self, index: Index, found: _Found, depth: int) -> Iterator[Offer]:
        for entry in index.manifests:
            if entry.is_attestation or entry.digest in found.seen:
                continue
            found.seen.add(entry.digest)
            if kind := entry_kind(entry):
                found.kinds[kind] = None
            elif entry.platform and entry.media_type in MANIFEST_TYPES:
                yield Offer(entry.platform, entry.digest, entry.os_version)
            elif isinstance(child := self._reader.anything(entry), Index):
                self._descend(depth)
                yield from self._offers(child, found, depth - 1)
            elif child is None or not may_be_image(child):
                found.kinds[kind_of(child) if child else entry.media_type] = None
            elif variant := self._reader.variant(child):
                yield Offer(variant.config.platform, entry.digest, entry.os_version)

    def _lone(self, manifest: Manifest) -> Variant:
        """The image of a reference without an index."""
        check_is_image(manifest)
        variant = self._reader.variant(manifest)
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
                child = self._reader.anything(entry)
                if child is None:
                    blobs.append(entry)
                    found.kinds[entry.media_type] = None
                elif isinstance(child, Index):
                    self._descend(depth)
                    self._collect(child, found, depth - 1)
                else:
                    self._attach(child, found, is_attestation=entry.is_attestation)
            if entry.digest in found.indexes:
                inside.append(entry.digest)
        if blobs:
            self._attach(blobs_beside(index, blobs), found, is_attestation=True)

    def _attach(self, manifest: Manifest, found: _Found, *, is_attestation: bool) -> None:
        """Keep a manifest: an image, or something attached to one."""
        body = self._reader.config_body(manifest)
        if not is_attestation:
            variant = None
            try:
                variant = self._reader.variant(manifest)
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
        for entry in images_of(index):
            if not entry_kind(entry):
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
                child = self._reader.child(entry)
            except NotFoundError:
                if entry.media_type in MANIFEST_TYPES:
                    raise
                continue
            if isinstance(child, Manifest):
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
