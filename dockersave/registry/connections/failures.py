"""Turn network errors into messages that say what to do. The clock is read for dates in them."""

from __future__ import annotations

import errno
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import mktime_tz, parsedate_tz

from urllib3.exceptions import NameResolutionError, ProxyError, ReadTimeoutError

from ...errors import CredentialsError, DockersaveError, NetworkError, NotFoundError, shown
from ...spelling import argument
from ..concealing.secrets import Conceal, without_queries
from .connecting import CAUSES, Unreached
from .handshakes import of_tls
from .http import OVERLOADED, MalformedAnswer
from .pace import Stalled

_AWAY = {number: words for number, words in CAUSES.items() if number != errno.ETIMEDOUT}
_BROKEN = "connection broken"


def of_exchange(
    error: BaseException,
    host: str,
    *,
    proxy: str | None,
    answered: bool,
    authorities: str,
) -> NetworkError:
    """Translate an exception of urllib3, ssl or socket.

    Args:
        error: the exception; its causes say more.
        host: the host of the request.
        proxy: the proxy's host, if there is one.
        answered: whether any host has answered in this run. If not, retrying an unreachable one is
            pointless: the name is misspelt, or the network is not up.
        authorities: where the trusted authorities came from.
    """
    chain = list(_chain(error))
    through = next((e for e in chain if isinstance(e, ProxyError)), None)
    if proxy and (refusal := _of_proxy(chain, proxy, host)):
        return refusal
    # Errors before the proxy has answered are about the proxy.
    name = f"the proxy {proxy}" if proxy and through else host
    where = f"{name}:"
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return of_tls(cause, name, authorities)
    for cause in chain:
        if isinstance(cause, NameResolutionError | socket.gaierror):
            return _of_name(cause, chain, where, answered)
        if isinstance(cause, Unreached):
            return _of_connect(cause, where, answered)
        if isinstance(cause, OSError) and cause.errno in _AWAY:
            return NetworkError(f"{where} {_AWAY[cause.errno]}", transient=True, unreachable=True)
    for cause in chain:
        if isinstance(cause, Stalled) and cause.in_body:
            return NetworkError(
                f"{where} {cause}",
                f"if the connection is that slow, raise {argument('timeout')}",
                transient=True,
            )
    for cause in chain:
        if isinstance(cause, MalformedAnswer):
            return NetworkError(
                f"{where} sent {cause}",
                "a proxy in between may be at fault; another network, or "
                f"{argument('mirrors')}, may help",
            )
    for cause in chain:
        if isinstance(cause, ReadTimeoutError | TimeoutError):
            return NetworkError(f"{where} no response in time", transient=True)
        if isinstance(cause, ConnectionResetError):
            return NetworkError(f"{where} connection reset", transient=True)
        if isinstance(cause, http.client.IncompleteRead | EOFError):
            return NetworkError(f"{where} the response ended early", transient=True)
    detail = shown(without_queries(str(chain[-1])) or type(chain[-1]).__name__)
    is_ours = isinstance(error, ValueError) and not isinstance(error, ssl.SSLError)
    return NetworkError(f"{where} {_BROKEN} ({detail})", transient=not is_ours)


def _of_connect(cause: Unreached, where: str, answered: bool) -> NetworkError:
    if not cause.is_away:
        return NetworkError(f"{where} cannot connect: {cause.words}", transient=True)
    return NetworkError(
        f"{where} {cause.words}",
        f"is a firewall or a proxy (HTTPS_PROXY) in between? {argument('timeout')} waits longer"
        if cause.is_silent
        else "is the address right, and is the service running?",
        transient=answered,
        unreachable=True,
    )


def is_closed(error: BaseException) -> bool:
    """Whether a connection was already closed, or carried something other than a response.

    A body sent after a response to HEAD is mistaken for the next response.
    """
    kinds = ConnectionResetError | BrokenPipeError | http.client.BadStatusLine
    return any(isinstance(cause, kinds) for cause in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and its causes, outermost first."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        reason = getattr(current, "reason", None)
        original = getattr(current, "original_error", None)
        waiting += [current.__cause__, reason, original, *current.args]


def _of_proxy(chain: list[BaseException], proxy: str, host: str) -> NetworkError | None:
    """The error of a proxy that refused CONNECT, if that was the cause."""
    for cause in chain:
        match = re.search(r"Tunnel connection failed: (\d{3})(.*)", str(cause))
        if not isinstance(cause, OSError) or not match:
            continue
        status, reason = int(match[1]), shown(match[2].strip())
        if status in {401, 407}:  # 401 is tinyproxy's answer to wrong ones
            return NetworkError(
                f"the proxy {proxy} wants credentials ({status})",
                "put them into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT, "
                "special characters as %XX",
            )
        return NetworkError(
            f"the proxy {proxy} refuses to connect to {host}: {status} {reason}".rstrip(),
            "have its rules changed, or list the host in NO_PROXY if it can be reached directly",
            transient=status in {429, 500, 502, 503, 504},
        )
    return None


def _of_name(
    cause: BaseException, chain: list[BaseException], where: str, answered: bool
) -> NetworkError:
    code = next((e.errno for e in chain if isinstance(e, socket.gaierror)), None)
    if code == socket.EAI_AGAIN:
        return NetworkError(
            f"{where} the name server does not answer",
            "look at /etc/resolv.conf and the network",
            transient=True,
            unreachable=True,
        )
    return NetworkError(
        f"{where} host not found",
        "is the name right, and is the network up?",
        transient=answered,
        unreachable=True,
    )


def of_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    host: str,
    what: str,
    conceal: Conceal = without_queries,
) -> DockersaveError:
    """Translate a refusal.

    Args:
        status, headers, body: the response; the body may be truncated.
        host: the host that answered.
        what: the subject of the request: `the manifest of library/debian:12`.
        conceal: removes secrets from the server's text.
    """
    failure = _meaning(status, headers, body, host, what, conceal)
    if isinstance(failure, NetworkError):
        failure.answered = True
    return failure


