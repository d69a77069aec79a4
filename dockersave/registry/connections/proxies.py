"""Which proxy a request goes through. Pure.

The variables are parsed as in Go programs (golang.org/x/net/http/httpproxy): settings for docker,
crane or skopeo work here, too.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from ...errors import UsageError

EVEN_LOOPBACK = "<-loopback>"
"""In NO_PROXY: send requests to loopback through the proxy, too (Chromium's syntax)."""


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy for a URL, with its credentials, or None.

    Args:
        url: the URL to request.
        environ: HTTPS_PROXY, HTTP_PROXY, NO_PROXY, in upper or lower case.

    Raises:
        UsageError: the variable is not the address of a proxy.
    """
    parts = urlsplit(url)
    name = f"{parts.scheme}_proxy"
    proxy = environ.get(name, "")
    # Under CGI, a request's "Proxy" header arrives as HTTP_PROXY (https://httpoxy.org).
    if not proxy and not (name == "http_proxy" and "REQUEST_METHOD" in environ):
        name = name.upper()
        proxy = environ.get(name, "")
    if not proxy.strip():
        return None
    excluded = environ.get("no_proxy") or environ.get("NO_PROXY", "")
    if _bypasses(parts.hostname or "", parts.port, parts.scheme, excluded):
        return None
    proxy = proxy.strip() if "://" in proxy else f"http://{proxy.strip()}"
    try:
        there = urlsplit(proxy)
        valid = bool(there.hostname) and (there.port is None or there.port > 0)
    except ValueError:
        valid = False
    if not valid or there.scheme not in {"http", "https"}:
        raise UsageError(
            f"{name} is not the address of an http or https proxy",
            "write http://HOST:PORT; with credentials, http://USER:PASSWORD@HOST:PORT",
        )
    return proxy


def split_credentials(proxy: str) -> tuple[str, dict[str, str]]:
    """A proxy's address without credentials, and the headers that carry them."""
    parts = urlsplit(proxy)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], path="", query="").geturl()
    if parts.username is None:
        return address, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return address, {"proxy-authorization": f"Basic {base64.b64encode(login).decode()}"}


def _bypasses(host: str, port: int | None, scheme: str, excluded: str) -> bool:
    host = host.rstrip(".").lower()
    port = port or (443 if scheme == "https" else 80)
    entries = [entry.lower() for entry in re.split(r"[,\s]+", excluded) if entry]
    address = _address(host)
    is_loopback = (
        address.is_loopback if address else host == "localhost" or host.endswith(".localhost")
    )
    if is_loopback and EVEN_LOOPBACK not in entries:
        return True
    return any(_matches(entry, host, port, address) for entry in entries)


_IP = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _IP | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _matches(entry: str, host: str, port: int, address: _IP | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if not _address(entry):
        name, colon, digits = entry.rpartition(":")
        if colon and digits.isdecimal():
            if int(digits) != port:
                return False
            entry = name
    if there := _address(entry):
        return there == address
    entry = entry.removeprefix("*").rstrip(".")
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or host.endswith(f".{entry}")
