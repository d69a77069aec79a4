"""Manifests, indexes and configs: parse, validate, select. Pure.

Sources: OCI image specification 1.1 (manifest.md, image-index.md, config.md)
and Docker's image manifest version 2, schema 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NoReturn

from ..errors import ContentError, NotFoundError, shown
from ..limits import LIMITS
from ..spelling import argument
from ..values import dataclass, field
from .descriptors import (
    CONFIG_TYPES,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    artifact_type,
    in_any_case,
    parse_descriptor,
    text_in,
)
from .digest import is_digest
from .platforms import Platform
from .weight import is_too_heavy

SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_UNSTATED = 1000
"""The rank of an entry without a platform: after all others."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its config and its layers, bottom first. Or an artifact, which may be about the
    manifest with the digest `subject`."""

    descriptor: Descriptor
    body: bytes
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = ""
    subject: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    is_index: Literal[False] = field(default=False, init=False, repr=False)


@dataclass(frozen=True, slots=True)
class Index:
    """Several images (Docker's term is manifest list)."""

    descriptor: Descriptor
    body: bytes
    manifests: tuple[Descriptor, ...]
    is_index: Literal[True] = field(default=True, init=False, repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """The relevant parts of an image configuration (OCI config.md).

    Args:
        platform: the image's platform.
        diff_ids: of its layers, bottom first.
        stated: its platform, byte for byte: `architecture`, `os`, `os.version` and `variant`, if
            present. The rest, which can be long, is not kept.
    """

    platform: Platform
    diff_ids: tuple[str, ...]
    stated: dict[str, str]


_SCHEMA_ONE = (
    "the image has a schema 1 manifest, which was deprecated in 2017 and has no digests of its "
    "layers' content"
)


NO_DOCUMENT_HINT = (
    "something in between (a proxy, a login page) may be answering instead of the registry"
)


class SchemaOneError(ContentError):
    """A manifest in Docker's first format. Its digest is not that of the bytes that are served."""

    _usual = "push it again with any current engine"

    def __init__(self, message: str = _SCHEMA_ONE, hint: str = "") -> None:
        super().__init__(message, hint)


class UnknownKindError(ContentError):
    """A document states an unknown type.

    Args:
        media_type: the type.
    """

    def __init__(self, media_type: str) -> None:
        super().__init__(f"the manifest has the unknown type {shown(media_type)}")
        self.media_type = media_type


def parse_document(body: bytes, digest: str, media_type: str = "") -> Manifest | Index:
    """Parse a manifest or an index.

    Args:
        body: its bytes, already verified.
        digest: its digest.
        media_type: from the Content-Type header or its descriptor; empty if unknown.

    Raises:
        ContentError: it is malformed, contradicts itself or its media type, or is not an image.
    """
    document = json_object(body, "manifest")
    stated = text_in(document, "mediaType", "the manifest")
    if document.get("schemaVersion") == 1 or stated.startswith(SCHEMA_1):
        raise SchemaOneError
    # Registries use generic types for documents; only a different document type is an error.
    known = INDEX_TYPES | MANIFEST_TYPES
    if stated and stated not in known:
        raise UnknownKindError(stated)
    if document.get("schemaVersion") != 2:
        raise ContentError("the manifest's schemaVersion is not 2")
    # Go treats null as missing.
    there = {key for key in ("manifests", "layers", "config") if document.get(key) is not None}
    if "manifests" in there and len(there) > 1:
        raise ContentError("the manifest claims to be an index and an image at once")
    is_index = "manifests" in there or (
        not there and ("manifests" in document or stated in INDEX_TYPES)
    )
    kind = INDEX_TYPES if is_index else MANIFEST_TYPES
    for claim in (stated, media_type):
        if claim in known and claim not in kind:
            raise ContentError(f"the manifest is labelled {claim}, but it is not one")
    if stated in known and media_type in known and stated != media_type:
        raise ContentError(f"the manifest says {stated}, but is labelled {media_type}")
    actual = stated or (media_type if media_type in known else "")
    if kind is INDEX_TYPES:
        descriptor = Descriptor(actual or OCI_INDEX, digest, len(body))
        return Index(descriptor, body, _descriptors(document, "manifests", LIMITS.references))
    layers = _descriptors(document, "layers", LIMITS.layers)
    config = parse_descriptor(document.get("config"), "the config")
    descriptor = Descriptor(actual or OCI_MANIFEST, digest, len(body))
    about, notes = _part(document, "subject").get("digest", ""), _part(document, "annotations")
    return Manifest(descriptor, body, config, layers, artifact_type(document), about, notes)


def parse_config(body: bytes, layers: int) -> Config:
    """Parse an image configuration.

    Args:
        body: its bytes.
        layers: how many the manifest lists.

    Raises:
        ContentError: it is malformed, or does not match its manifest.
    """
    document = json_object(body, "config")
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if diff_ids is None and not layers:
        diff_ids = []
    if not isinstance(diff_ids, list) or not all(map(is_digest, diff_ids)):
        raise ContentError("the config has no list of diff_ids")
    if len(diff_ids) != layers:
        raise ContentError(
            f"the config names {len(diff_ids)} layers, but the manifest lists {layers}"
        )
    names = [in_any_case(document, key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(name, str) for name in names):
        raise ContentError("the config's platform is not a string")
    keys = ("architecture", "os", "os.version", "variant")
    stated = {key: document[key] for key in keys if isinstance(document.get(key), str)}
    return Config(Platform.of(*names), tuple(diff_ids), {k: v for k, v in stated.items() if v})


def descriptors_of(document: Mapping[str, Any]) -> tuple[Descriptor, ...]:
    """All descriptors in a document of an unknown type, if it has them in the usual places.

    Raises:
        ContentError: a descriptor is malformed.
    """
    keys = [key for key in ("layers", "blobs") if key in document]
    found = [one for key in keys for one in _descriptors(document, key, LIMITS.layers)]
    if document.get("config") is not None:
        found.append(parse_descriptor(document["config"], "the config"))
    return tuple(found)


def select(index: Index, wanted: Platform) -> list[Descriptor]:
    """The entries of an index that may lead to the image for a platform, best first.

    Entries without a platform and nested indexes come after those that state one.

    Raises:
        NotFoundError: there is none; the hint lists those available.
    """
    ranked: list[tuple[bool, float, int, Descriptor]] = []
    for position, entry in enumerate(index.manifests):
        if entry.is_attestation:
            continue
        rank = entry.platform.distance(wanted) if entry.platform else _UNSTATED
        if rank is None and entry.media_type in INDEX_TYPES:
            rank = _UNSTATED
        if rank is not None:
            # An artifact may state the platform of its image.
            is_artifact = entry.artifact_type not in CONFIG_TYPES | {""}
            ranked.append((is_artifact, rank, position, entry))
    if not ranked:
        raise no_platform(wanted, (str(entry.platform) for entry in images_of(index)))
    return [entry for *_, entry in sorted(ranked, key=lambda item: item[:3])]


def images_of(index: Index) -> list[Descriptor]:
    """The entries of an index that state their platform."""
    return [entry for entry in index.manifests if entry.platform and not entry.is_attestation]


def no_platform(wanted: Platform, platforms: Iterable[str]) -> NotFoundError:
    """The error if an index has nothing for a platform.

    Args:
        wanted: the platform.
        platforms: those available.
    """
    there = shown(", ".join(dict.fromkeys(platforms)), 1000)
    return NotFoundError(
        f"there is no image for {wanted}",
        f"available: {there}; choose with {argument('platform')}"
        if there
        else "the index names no image for any platform: tell whoever published it",
    )


def to_json(document: Any) -> bytes:
    """Serialise a document, always to the same bytes."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    # Half a surrogate pair, which UTF-8 cannot encode, stays a JSON escape.
    return text.encode(errors="backslashreplace")


def json_object(body: bytes, what: str) -> dict[str, Any]:
    """A JSON object, as engines read it.

    Args:
        body: its bytes.
        what: it is, for messages.

    Raises:
        ContentError: it is none.
    """
    if is_too_heavy(body, LIMITS.document_marks):
        raise ContentError(f"the {what} has too many values or too much text")
    try:
        # Engines accept only UTF-8 and JSON numbers: reject anything they would read differently.
        document = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ContentError(
            f"the {what} is not valid JSON",
            NO_DOCUMENT_HINT,
        ) from None
    if not isinstance(document, dict):
        raise ContentError(f"the {what} is not a JSON object")
    return document


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _part(document: Mapping[str, Any], key: str) -> dict[str, str]:
    """The texts in an object of a document; none if there is no such object."""
    part = document.get(key)
    pairs = part.items() if isinstance(part, dict) else ()
    return {name: text for name, text in pairs if isinstance(text, str)}


def _descriptors(document: Mapping[str, Any], key: str, most: int) -> tuple[Descriptor, ...]:
    entries = document.get(key)
    if key in document and entries is None:
        # An empty list as encoded by Go.
        return ()
    if not isinstance(entries, list):
        raise ContentError(f"the manifest has no list of {key}")
    if len(entries) > most:
        raise ContentError(f"the manifest has more than {most} {key}")
    return tuple(
        parse_descriptor(entry, f"{key}[{position}]") for position, entry in enumerate(entries)
    )
