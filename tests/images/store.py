"""What a registry holds: served by the simulator, or pushed into a real registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

import urllib3

from tests.images.content import chunks
from tests.images.documents import Document, Image
from tests.images.layers import Blob


@dataclass(slots=True)
class Repository:
    """One name in a registry.

    Parameters:
        blobs: configs and layers by digest.
        manifests: manifests and indexes by digest.
        tags: digests by tag.
        configs: digests of the blobs that are configs.
    """

    blobs: dict[str, Blob] = field(default_factory=dict)
    manifests: dict[str, Document] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    configs: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Store:
    """The repositories of a registry by name."""

    repositories: dict[str, Repository] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Mapping[str, Document], tag: str = "latest") -> Store:
        """Hold each document under its repository's name, all with one tag."""
        store = cls()
        for name, document in documents.items():
            store.add(name, document, tag)
        return store

    def add(self, name: str, document: Document, *tags: str) -> str:
        """Hold a document and all that it names; return its digest.

        Foreign layers are left out: their bytes are behind their `urls`.
        """
        repository = self.repositories.setdefault(name, Repository())
        for part in document.walk():
            repository.manifests[part.digest] = part
            for blob in part.blobs:
                if not getattr(blob, "urls", ()):
                    repository.blobs[blob.digest] = blob
            if isinstance(part, Image):
                repository.configs.add(part.config_digest)
        repository.tags |= dict.fromkeys(tags, document.digest)
        return document.digest


class PushError(Exception):
    """A registry refused a push; the message contains its answer."""


def push(
    store: Store,
    base_url: str,
    *,
    ca_file: str | None = None,
    auth: tuple[str, str] | None = None,
    names: Iterable[str] | None = None,
) -> None:
    """Upload a store into a registry (distribution-spec, Pushing).

    Parameters:
        store: what to upload.
        base_url: `http://host:port` or `https://host:port`.
        ca_file: PEM file with the authority that signed the registry's certificate.
        auth: user and password for Basic authentication.
        names: repositories to upload; None for all.

    Raises:
        PushError: an answer was none of those that the specification has for success.
    """
    headers = urllib3.make_headers(basic_auth=":".join(auth)) if auth else {}
    with urllib3.PoolManager(ca_certs=ca_file, headers=headers, retries=False) as pool:
        for name in store.repositories if names is None else names:
            _push_repository(pool, f"{base_url}/v2/{name}", store.repositories[name])


def _push_repository(pool: urllib3.PoolManager, url: str, repository: Repository) -> None:
    for blob in repository.blobs.values():
        if pool.request("HEAD", f"{url}/blobs/{blob.digest}").status == 200:
            continue
        started = _expect(pool.request("POST", f"{url}/blobs/uploads/"), 202)
        place = urljoin(url, started.headers["Location"])
        place += f"{'&' if '?' in place else '?'}digest={blob.digest}"
        headers = {
            **pool.headers,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(blob.size),
        }
        _expect(pool.request("PUT", place, body=chunks(blob.data), headers=headers), 201)
    tags: dict[str, list[str]] = {digest: [] for digest in repository.manifests}
    for tag, digest in repository.tags.items():
        tags[digest].append(tag)
    for digest, document in repository.manifests.items():
        headers = {**pool.headers, "Content-Type": document.media_type}
        for reference in (digest, *tags[digest]):
            place = f"{url}/manifests/{reference}"
            _expect(pool.request("PUT", place, body=document.manifest, headers=headers), 201)


def _expect(answer: urllib3.BaseHTTPResponse, status: int) -> urllib3.BaseHTTPResponse:
    if answer.status != status:
        raise PushError(f"{answer.url}: {answer.status} {answer.data[:500]!r}")
    return answer
