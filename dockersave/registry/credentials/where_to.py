"""Token endpoints: which realms of a registry are safe to use. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ...errors import CredentialsError, NetworkError, shown
from ...limits import LIMITS
from ..concealing.secrets import Conceal, without_queries
from ..connections import redirects

_VISIBLE = re.compile(r"[\x21-\x7e]+")


def check_realm(realm: str, origin: str, conceal: Conceal = without_queries) -> str:
    """Check the URL of a token endpoint before credentials are sent there.

    Args:
        realm: from a challenge.
        origin: of the registry that sent the challenge.
        conceal: removes secrets from messages about it.

    Raises:
        CredentialsError: it is not a valid URL, would send credentials in clear text although the
            registry itself uses https, or is a cloud's metadata service.
    """
    host = redirects.host_of(origin)
    try:
        if len(realm) > LIMITS.link or not _VISIBLE.fullmatch(realm):
            raise ValueError("no end, or blanks or control characters")
        there = redirects.origin(realm)
        parts = urlsplit(realm)
    except (ValueError, NetworkError):
        raise CredentialsError(
            f"{host}: sends us for a token to {shown(conceal(realm))!r}, which is not a "
            "valid address",
            "the registry's operator should check its token realm",
        ) from None
    if there == origin and parts.username is None:
        return urlunsplit((*parts[:4], ""))
    reason = ""
    if parts.scheme == "http" and not origin.startswith("http:"):
        reason = "over plain HTTP, where others can read it"
    elif parts.username is not None:
        reason = "at an address with credentials in it"
    elif redirects.is_local_service(parts.hostname or ""):
        reason = "at a link-local address"
    if reason:
        raise CredentialsError(
            f"{host}: wants a token to be fetched {reason} ({shown(conceal(there))})",
            "this is an attack or a misconfiguration; nothing was sent there",
        )
    return urlunsplit((*parts[:4], ""))


def with_query(url: str, parameters: list[tuple[str, str]]) -> str:
    """Add parameters to a URL, without repeating those that it has."""
    parts = urlsplit(url)
    there = parse_qsl(parts.query, keep_blank_values=True)
    added = urlencode(
        [pair for pair in parameters if pair not in there], quote_via=quote, safe=":/"
    )
    query = "&".join(filter(None, (parts.query, added)))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
