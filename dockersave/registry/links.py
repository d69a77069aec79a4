"""Pagination: the Link header (RFC 8288, section 3). Pure.

    Link       = #link-value
    link-value = "<" URI-Reference ">" *( OWS ";" OWS [ link-param ] )
    link-param = token BWS [ "=" BWS ( token / quoted-string ) ]

Quay omitted the brackets in 2016, and others may: then the URL ends at a semicolon.
"""

from __future__ import annotations

import re

from ..limits import LIMITS
from .connections import redirects

_TARGET = re.compile(r"[ \t,]*(?:<([^<>]*)>|([^\s<>;,\"=][^\s<>;\"]*))[ \t]*")
_PARAMETER = re.compile(
    r"[ \t]*;[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*"
    r"(?:=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\";,=]*)))?)?[ \t]*"
)
_ESCAPED = re.compile(r"\\(.)")


class UnreadableLinkError(ValueError):
    """A header may point to a next page, but cannot be parsed."""


def next_link(header: str) -> str | None:
    """The URL of the next page.

    Args:
        header: the value of the field; of several fields, joined by commas.

    Returns:
        None if there is no next page.

    Raises:
        UnreadableLinkError: there may be one, but its URL is unreadable.
    """
    position = 0
    while header[position:].strip(" \t,"):
        target = _TARGET.match(header, position)
        if not target:
            break
        position = target.end()
        relation: str | None = None
        while parameter := _PARAMETER.match(header, position):
            position = parameter.end()
            name, quoted, plain = parameter.groups()
            # Of several, only the first counts.
            if name and name.lower() == "rel" and relation is None:
                relation = plain or "" if quoted is None else _ESCAPED.sub(r"\1", quoted)
        if "next" in (relation or "").lower().split():
            return target[1] if target[1] is not None else target[2].rstrip(",")
        if header[position : position + 1] not in {"", ","}:
            break
    if re.search(r"\bnext\b", header[position:], re.IGNORECASE):
        raise UnreadableLinkError(header)
    return None


def next_query(header: str) -> str | None:
    """The query of the next page's URL.

    The path and the host in the link are ignored: behind a proxy, a registry does not know its own.
    So credentials cannot be lured elsewhere, either.

    Args:
        header: as for `next_link`.

    Raises:
        UnreadableLinkError: there may be a next page, but not its query.
    """
    link = next_link(header)
    if link is None:
        return None
    query = redirects.request_target(f"http://_/?{link.partition('?')[2]}")[2:]
    if not query or len(query) > LIMITS.link:
        raise UnreadableLinkError(link)
    return query