def _meaning(
    status: int, headers: Mapping[str, str], body: bytes, host: str, what: str, conceal: Conceal
) -> DockersaveError:
    detail = explain(body, conceal)
    said = f": {detail}" if detail else ""
    if status == 404:
        return NotFoundError(
            f"{host}: has no {what.removeprefix('the ')}{said}",
            "is the digest right? or the registry has deleted it" if "@" in what else "",
        )
    if status == 407:
        return NetworkError(
            "the proxy wants credentials (407)",
            "put them into HTTP_PROXY: http://USER:PASSWORD@HOST:PORT, special characters as %XX",
        )
    if status in {401, 403}:
        return CredentialsError(
            f"{host}: refuses {what} ({status}){said}",
            "the login has expired: log in again"
            if "expired" in detail.lower()
            else f"it is private, or does not exist; log in with docker login, {argument('login')}",
        )
    if status == 429:
        return of_limit(headers, detail, host, conceal)
    if status in OVERLOADED:
        return NetworkError(
            f"{host}: returned {status} for {what}{said}",
            transient=True,
            retry_after=retry_after(headers),
            crowded=status == 503,
        )
    if status == 400 and _wants_tls(body):
        return NetworkError(
            f"{host}: speaks TLS",
            f"drop {argument('insecure')}; "
            f"{argument('insecure_registries', 'HOST[:PORT]')} applies to one registry only",
        )
    if status == 400 and b"SSL certificate" in body:
        return NetworkError(
            f"{host}: wants a client certificate{said}",
            f"give {argument('cert')} and {argument('key')}, or put client.cert and client.key "
            f"into /etc/docker/certs.d/{host}/",
        )
    return NetworkError(
        f"{host}: returned {status} for {what}{said}",
        "is it a registry (API version 2)?" if not detail else "",
    )


def _wants_tls(body: bytes) -> bool:
    # Go's net/http, nginx, Apache
    return any(
        text in body
        for text in (
            b"HTTP request to an HTTPS server",
            b"plain HTTP request was sent to HTTPS port",
            b"speaking plain HTTP to an SSL-enabled server port",
        )
    )


def explain(body: bytes, conceal: Conceal = without_queries) -> str:
    """The message of an error body, in one line that is safe to print, without secrets.

    Sources: distribution specification, "Error Codes"; proxies answer with plain text.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        # HTML is for browsers; a line of text is for people.
        return shown(conceal(text)) if text and "<" not in text and "\n" not in text else ""
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        errors = [document]
    parts: list[str] = []
    for error in errors:
        if not isinstance(error, dict):
            continue
        code, message = (error.get(key) for key in ("code", "message"))
        if not isinstance(message, str):
            message = next(
                (error[k] for k in ("details", "error", "detail") if isinstance(error.get(k), str)),
                "",
            )
        text = ": ".join(part for part in (code, message) if isinstance(part, str) and part)
        if text:
            parts.append(text)
    return shown(conceal("; ".join(parts)))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, whether it is seconds or a date (RFC 9110, section 10.2.3).

    urllib3 would cap it at six hours, and so misquote the server.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return float(value)
    date = parsedate_tz(value) if value else None
    try:
        return max(0.0, mktime_tz(date) - time.time()) if date else None
    except (OverflowError, ValueError):
        return None


def of_limit(
    headers: Mapping[str, str], detail: str, host: str, conceal: Conceal = without_queries
) -> NetworkError:
    """Explain a 429 to the user.

    Sources: https://docs.docker.com/docker-hub/usage/pulls/ (Docker Hub's headers), and
    draft-ietf-httpapi-ratelimit-headers (`RateLimit-Limit`, `-Remaining`, `-Reset`).
    """
    limit = _quota(headers, "Limit")
    said = f": {detail}" if detail else ""
    amount = f" ({limit})" if limit else ""
    source = conceal(headers.get("Docker-RateLimit-Source", ""))
    counted = f"; counted for {shown(source)}" if source else ""
    return NetworkError(
        f"{host}: rate limit reached{amount}{said}",
        f"logging in raises the limit (docker login, {argument('login')}); a mirror "
        f"avoids it{counted}",
        transient=True,
        retry_after=retry_after(headers) if "Retry-After" in headers else _reset(headers),
        crowded=True,
    )


def remaining(headers: Mapping[str, str]) -> tuple[int, str] | None:
    """How many requests are left, and of how many in which time, if a response says so."""
    match = re.match(r"\s*(\d{1,9})\b", headers.get("RateLimit-Remaining", ""))
    limit = _quota(headers, "Limit")
    return (int(match[1]), limit) if match and limit else None


def _quota(headers: Mapping[str, str], name: str) -> str:
    """`100;w=21600` as `100 in 6 h`."""
    value = headers.get(f"RateLimit-{name}", "")
    match = re.match(r"\s*(\d{1,9})(?:.*?;\s*w=(\d{1,9}))?", value)
    if not match:
        return ""
    window = int(match[2] or 0)
    hours, minutes = divmod(window // 60, 60)
    span = f"{hours} h" if hours and not minutes else f"{window // 60} min" if window else ""
    return f"{match[1]} in {span}" if span else match[1]


def _reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until a limit is lifted; some servers send a time instead."""
    for name in ("RateLimit-Reset", "X-RateLimit-Reset", "X-Retry-After"):
        match = re.match(r"\s*(\d{1,12})\b", headers.get(name, ""))
        if match:
            seconds = float(match[1])
            return max(0.0, seconds - time.time()) if seconds > 1e9 else seconds
    return None
