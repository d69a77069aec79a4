"""Signatures as cosign makes them, of anything, with anything wrong with them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dockersave.signatures.signed import BUNDLE, IS_SIGNED, SIGNATURE, SIMPLE_SIGNING
from tests.images import Document
from tests.images.documents import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, encode
from tests.images.layers import Blob
from tests.signatures.keyring import sign

KIND = "ECDSA P-256"
TYPE = "application/vnd.in-toto+json"
Payload = tuple[bytes, str]
"""A payload of the older form, and its signature as text."""


def text_of(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def payload(digest: str, notes: object = None, name: str = "r.io/app", **critical: Any) -> bytes:
    """What is signed in cosign's older form."""
    inner = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": inner | critical, "optional": notes}).encode()


def signed(body: bytes, kind: str = KIND, number: int = 0) -> Payload:
    """A payload with its signature."""
    return body, text_of(sign(kind, body, number))


def signatures(*payloads: Payload, layers: Mapping[str, Any] | None = None) -> Document:
    """The manifest with the tag `sha256-HEX.sig`; `layers` is what they all say besides."""
    blobs = [Blob.of(SIMPLE_SIGNING, body) for body, _ in payloads]
    entries = [
        blob.descriptor() | {"annotations": {SIGNATURE: text}} | dict(layers or {})
        for blob, (_, text) in zip(blobs, payloads, strict=True)
    ]
    return _manifest(Blob.of("application/vnd.oci.image.config.v1+json", b"{}"), blobs, entries)


def statement(*digests: str, notes: object = None, **more: Any) -> dict[str, Any]:
    """What is signed in a bundle."""
    extra = {"annotations": notes} if notes is not None else {}
    subjects = [{"digest": {"sha256": digest.partition(":")[2]}} | extra for digest in digests]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": IS_SIGNED,
        "predicate": {},
    } | more


def envelope(body: bytes, kind: str = KIND, number: int = 0) -> dict[str, Any]:
    """A signed envelope around a statement."""
    message = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(body), body)
    made = text_of(sign(kind, message, number))
    return {"payload": text_of(body), "payloadType": TYPE, "signatures": [{"sig": made}]}


def bundle(body: bytes, number: int = 0, **more: Any) -> dict[str, Any]:
    """A Sigstore bundle around a statement."""
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "any"}},
        "dsseEnvelope": envelope(body, number=number),
    } | more


def referrer(
    subject: Document, content: bytes, kind: str = BUNDLE, config: str = OCI_EMPTY, **more: Any
) -> Document:
    """A manifest about an image, with one layer."""
    blob = Blob.of(kind, content)
    about = {"subject": subject.descriptor(), "artifactType": kind} | more
    return _manifest(Blob.of(config, b"{}"), [blob], [blob.descriptor()], about)


def bundle_of(image: Document, number: int = 0, **more: Any) -> Document:
    """A manifest with a bundle that signs an image."""
    body = json.dumps(statement(image.digest, **more)).encode()
    return referrer(image, json.dumps(bundle(body, number)).encode())


def referrers(*documents: Document, kind: str = "application/vnd.oci.empty.v1+json") -> Document:
    """The index with the tag `sha256-HEX`, with the wrong type that cosign writes into it."""
    entries = [document.descriptor() | {"artifactType": kind} for document in documents]
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Document(OCI_INDEX, encode(body), children=documents)


def tag_of(document: Document, suffix: str = "") -> str:
    """The tag for what is attached to a manifest."""
    return f"{document.digest.replace(':', '-')}{suffix}"


def _manifest(
    config: Blob,
    blobs: Sequence[Blob],
    entries: Sequence[Mapping[str, Any]],
    more: Mapping[str, Any] | None = None,
) -> Document:
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": list(entries),
    }
    return Document(OCI_MANIFEST, encode(body | dict(more or {})), (config, *blobs))
