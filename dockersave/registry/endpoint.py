"""A server of a registry's API: the registry itself or a mirror.

Requests get credentials, follow redirects, and remember where blobs were found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from ..errors import ContentError, CredentialsError, DockersaveError, NetworkError, UsageError
from ..limits import LIMITS
from ..model.options import Network
from ..spelling import argument
from ..trace import SILENT, Trace
from .concealing.secrets import Secrets
from .connections import failures, redirects
from .connections.http import TARGET
from .connections.transport import Response, Transport
from .credentials import where_to
from .credentials.authorizer import Authorizer
from .credentials.tokens import Answer
from .credentials.where_from import Credentials
from .exchange import Answered, Exchange
from .redirect_cache import RedirectCache

_EXPIRED = {400, 401, 403, 410}
"""How storage answers expired signed URLs."""
_HIDDEN = {403, 404}
"""How some registries answer anonymous requests for private images."""
_ROUNDS = 3
"""How often a request is repeated with other credentials."""


class Endpoint:
    """Sends requests for one registry to one base URL. All methods are thread-safe.

    Args:
        base: the URL of the API, including `/v2`.
        name: the registry's name in references and in config.json.
        transport: sends the requests.
        credentials: those that may be sent to this origin; None for none.
        network: whether redirects may lead from https to http.
        notify: gets lines for the user.
        query: added to every request, such as `ns=docker.io`.
        trace: gets a line for each decision.
        secrets: learns what is sent, to remove it from all output.
    """

    def __init__(
        self,
        base: str,
        name: str,
        transport: Transport,
        credentials: Credentials | None,
        network: Network,
        notify: Callable[[str], None],
        query: str = "",
        trace: Trace = SILENT,
        secrets: Secrets | None = None,
    ) -> None:
        self.trace = trace
        self._secrets = secrets or Secrets()
        self.base = base
        self.name = name
        self._transport = transport
        self._credentials = credentials
        self._downgrade = network.skip_tls_verify
        self._timeout = network.timeout
        self._notify = notify
        self._query = query
        self._origin = redirects.origin(base)
        self._ping = f"{base[: base.rindex('/v2') + 3]}/" if "/v2" in base else ""
        self._lock = threading.Lock()
        self._authorizers: dict[str, Authorizer] = {}
        self._found = RedirectCache()

    def get(
        self,
        path: str,
        repository: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        query: str = "",
        remember: str | None = None,
        exchange: Exchange | None = None,
    ) -> Answered:
        """Send a request, with credentials if asked for, and follow redirects.

        Args:
            path: relative to the API's base: `library/debian/manifests/12`.
            repository: whose credentials and token to use.
            headers: headers of the request, without credentials.
            method: GET or HEAD.
            query: in addition to the endpoint's own.
            remember: the digest of a blob; next time, its location is requested directly.
            exchange: the exchange that the request belongs to, if there are several requests.

        Raises:
            NetworkError: no response, or redirects that must not be followed.
            CredentialsError: there are none, or they are not sufficient.
        """
        exchange = exchange or self.exchange()
        start = f"{self.base}/{path}"
        if parameters := "&".join(filter(None, (query, self._query))):
            start += f"?{parameters}"
        if remember and (url := self._found.get(remember)):
            with suppress(NetworkError, CredentialsError):
                answered = self._follow(method, url, repository, headers, exchange, start=start)
                if answered.response.status < 400 or answered.response.status in {416, 429}:
                    return answered
                self._transport.discard(answered.response)
            # A signed URL has expired, or a storage server is gone: request another.
            self._found.forget(remember)
            exchange.renew()
            exchange.check(self.name)
            self.trace.say(
                "blob", f"{redirects.host_of(url)} no longer serves it: asking {self.name}"
            )
        answered = self._follow(method, start, repository, headers, exchange, start=start)
        is_elsewhere = redirects.origin(answered.url) != self._origin
        may_be_signed = is_elsewhere or _is_signed(answered.url, start)
        if may_be_signed and answered.response.status in _EXPIRED and exchange.can_renew:
            exchange.renew()
            # Signed URLs may be valid for seconds only, if clocks differ or the registry caches
            # them.
            self._transport.discard(answered.response)
            exchange.check(self.name)
            answered = self._follow(method, start, repository, headers, exchange, start=start)
        is_worth_it = answered.url != start and len(answered.url) <= LIMITS.link
        if remember and is_worth_it and answered.response.status < 400:
            self._found.remember(remember, answered.url)
        return answered

    def exchange(self) -> Exchange:
        """A new exchange."""
        return Exchange(self._timeout)

    def anonymous(self, url: str, headers: Mapping[str, str]) -> Answered:
        """Send a GET to any URL, at first without credentials."""
        exchange = self.exchange()
        exchange.renew()
        return self._follow("GET", url, "", headers, exchange, start=url)

    def failure(self, error: Exception, url: str) -> DockersaveError:
        """Translate an exception of urllib3 that was raised while reading a response."""
        return self._transport.failure(error, url)

    def discard(self, answered: Answered) -> None:
        """Discard the body of a response."""
        self._transport.discard(answered.response)

    def warm(self, count: int) -> None:
        """Open this many connections in the background, ahead of the requests that need them."""
        self._transport.warm(self.base, _trust_names(self.name, self._origin), count)

    @property
    def latency(self) -> float | None:
        """Seconds of its fastest connect so far."""
        return self._transport.latency(self.base)

    @property
    def answered_in(self) -> float | None:
        """Seconds of its fastest response so far."""
        return self._transport.answered_in(self.base)

    def refusal(self, answered: Answered, what: str) -> DockersaveError:
        """The error for a response of 400 or above. Reads and closes the response."""
        response = answered.response
        try:
            body = self._transport.read(response, LIMITS.error_body, answered.url, "the error")
        except CredentialsError:
            raise
        except DockersaveError:
            self._transport.cancellation.check()
            body = b""
        finally:
            response.close()
        there = redirects.origin(answered.url)
        host = self.name if there == self._origin else self._secrets.conceal(answered.host)
        conceal = self._secrets.conceal
        return failures.of_answer(response.status, response.headers, body, host, what, conceal)

    def check_is_registry(self, refused: Answered) -> None:
        """Tell a registry that does not have something from a server that is none.

        If the refusal is a page or a text, not JSON as registries write it, `/v2/` is asked for,
        which every registry has (OCI distribution specification, end-1).

        Args:
            refused: the response of 404, which has been read.

        Raises:
            NetworkError: it is none.
        """
        if not refused.response.headers.get("Content-Type", "").lower().startswith("text/"):
            return
        try:
            status = self._ask("GET", self._ping, {}, None).status
        except (NetworkError, ContentError):
            return
        if status == 404:
            raise NetworkError(
                f"{self.name}: is not a registry: it has no /v2/",
                "check host and port",
            )

    def _follow(
        self,
        method: str,
        url: str,
        repository: str,
        headers: Mapping[str, str],
        exchange: Exchange,
        *,
        start: str,
    ) -> Answered:
        """Send a request to `url`, and follow redirects.

        Args:
            start: the URL at the registry that led or leads there.
        """
        for _ in range(LIMITS.redirects + 1):
            is_signed = _is_signed(url, start)
            may_be_expired = is_signed and exchange.can_renew
            is_open = is_signed and not url.startswith(self._ping)
            response = self._send(method, url, repository, headers, may_be_expired, is_open)
            if response.status not in redirects.STATUSES:
                return Answered(response, url)
            location = response.headers.get("Location")
            try:
                exchange.check(self.name)
            finally:
                # Last: the time that this takes counts for the next request.
                self._transport.discard(response)
            url = redirects.target(
                url, location, downgrade=self._downgrade, conceal=self._secrets.conceal
            )
            self._secrets.add_signed(url)
        raise NetworkError(f"{self.name}: redirects more than {LIMITS.redirects} times")

    def _send(
        self,
        method: str,
        url: str,
        repository: str,
        headers: Mapping[str, str],
        may_be_expired: bool,
        is_open: bool,
    ) -> Response:
        """One request, repeated if other credentials are asked for.

        Args:
            may_be_expired: a refusal may be about a signed URL: it is no reason to send credentials
                before a new one was requested.
            is_open: credentials are sent only if they are asked for. Storage behind the registry's
                own name refuses them beside a signature (S3: "Only one auth mechanism allowed").
        """
        there = redirects.origin(url)
        is_home = where_to.may_go(there, self._origin)
        names = _trust_names(self.name, there) if is_home else ()
        authorizer = self._authorizer(there)
        rounds = _ROUNDS
        while rounds:
            rounds -= 1
            sent = None if is_open else authorizer.header(repository)
            is_open = False
            carried = {**headers, TARGET: redirects.request_target(url)}
            if sent:
                carried["Authorization"] = sent
            response = self._transport.send(method, url, carried, trusted_as=names)
            if may_be_expired and response.status in _EXPIRED:
                return response
            # ECR Public answers an expired token with 400.
            has_expired = response.status == 400 and authorizer.may_have_expired(repository, sent)
            if is_home and response.status in _HIDDEN:
                with ExitStack() as stack:
                    stack.callback(self._transport.discard, response)
                    if authorizer.hidden(repository, sent):
                        rounds += 1
                        continue
                    stack.pop_all()
            if response.status != 401 and not has_expired:
                authorizer.accepted(repository, sent, served=response.status < 400)
                return response
            # Storage answers expired URLs with 401; only a registry asks for credentials.
            if not is_home and "WWW-Authenticate" not in response.headers:
                return response
            self.trace.say(
                "credentials", f"{redirects.host_of(url)} asks for different credentials"
            )
            answer_headers = response.headers
            self._transport.discard(response)
            authorizer.challenged(answer_headers, repository, sent)
        raise CredentialsError(f"{self.name}: keeps asking for credentials")

    def _authorizer(self, there: str) -> Authorizer:
        """Authentication for an origin: with credentials at home, anonymous elsewhere."""
        with self._lock:
            authorizer = self._authorizers.get(there)
            if authorizer is None:
                is_home = where_to.may_go(there, self._origin)
                authorizer = self._authorizers[there] = Authorizer(
                    there,
                    self.name if is_home else there.partition("://")[2],
                    self._credentials if is_home else None,
                    self._ask,
                    self._notify,
                    self._ping if is_home else "",
                    self._secrets,
                )
            return authorizer

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """One exchange with a token endpoint. Redirects are followed only within its origin."""
        for _ in range(LIMITS.redirects + 1):
            there = redirects.origin(url)
            names = _trust_names(self.name, there) if there == self._origin else ()
            carried = {**headers, TARGET: redirects.request_target(url)}
            response = self._transport.send(method, url, carried, trusted_as=names, body=body)
            if response.status not in redirects.STATUSES:
                data = self._transport.read(response, LIMITS.token_answer, url, "the token")
                self.trace.say("credentials", f"{redirects.host_of(url)} was asked for a token")
                return Answer(response.status, response.headers, data)
            location = response.headers.get("Location")
            self._transport.discard(response)
            url = redirects.target(url, location, conceal=self._secrets.conceal)
            where_to.check_redirect(url, there)
            if response.status in {301, 302, 303} and method == "POST":
                method, body = "GET", None
        raise NetworkError(f"{redirects.host_of(url)}: the token endpoint redirects in a loop")


def _is_signed(url: str, start: str) -> bool:
    """Whether a redirect's target may have a signature that expires, wherever it leads.

    Args:
        start: what was requested at first.
    """
    return url != start and "?" in url


def _trust_names(name: str, origin: str) -> tuple[str, ...]:
    """A registry's directories in certs.d: by the name in references, and by the host connected
    to."""
    authority = origin.partition("://")[2]
    names = (name, authority, authority.removesuffix(":443"))
    return tuple(dict.fromkeys(names))


def mirror_base(url: str) -> str:
    """The base of a mirror's API, as in containerd's hosts.toml: `/v2` is added if missing.

    Raises:
        UsageError: it is not a valid URL, or contains credentials.
    """
    try:
        parts = urlsplit(url)
        redirects.origin(url)
    except (ValueError, NetworkError):
        raise UsageError(
            f"{argument('mirrors')}: this is not an http or https address",
            "write https://HOST[:PORT][/PATH]",
        ) from None
    if parts.username is not None:
        raise UsageError(
            f"{argument('mirrors')}: the address of {redirects.host_of(url)} has credentials in it",
            "log in to the mirror with docker login, and leave them out",
        )
    path = parts.path.rstrip("/")
    if "v2" not in path.split("/"):
        path += "/v2"
    return f"{parts.scheme}://{parts.netloc}{path}"
