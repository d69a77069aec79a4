"""Reference → image: which manifest, which platform, which config."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from .errors import ContentError, NotFoundError
from .image import Image, Variant
from .limits import LIMITS
from .oci import (
    CONFIG_TYPES,
    INDEX_TYPES,
    Descriptor,
    Index,
    Manifest,
    check_is_image,
    no_platform,
    parse_config,
    parse_document,
    select,
)
from .platforms import Platform
from .reference import Reference
from .verify import check

_PRIMARY = Platform("linux", "amd64")


class Document(Protocol):
    """What a registry says a manifest or an index is."""

    @property
    def body(self) -> bytes:
        """Its bytes."""

    @property
    def media_type(self) -> str:
        """What its Content-Type says."""

    @property
    def digest(self) -> str:
        """What its bytes hash to."""


class Documents(Protocol):
    """What resolving needs of a registry."""

    def manifest(self, repository: str, version: str) -> Document:
        """A manifest or an index, by tag or digest."""

    def read_blob(self, repository: str, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob, verified."""


class Resolver:
    """Finds the image that one reference stands for.

    Args:
        registry: the reference's registry.
        reference: the reference.
        local: reads a config that lies on this machine's disk already; None if none does.
    """

    def __init__(
        self,
        registry: Documents,
        reference: Reference,
        local: Callable[[Descriptor], bytes | None] = lambda descriptor: None,
    ) -> None:
        self._registry = registry
        self._reference = reference
        self._local = local

    def root(self) -> Manifest | Index:
        """What the reference names.

        Raises:
            DockersaveError: there is no such image, or it cannot be had.
        """
        version = self._reference.version
        document = self._registry.manifest(self._reference.repository, version)
        if self._reference.digest:
            check(document.body, self._reference.digest, "the manifest")
        return parse_document(document.body, document.digest, document.media_type)

    def image(self, wanted: Platform | None) -> Image:
        """The image for a platform.

        Args:
            wanted: the platform. None is this host's, and whatever there is where the registry
                offers no choice, as with `docker pull`.

        Raises:
            NotFoundError: there is none for the platform.
            DockersaveError: as `root`.
        """
        root = self.root()
        if isinstance(root, Manifest):
            variant = self._variant(root)
            if wanted is not None:
                self._check_platform(variant, wanted)
            return Image(self._reference, (variant,))
        platform = wanted or Platform.of_host()
        for manifest in self._matching(root, platform, LIMITS.index_depth):
            return Image(self._reference, (self._variant(manifest),))
        raise no_platform(root, platform)

    def all_platforms(self) -> Image:
        """The whole index, with attestations; for an image without one, the image.

        Raises:
            DockersaveError: as `root`.
        """
        root = self.root()
        if isinstance(root, Manifest):
            return Image(self._reference, (self._variant(root),))
        indexes: list[Index] = []
        variants: list[Variant] = []
        self._collect(root, indexes, variants, LIMITS.index_depth)
        # The one that engines without indexes load comes first; the same on whichever host.
        variants.sort(
            key=lambda variant: (
                variant.config is None,
                variant.config is not None and variant.config.platform != _PRIMARY,
            )
        )
        if not variants or variants[0].config is None:
            raise NotFoundError("the index has no images")
        return Image(self._reference, tuple(variants), tuple(indexes))

    def _collect(
        self, index: Index, indexes: list[Index], variants: list[Variant], depth: int
    ) -> None:
        indexes.append(index)
        for entry in index.manifests:
            child = self._child(entry)
            if isinstance(child, Index):
                self._descend(depth)
                self._collect(child, indexes, variants, depth - 1)
            else:
                variants.append(self._variant(child, attached=entry.is_attestation))

    def _matching(self, index: Index, platform: Platform, depth: int) -> Iterator[Manifest]:
        for entry in select(index, platform):
            child = self._child(entry)
            if isinstance(child, Manifest):
                if entry.platform is None and not self._serves(child, platform):
                    continue
                yield child
                continue
            self._descend(depth)
            try:
                yield from self._matching(child, platform, depth - 1)
            except NotFoundError:
                continue

    @staticmethod
    def _descend(depth: int) -> None:
        if depth == 0:
            raise ContentError(f"indexes are nested more than {LIMITS.index_depth} deep")

    def _serves(self, manifest: Manifest, platform: Platform) -> bool:
        if manifest.config.media_type not in CONFIG_TYPES:
            return False
        config = self._variant(manifest).config
        return config is not None and (config.platform.os, config.platform.architecture) == (
            platform.os,
            platform.architecture,
        )

    def _child(self, entry: Descriptor) -> Manifest | Index:
        document = self._registry.manifest(self._reference.repository, entry.digest)
        what = f"the manifest {entry.digest}"
        check(document.body, entry.digest, what, entry.size)
        child = parse_document(document.body, entry.digest, document.media_type)
        if (entry.media_type in INDEX_TYPES) != isinstance(child, Index):
            raise ContentError(f"{what} is not what the index says: {entry.media_type}")
        return child

    def _variant(self, manifest: Manifest, *, attached: bool = False) -> Variant:
        if not attached:
            check_is_image(manifest)
        body = self._local(manifest.config)
        if body is None:
            body = self._registry.read_blob(
                self._reference.repository, manifest.config, LIMITS.config
            )
        return Variant(
            manifest, body, None if attached else parse_config(body, len(manifest.layers))
        )

    @staticmethod
    def _check_platform(variant: Variant, wanted: Platform) -> None:
        assert variant.config is not None
        there = variant.config.platform
        if there.architecture and (there.os, there.architecture) != (
            wanted.os,
            wanted.architecture,
        ):
            raise NotFoundError(
                f"there is no image for {wanted}",
                f"it is only for {there}: choose with --platform {there}",
            )
