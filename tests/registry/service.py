"""What a well-behaved registry answers: requests in, answers out, no input or output."""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Mapping
from urllib.parse import quote, unquote

from tests.images import Blob, Repository, Store
from tests.images.documents import OCI_INDEX, SCHEMA1_SIGNED
from tests.registry.tokens import Authority
from tests.registry.wire import Request, Response

_PATHS: Mapping[str, re.Pattern[str]] = {
    "ping": re.compile(r"/v2/?()()"),
    "manifest": re.compile(r"/v2/(.+)/manifests/([^/]+)"),
    "blob": re.compile(r"/v2/(.+)/blobs/([^/]+)"),
    "referrers": re.compile(r"/v2/(.+)/referrers/([^/]+)"),
    "tags": re.compile(r"/v2/(.+)/tags/list()"),
    "token": re.compile(r"/token()()"),
    "storage": re.compile(r"/storage/(.+)/([^/]+)"),
}


class Service:
    """The distribution API over a store (distribution-spec, Pull and Content Discovery).

    Parameters:
        store: what there is.
        authority: who may read; None: everybody.
        storage: base address of the storage that blobs are redirected to; empty for none.
        storage_lifetime: seconds that a signed address is good for.
        page_size: tags on a page of the list, at most.
        absolute_links: whether the `Link` to the next page has scheme and host.
        referrers: whether it lists what refers to a manifest (distribution-spec 1.1).
    """

    def __init__(
        self,
        store: Store,
        authority: Authority | None = None,
        storage: str = "",
        storage_lifetime: float = 300.0,
        page_size: int = 100,
        absolute_links: bool = False,
        referrers: bool = False,
    ) -> None:
        self.referrers = referrers
        self.store, self.authority = store, authority
        self.storage, self.storage_lifetime = storage, storage_lifetime
        self.page_size, self.absolute_links = page_size, absolute_links
        self._key = 0

    def expire_tokens(self) -> None:
        """Let all tokens expire."""
        if self.authority:
            self.authority.expire_tokens()

    def expire_urls(self) -> None:
        """Let all signed addresses expire."""
        self._key += 1

    def move_tag(self, repository: str, tag: str, digest: str) -> None:
        """Let a tag point elsewhere."""
        self.store.repositories[repository].tags[tag] = digest

    def classify(self, request: Request) -> None:
        """Fill in what kind of request this is, and what it is about."""
        for kind, pattern in _PATHS.items():
            if match := pattern.fullmatch(unquote(request.path)):
                request.kind = kind
                request.repository, request.reference = match.groups()
                break
        found = self.store.repositories.get(request.repository)
        if request.kind == "blob" and found and request.reference in found.configs:
            request.kind = "config"

    def answer(self, request: Request) -> Response:
        """Return the right answer to a request."""
        if request.server == "storage" or request.kind == "storage":
            return self._stored(request)
        if request.kind == "token" and self.authority:
            return self.authority.token(request)
        if self.authority and (refusal := self.authority.challenge(request)):
            return refusal
        if request.method not in ("GET", "HEAD"):
            return problem(405, "UNSUPPORTED", "this registry is read-only")
        if request.kind == "ping":
            return _json(200, {})
        found = self.store.repositories.get(request.repository)
        if found is None:
            return problem(404, "NAME_UNKNOWN", "repository name not known to registry")
        if request.kind == "manifest":
            return _manifest(found, request)
        if request.kind == "referrers" and self.referrers:
            return self._referrers(found, request)
        if request.kind == "tags":
            return self._tags(found, request)
        if request.kind in ("blob", "config"):
            return self._blob(found, request)
        return problem(404, "UNSUPPORTED", "no such path")

    def _referrers(self, repository: Repository, request: Request) -> Response:
        entries = []
        for document in repository.manifests.values():
            manifest = json.loads(document.manifest)
            if manifest.get("subject", {}).get("digest") == request.reference:
                kind = manifest.get("artifactType") or manifest["config"]["mediaType"]
                entries.append(document.descriptor() | {"artifactType": kind})
        start = int(request.query.get("from", "0"))
        shown = entries[start : start + self.page_size]
        answer = _json(200, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown})
        answer.set("Content-Type", OCI_INDEX)
        if start + self.page_size < len(entries):
            link = f"{request.path}?from={start + self.page_size}"
            answer.set("Link", f'<{link}>; rel="next"')
        return answer

    def _blob(self, repository: Repository, request: Request) -> Response:
        blob = repository.blobs.get(request.reference)
        if blob is None:
            return problem(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if not self.storage:
            return ranged(blob, request)
        path = f"/storage/{request.repository}/{blob.digest}"
        expires = f"{time.time() + self.storage_lifetime:.3f}"
        query = f"expires={expires}&signature={self._sign(blob.digest, expires)}"
        location = f"{self.storage}{quote(path)}?{query}"
        return Response(307, [("Location", location)])

    def _sign(self, digest: str, expires: str) -> str:
        return hmac.digest(bytes([self._key]), f"{digest} {expires}".encode(), "sha256").hex()

    def _stored(self, request: Request) -> Response:
        if "authorization" in request.headers:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        expires = request.query.get("expires", "0")
        signed = request.query.get("signature") == self._sign(request.reference, expires)
        if not signed or time.time() > float(expires):
            return _xml(403, "AccessDenied", "Request has expired")
        return ranged(self.store.repositories[request.repository].blobs[request.reference], request)

    def _tags(self, repository: Repository, request: Request) -> Response:
        last = request.query.get("last", "")
        tags = sorted(tag for tag in repository.tags if tag > last)
        asked = request.query.get("n", "")
        count = min(int(asked), self.page_size) if asked.isdigit() else self.page_size
        answer = _json(200, {"name": request.repository, "tags": tags[:count]})
        if len(tags) > count > 0:
            scheme = "https" if request.secure else "http"
            origin = f"{scheme}://{request.headers['host']}" if self.absolute_links else ""
            link = f"{origin}{request.path}?n={count}&last={quote(tags[count - 1])}"
            answer.set("Link", f'<{link}>; rel="next"')
        return answer


def _manifest(repository: Repository, request: Request) -> Response:
    digest = repository.tags.get(request.reference, request.reference)
    document = repository.manifests.get(digest)
    if document is None:
        return problem(404, "MANIFEST_UNKNOWN", "manifest unknown")
    accepted = request.headers.get("accept", "*/*")
    wanted = (document.media_type, "*/*", SCHEMA1_SIGNED)
    if document.media_type != SCHEMA1_SIGNED and not any(kind in accepted for kind in wanted):
        # What docker-registry 2.8 says to a client that forgot to name a type.
        return problem(404, "MANIFEST_UNKNOWN", f"Accept header does not support {wanted[0]}")
    headers = [("Content-Type", document.media_type), ("Docker-Content-Digest", digest)]
    return Response(200, headers, document.manifest)


def ranged(blob: Blob, request: Request) -> Response:
    """Return a blob, or the range of it that was asked for (RFC 9110, section 14)."""
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Docker-Content-Digest", blob.digest),
        ("Accept-Ranges", "bytes"),
    ]
    whole = Response(200, headers, blob.data)
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if match is None or match.groups() == ("", ""):
        return whole
    first, last = match.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, blob.size) if last else blob.size
    else:
        start, stop = max(0, blob.size - int(last)), blob.size
    if start >= stop:
        refusal = problem(416, "RANGE_INVALID", "invalid content range")
        refusal.set("Content-Range", f"bytes */{blob.size}")
        return refusal
    whole.status, whole.start, whole.stop = 206, start, stop
    whole.set("Content-Range", f"bytes {start}-{stop - 1}/{blob.size}")
    return whole


def problem(status: int, code: str, message: str) -> Response:
    """Return an error of the distribution API (distribution-spec, Error Codes)."""
    return _json(status, {"errors": [{"code": code, "message": message, "detail": None}]})


def _json(status: int, document: object) -> Response:
    body = json.dumps(document).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Docker-Distribution-Api-Version", "registry/2.0"),
    ]
    return Response(status, headers, body)


def _xml(status: int, code: str, message: str) -> Response:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(status, [("Content-Type", "application/xml")], body.encode())
