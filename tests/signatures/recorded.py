"""What cosign and notation made (`record.py`), as the simulator serves it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.images import Document, Store
from tests.images.documents import OCI_MANIFEST
from tests.images.layers import Blob
from tests.images.store import Repository

FORMS = ("cosign", "bundle")


@lru_cache(maxsize=1)
def made() -> dict[str, Any]:
    """All that is recorded."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "made.json").read_bytes())
    return found


def key(kind: str = "ECDSA P-256") -> bytes:
    """A public key, PEM."""
    text: str = made()["keys"][kind]
    return text.encode()


def repository_of(kind: str, form: str) -> str:
    """The repository whose image was signed with a key of this kind, in this form."""
    return f"{kind.split()[-1].lower().replace('-', '')}-{form}"


def store(*names: str) -> Store:
    """Repositories with all that they had."""
    blobs = {
        digest: Blob.of("application/octet-stream", base64.b64decode(text))
        for digest, text in made()["blobs"].items()
    }
    manifests = {
        digest: Document(json.loads(text).get("mediaType", OCI_MANIFEST), text.encode())
        for digest, text in made()["manifests"].items()
    }
    found = Store()
    for name in names:
        tags = made()["tags"][name]
        inside = {digest: manifests[digest] for tag in tags.values() for digest in _below(tag)}
        found.repositories[name] = Repository(dict(blobs), inside, dict(tags))
    return found


def _below(digest: str) -> Iterator[str]:
    yield digest
    for entry in json.loads(made()["manifests"][digest]).get("manifests", ()):
        yield from _below(entry["digest"])
