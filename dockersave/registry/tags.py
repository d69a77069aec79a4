"""The tags of a repository, page by page.

Source: OCI distribution specification 1.1, "Content discovery".
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator

from ..errors import ContentError, NotFoundError, shown
from ..limits import LIMITS
from ..model.digest import digest_of
from ..model.manifests import NO_DOCUMENT_HINT
from ..model.weight import is_too_heavy
from .concealing.secrets import Secrets
from .connections.failures import explain
from .connections.transport import Transport
from .document_retry import Retry
from .endpoint import Endpoint
from .exchange import Answered
from .links import UnreadableLinkError, next_query

_TAGS_AT_ONCE = 1000
"""The largest page of distribution 3 and ECR; other registries send fewer, Docker Hub more."""


class Pages:
    """Reads lists of tags.

    Args:
        home: the registry.
        transport: reads the responses.
        secrets: removed from messages.
        ok: returns a response below 400, or raises; gets the response and the subject of the
            request.
    """

    def __init__(
        self,
        home: Endpoint,
        transport: Transport,
        secrets: Secrets,
        ok: Callable[[Answered, str], Answered],
    ) -> None:
        self._home = home
        self._transport = transport
        self._secrets = secrets
        self._ok = ok

    def tags(self, repository: str, retry: Retry) -> Iterator[str]:
        """The tags of a repository; each page is requested when it is needed.

        Raises:
            NotFoundError, CredentialsError, NetworkError, ContentError, CancelledError
        """
        seen: set[str] = set()
        size = 0
        query: str | None = f"n={_TAGS_AT_ONCE}"
        while query is not None:
            # Not the query itself: 10,000 long ones would fill the memory.
            mark = digest_of(query.encode(errors="surrogateescape"))
            if mark in seen or len(seen) >= LIMITS.tags_pages or size > LIMITS.tags:
                raise ContentError(f"{self._home.name}: the list of tags never ends")
            seen.add(mark)
            page, query = retry.call(functools.partial(self._page, repository, query))
            size += sum(map(len, page)) + len(page)
            yield from page

    def _page(self, repository: str, query: str) -> tuple[list[str], str | None]:
        """The tags of one page, and the query for the next one."""
        what, path = f"the tags of {repository}", f"{repository}/tags/list"
        headers = {"Accept": "application/json"}
        answered = self._home.get(path, repository, headers, query=query)
        if answered.response.status in {400, 405} and query == f"n={_TAGS_AT_ONCE}":
            self._transport.discard(answered.response)  # this page size is not allowed
            answered = self._home.get(path, repository, headers)
        try:
            self._ok(answered, what)
        except NotFoundError as failure:
            failure.hint = "is the name right?"  # to list the tags would not help
            raise
        body = self._transport.read(answered.response, LIMITS.tags_page, answered.url, what)
        try:
            if is_too_heavy(body):
                raise ContentError(f"{self._home.name}: {what} are more than fit on a page")
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        tags = _listed(document)
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            detail = explain(body, self._secrets.conceal)
            said = f": {detail}" if detail else ""
            hint = NO_DOCUMENT_HINT if document is None else ""
            raise ContentError(f"{self._home.name}: {what} are not a list{said}", hint)
        return [shown(tag) for tag in tags], self._next(answered)

    def _next(self, answered: Answered) -> str | None:
        """The query for the next page of a list."""
        try:
            return next_query(answered.response.headers.get("Link", ""))
        except UnreadableLinkError as unreadable:
            raise ContentError(
                f"{answered.host}: says that there are more tags, but not where"
                f" ({self._secrets.shown(str(unreadable))})",
                "the registry's Link header is at fault; a list without them would be wrong",
            ) from None


def _listed(document: object) -> object:
    """What a page lists: a repository without tags has none, or null, but no error."""
    if not isinstance(document, dict):
        return None
    # Go ignores case.
    named = {key.lower(): value for key, value in document.items()}
    tags = named.get("tags")
    return [] if tags is None and "errors" not in named else tags
