"""Which redirects may be followed, and what an origin is. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import quote, urljoin, urlsplit

from ...errors import NetworkError, shown
from ...limits import LIMITS
from ...spelling import argument
from ..concealing.secrets import Conceal, without_queries

STATUSES = frozenset({301, 302, 303, 307, 308})

# A DNS name (underscores occur) or an address; no control characters or separators.
_AUTHORITY = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")
_ABSOLUTE = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> str:
    """Scheme, host and port of a URL, normalised (RFC 6454, section 4).

    Raises:
        NetworkError: it has none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    authority = parts.netloc.rpartition("@")[2] if host else ""
    if not host or not _AUTHORITY.fullmatch(authority) or parts.scheme not in _PORTS:
        raise NetworkError(f"{shown(without_queries(url))!r} is not an http or https address")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host.rstrip('.')}:{port or _PORTS[parts.scheme]}"


def host_of(url: str) -> str:
    """The host, and the port unless it is the usual one, for messages."""
    scheme, _, rest = origin(url).partition("://")
    return rest.removesuffix(f":{_PORTS[scheme]}")


def is_local_service(host: str) -> bool:
    """Whether a host is link-local, like the metadata services of clouds.

    No registry legitimately redirects there; see
    https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
    """
    host = host.strip("[]").rstrip(".").lower()
    if host in {"metadata", "metadata.google.internal", "instance-data"}:
        return True
    try:
        # The C library accepts 2852039166 and 0xa9.0xfe.43518 as addresses.
        host = socket.inet_ntoa(socket.inet_aton(host)) if host[:1].isdigit() else host
        address = ipaddress.ip_address(host.partition("%")[0])
    except (ValueError, OSError):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    # The last two: Amazon's IPv6 metadata address and Alibaba's, which are not link-local.
    return address.is_link_local or str(address) in {"fd00:ec2::254", "100.100.100.200"}


def target(
    url: str,
    location: str | None,
    *,
    downgrade: bool = False,
    conceal: Conceal = without_queries,
) -> str:
    """The target of a `Location` header (RFC 9110, section 10.2.2).

    Args:
        url: the URL that was requested.
        location: the header, absolute or relative.
        downgrade: whether a redirect from https to http is allowed.
        conceal: removes secrets from messages about it.

    Raises:
        NetworkError: it is invalid or not allowed.
    """
    here = host_of(url)
    if not location:
        raise NetworkError(f"{here}: redirects without saying where")
    if len(location) > LIMITS.link:
        raise NetworkError(
            f"{here}: redirects to an address of {len(location)} characters",
            f"no signed address is that long: at most {LIMITS.link} are accepted",
        )
    try:
        # An absolute one stays unchanged; urljoin would drop an empty query.
        joined = location.strip() if _ABSOLUTE.match(location) else urljoin(url, location)
        parts = urlsplit(joined)
        there = origin(joined)
    except (ValueError, NetworkError):
        there = shown(conceal(location))
        raise NetworkError(
            f"{here}: redirects to {there!r}, which is not a valid address"
        ) from None
    if parts.username is not None:
        raise NetworkError(f"{here}: redirects to an address with credentials in it")
    if is_local_service(parts.hostname or ""):
        raise NetworkError(
            f"{here}: redirects to the link-local address {shown(conceal(parts.hostname or ''))}",
            "no registry keeps images there; this is an attack or a misconfiguration",
        )
    if url.startswith("https:") and there.startswith("http:") and not downgrade:
        raise NetworkError(
            f"{here}: redirects from https to plain http ({conceal(host_of(joined))})",
            "the registry's operator should set its storage address to https; "
            f"{argument('skip_tls_verify')} allows it",
        )
    return f"{parts.scheme}://{parts.netloc}{request_target(joined)}"


def request_target(url: str) -> str:
    """The request target of a URL: path and query, byte for byte.

    Signed URLs sign these bytes, so `%2f` must not become `%2F`. Only spaces and non-ASCII letters,
    which a request line cannot contain, are escaped.

    Args:
        url: with a scheme and a host; non-ASCII letters stand for bytes, as in headers.
    """
    rest = url.partition("://")[2].partition("#")[0]
    begin = re.search(r"[/?]", rest)
    target = rest[begin.start() :] if begin else ""
    try:
        escaped = quote(target.encode("iso-8859-1"), safe=_VISIBLE)
    except UnicodeEncodeError:
        escaped = quote(target, safe=_VISIBLE)
    return escaped if escaped.startswith("/") else f"/{escaped}"
