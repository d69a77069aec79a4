"""Where tokens come from: the address that a registry names, and whether to go there. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ..errors import CredentialsError, NetworkError, shown
from ..limits import LIMITS
from . import redirects
from .secrets import Conceal, without_queries

_VISIBLE = re.compile(r"[\x21-\x7e]+")


def check_realm(realm: str, origin: str, conceal: Conceal = without_queries) -> str:
    """The address of a token endpoint, once it is clear that credentials may go there.

    Args:
        realm: as a challenge names it.
        origin: of the registry that sent the challenge.
        conceal: leaves secrets out of what is said of the address.

    Raises:
        CredentialsError: it is no address, would send credentials in the clear though the
            registry itself does not, or is where clouds keep a machine's own credentials.
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
        reason = "over plain http, where others can read it"
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
    """A URL with parameters beside those that it has; what is there already is not repeated."""
    parts = urlsplit(url)
    there = parse_qsl(parts.query, keep_blank_values=True)
    added = urlencode(
        [pair for pair in parameters if pair not in there], quote_via=quote, safe=":/"
    )
    query = "&".join(filter(None, (parts.query, added)))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
