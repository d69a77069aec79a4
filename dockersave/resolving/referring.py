"""What refers to an image, as the manifests say themselves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ..errors import ContentError, NotFoundError
from ..model.descriptors import Descriptor
from ..model.manifests import parse_document
from ..model.reference import Reference
from ..registry.attached import distinct, of_mirrors
from ..registry.client import RegistryClient
from ..values import replace
from .session import Session


def referring(
    registry: RegistryClient, reference: Reference, digest: str, session: Session
) -> Iterator[Descriptor]:
    """The manifests that refer to an image.

    Args:
        registry: the image's registry.
        reference: the image.
        digest: its digest.
        session: the run's.

    Raises:
        CredentialsError, NetworkError, ContentError, CancelledError: see there.
    """
    *mirrors, home = registry.attached(reference.repository)
    elsewhere = of_mirrors(mirrors, lambda place: place.referrers(digest), session.trace)
    for entry in distinct(chain(elsewhere, home.referrers(digest)), digest):
        if found := _read(registry, reference, entry, digest):
            yield found


def _read(
    registry: RegistryClient, reference: Reference, entry: Descriptor, digest: str
) -> Descriptor | None:
    try:
        found = registry.manifest(reference.repository, entry.digest)
        manifest = parse_document(found.body, entry.digest, found.media_type)
    except (ContentError, NotFoundError):
        return None
    if manifest.is_index or manifest.subject != digest:
        return None
    kind = manifest.artifact_type or manifest.config.media_type
    return replace(manifest.descriptor, artifact_type=kind, annotations=manifest.annotations)
