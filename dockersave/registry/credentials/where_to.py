"""Where credentials may go. Pure.

Credentials belong to one origin: scheme, host and port. They go

- to that origin, whatever a redirect says (`may_go`, asked for each request);
- to the token service that it names, unless that is unsafe (`check_realm`);
- from there nowhere else (`check_redirect`).

Mirrors and the hosts of foreign layers have origins, and credentials, of their own: see `client`.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from ...errors import CredentialsError, NetworkError, shown
from ...limits import LIMITS
from ..concealing.secrets import Conceal, without_queries
from ..connections import redirects

_VISIBLE = re.compile(r"[\x21-\x7e]+")


def may_go(there: str, home: str) -> bool:
    """Whether credentials may be sent with a request.

    Args:
        there: the origin of the request's URL, as `redirects.origin` writes it.
        home: the origin that they belong to.
    """
    return there == home


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
            f"{host}: gives {shown(conceal(realm))!r} as the address of its token service, "
            "which is not a valid one",
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


def check_redirect(url: str, asked: str) -> None:
    """Check the target of a token service's redirect before credentials are sent there.

    Args:
        url: the target.
        asked: the origin of the token service.

    Raises:
        NetworkError: it is another origin.
    """
    if redirects.origin(url) != asked:
        raise NetworkError(
            f"{redirects.host_of(asked)}: the token endpoint redirects to another host, "
            "where credentials must not go"
        )
