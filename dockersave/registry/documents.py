"""Manifests and indexes as served by a registry, with what it says about them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..model.descriptors import ACCEPT
from ..model.digest import is_digest
from ..values import dataclass

_MEDIA_TYPE = re.compile(r"([A-Za-z0-9!#$&^_.+-]{1,127})/([A-Za-z0-9!#$&^_.+-]{1,127})")
"""RFC 6838, section 4.2."""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index, as served by a registry.

    Args:
        body: its bytes.
        media_type: the media type that the registry states, or empty.
        digest: the digest of the bytes.
    """

    body: bytes
    media_type: str
    digest: str


def accepting(media_type: str = "") -> dict[str, str]:
    """The header of a request for a manifest or an index.

    Args:
        media_type: a type to accept beside the known ones; one that is malformed is left out.
    """
    more = [media_type] if _MEDIA_TYPE.fullmatch(media_type) else []
    return {"Accept": ", ".join(dict.fromkeys([*ACCEPT, *more]))}


def name_of(repository: str, version: str) -> str:
    """The name of a manifest in messages."""
    return f"{repository}@{version}" if is_digest(version) else f"{repository}:{version}"


def are_comparable(digest: str, version: str) -> bool:
    """Whether a header's digest can be compared with a version: registries prefer sha256."""
    algorithm = version.partition(":")[0] if is_digest(version) else ""
    return is_digest(digest) and digest.startswith(algorithm)


def media_type_of(headers: Mapping[str, str]) -> str:
    """The media type of a response, without parameters."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()
