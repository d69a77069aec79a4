"""What a registry holds: served by the simulator, or put into a real registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import urllib3

from tests.images.content import chunks, read
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


def lay_out(store: Store, storage: Path) -> None:
    """Put a store into the directory of a docker-registry, as if pushed: that takes it seconds.

    Parameters:
        store: what to put there, beside what there is.
        storage: root of the registry's `filesystem` driver; its paths are those of distribution's
            `registry/storage/paths.go`.
    """
    root = storage / "docker/registry/v2"
    for name, repository in store.repositories.items():
        place = root / "repositories" / name
        (place / "_uploads").mkdir(parents=True, exist_ok=True)
        contents = {digest: blob.data for digest, blob in repository.blobs.items()}
        for digest in contents:
            _link(place / "_layers" / _path(digest), digest)
        for digest, document in repository.manifests.items():
            contents[digest] = document.manifest
            _link(place / "_manifests/revisions" / _path(digest), digest)
        for tag, digest in repository.tags.items():
            _link(place / "_manifests/tags" / tag / "index" / _path(digest), digest)
            _link(place / "_manifests/tags" / tag / "current", digest)
        for digest, data in contents.items():
            algorithm, _, encoded = digest.partition(":")
            path = root / "blobs" / algorithm / encoded[:2] / encoded / "data"
            if not path.exists():
                path.parent.mkdir(parents=True)
                path.write_bytes(read(data))


def _path(digest: str) -> str:
    return digest.replace(":", "/")


def _link(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "link").write_text(digest)


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
