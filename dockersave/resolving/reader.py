"""The documents of one reference: fetched, verified and parsed within the budget of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..budget import Budget
from ..errors import ContentError, NotFoundError, shown
from ..limits import LIMITS
from ..model.descriptors import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from ..model.digest import check
from ..model.image import Variant
from ..model.kinds import image_config, may_be_manifest, parse_any
from ..model.manifests import SCHEMA_1, Index, Manifest, SchemaOneError, parse_document
from ..model.reference import Reference
from ..model.weight import kept_of
from ..registry.documents import Document
from .documents import Documents


class DocumentReader:
    """Reads manifests, indexes and configs.

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
        self._copies = copies
        self._expect = expect
        self._registry = registry
        self._reference = reference
        self._local = local
        self._budget = budget or registry.budget
        self._budget.grant()
        self._bodies: dict[str, bytes] = {}
        self.asked = ""
        """The digest of what the reference names, once it was read."""
        self.indexes: dict[str, Index] = {}
        """All indexes that were read, by their digests."""

    def root(self) -> Manifest | Index:
        """The manifest or index of the reference.

        Raises:
            DockersaveError: there is no such image, or it cannot be fetched.
        """
        version = self._reference.version
        self._budget.ask()
        with self._budget.reading() as large:
            document = self._registry.manifest(self._reference.repository, version, large)
            if self._reference.digest:
                check(document.body, self._reference.digest, "the manifest")
            self._budget.keep(len(document.body) + kept_of(document.body))
        self.asked = document.digest
        with self.concealing(), self._budget.taking():
            root = parse_document(document.body, document.digest, document.media_type)
        return self._noted(root)

    @contextmanager
    def concealing(self) -> Iterator[None]:
        """Errors quote documents: the registry may have put a secret there."""
        try:
            yield
        except (ContentError, NotFoundError) as error:
            self._registry.conceal(error)
            raise

    def anything(self, entry: Descriptor) -> Manifest | Index | None:
        """A manifest or index that an index refers to, of any type; None for a blob."""
        if not may_be_manifest(entry.media_type):
            return None
        try:
            return self.child(entry, parse_any)
        except NotFoundError:
            if entry.media_type in INDEX_TYPES | MANIFEST_TYPES:
                raise
            return None

    def child(
        self,
        entry: Descriptor,
        parse: Callable[[bytes, str, str], Manifest | Index] = parse_document,
    ) -> Manifest | Index:
        """A manifest or index that an index refers to.

        Args:
            entry: what the index says of it.
            parse: of bodies; by default, only of documents whose type is known.

        Raises:
            NotFoundError: the registry does not have it.
            SchemaOneError: it is in Docker's first format.
            ContentError: it is not what the index says.
            DockersaveError: it cannot be fetched.
        """
        if entry.media_type.startswith(SCHEMA_1):
            raise SchemaOneError
        self._budget.ask()
        counted = min(entry.size, LIMITS.manifest)
        self._budget.keep(counted)
        with self._budget.reading(counted) as large:
            document = self._registry.manifest(
                self._reference.repository, entry.digest, large, entry.media_type
            )
            what = f"the manifest {entry.digest}"
            check(document.body, entry.digest, what, entry.size)
            self._budget.keep(kept_of(document.body))
        with self._budget.taking():
            child = parse(document.body, entry.digest, document.media_type)
        is_known = entry.media_type in INDEX_TYPES | MANIFEST_TYPES
        if is_known and (entry.media_type in INDEX_TYPES) != child.is_index:
            raise ContentError(f"{what} is not what the index says: {shown(entry.media_type)}")
        return self._noted(child)

    def kept(self, document: Document) -> Manifest | Index:
        """A document that was found otherwise, and is to be kept.

        Raises:
            ContentError: it is malformed, or too much with all others.
        """
        self._budget.keep(len(document.body) + kept_of(document.body))
        with self._budget.taking(len(document.body)):
            return parse_document(document.body, document.digest, document.media_type)

    def _noted(self, document: Manifest | Index) -> Manifest | Index:
        if document.is_index:
            self.indexes[document.descriptor.digest] = document
        return document

    def variant(self, manifest: Manifest) -> Variant | None:
        """The image that a manifest describes; None if it describes something else."""
        body = self.config_body(manifest)
        with self._budget.taking():
            config = image_config(manifest, body)
        return Variant(manifest, body, config) if config else None

    def config_body(self, manifest: Manifest) -> bytes:
        """The config of a manifest, read once."""
        if manifest.config.digest == manifest.descriptor.digest:
            return manifest.body
        digest = manifest.config.digest
        if digest not in self._bodies:
            size = min(manifest.config.size, LIMITS.config)
            self._budget.keep(size * self._copies)
            with self._budget.taking(size):
                self._bodies[digest] = self._read_config(manifest)
        return self._bodies[digest]

    def _read_config(self, manifest: Manifest) -> bytes:
        body = self._local(manifest.config)
        if body is None:
            self._budget.ask()
            self._expect(manifest)
            repository = self._reference.repository
            body = self._registry.read_blob(repository, manifest.config, LIMITS.config)
        return body
