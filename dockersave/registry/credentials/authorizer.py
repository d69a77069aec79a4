"""Authentication: turn a registry's challenges into Authorization headers.

Sources: RFC 9110, section 11; RFC 7617 (Basic); distribution's "Token Authentication
Specification" (Bearer with GET) and "Oauth2 Token Authentication" (with POST).
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ...errors import ContentError, CredentialsError, NetworkError
from ...limits import LIMITS
from ...values import dataclass, field
from ..concealing.secrets import Secrets
from ..connections import failures, redirects
from .refusals import Refusals
from .where_from import Credentials, Login

if TYPE_CHECKING:
    from .challenge import Challenge
    from .tokens import Ask

_CLIENT = "dockersave"
_MARGIN = 5.0
"""Replace a token this many seconds before it expires: a request takes time."""
_FRESH = 10.0
"""A token younger than this, in seconds, cannot have expired: if it is refused, it lacks rights."""
_NO_OAUTH2 = frozenset({400, 401, 404, 405})
"""How token endpoints without OAuth2 answer a POST: ACR, Artifactory, GCR, Docker's own."""


@dataclass(slots=True)
class _Standing:
    """The state of authentication for one repository.

    Args:
        header: the Authorization header to send.
        challenge: the Bearer challenge that led to it, to repeat it when the token expires.
        begun, end: when the token was requested and when it expires, in monotonic seconds.
        is_proven: whether the registry has accepted the token.
        has_served: whether a request with it has succeeded.
        is_second: whether the token replaced one that was never accepted.
        failure: why access is denied; asking again would not help, and may lock the account.
        is_told: whether credentials were sent although the registry had not asked.
    """

    header: str | None = field(default=None, repr=False)
    challenge: Challenge | None = None
    begun: float = -math.inf
    end: float = math.inf
    is_proven: bool = False
    has_served: bool = False
    is_second: bool = False
    failure: CredentialsError | None = None
    is_told: bool = False


class Authorizer:
    """Authentication for one origin (scheme, host and port). All methods are thread-safe.

    Args:
        origin: of the registry, as `redirects.origin` writes it.
        registry: its name in references, to look up credentials and for messages.
        credentials: those that may be sent there; None for none.
        ask: one exchange with a token endpoint; must not follow redirects to another origin.
        notify: gets lines for the user.
        ping: the URL that answers with a challenge; `/v2/` of the origin by default.
        secrets: learns what is sent, to remove it from all output.
    """

    def __init__(
        self,
        origin: str,
        registry: str,
        credentials: Credentials | None,
        ask: Ask,
        notify: Callable[[str], None],
        ping: str = "",
        secrets: Secrets | None = None,
    ) -> None:
        self._ping = ping or f"{origin}/v2/"
        self._origin = origin
        self._registry = registry
        self._credentials = credentials
        self._ask = ask
        self._notify = notify
        self._lock = threading.Lock()
        self._standings: dict[str, _Standing] = {}
        self._failures = 0
        self._failed: tuple[_Standing, NetworkError | ContentError] | None = None
        self._offered: list[Challenge] = []
        self._warned = False
        self._secrets = secrets or Secrets()
        self._say = Refusals(registry, credentials, self._secrets)

    def header(self, repository: str) -> str | None:
        """The Authorization header to send now; None if the registry has not asked for any.

        An expired token is replaced first, which saves a request that would be refused.

        Raises:
            CredentialsError, NetworkError: the token endpoint no longer gives one.
        """
        standing = self._standings.get(repository)
        if standing is None:
            return None
        challenge = standing.challenge
        if challenge and time.monotonic() >= standing.end:
            self._once(
                standing,
                lambda: time.monotonic() >= standing.end,
                lambda: self._take_token(standing, repository, self._login(repository), challenge),
            )
        return standing.header

    def challenged(self, headers: Mapping[str, str], repository: str, sent: str | None) -> None:
        """Answer a 401, so that `header` returns something better than `sent`.

        Returns at once if another thread has already replaced what was refused.

        Args:
            headers: of the response.
            repository: the one that was requested.
            sent: the Authorization header that was refused, or None.

        Raises:
            CredentialsError: there are no credentials, or they are not sufficient.
            NetworkError: the token endpoint fails.
        """
        standing = self._standings.setdefault(repository, _Standing())
        self._once(
            standing,
            lambda: sent == standing.header,
            lambda: self._meet(standing, self._challenges(headers, standing), repository),
        )

    def hidden(self, repository: str, sent: str | None) -> bool:
        """Send credentials unasked if a registry hides private images instead of asking for them.

        Nexus, the old GCR and Artifactory answer anonymous requests with 403 or 404, and ask only
        at `/v2/`.

        Args:
            repository: the one that was requested.
            sent: the Authorization header of the request that was refused, or None.

        Returns:
            Whether to retry with `header`. Without credentials nothing is sent.

        Raises:
            CredentialsError: there are credentials, but they are refused.
            CancelledError: the run was stopped.
        """
        if sent is not None:
            return False
        with self._lock:
            standing = self._standings.setdefault(repository, _Standing())
            if standing.header is not None:
                return True
            if standing.is_told or standing.failure:
                return False
            standing.is_told = True
            if self._login(repository) is None:
                return False
            try:
                with self._remembering(standing):
                    offered = self._challenges({}, standing)
                    if offered:
                        self._meet(standing, offered, repository)
            except (NetworkError, ContentError) as error:
                # The first answer stands: the image may simply not exist.
                self._notify(f"warning: {error.said}")
            return standing.header is not None

    def accepted(self, repository: str, sent: str | None, *, served: bool) -> None:
        """Note that a request was not refused, so that a later refusal means something else.

        Args:
            served: whether it succeeded.
        """
        standing = self._standings.get(repository)
        if standing and standing.header == sent:
            standing.is_proven = True
            standing.has_served = standing.has_served or served

    def may_have_expired(self, repository: str, sent: str | None) -> bool:
        """Whether `sent` is a token that has worked before, or was replaced since."""
        standing = self._standings.get(repository)
        if standing is None or not (sent or "").startswith("Bearer "):
            return False
        return standing.has_served or standing.header != sent

    def _once(
        self, standing: _Standing, is_needed: Callable[[], bool], act: Callable[[], None]
    ) -> None:
        """Do the work in one thread; waiting threads share its result.

        Otherwise, with a silent token service, each of them would wait a whole timeout, one after
        the other.
        """
        seen = self._failures
        with self._lock:
            if not is_needed():
                return
            if self._failed and self._failures != seen:
                whose, failure = self._failed
                # An error for one repository need not concern another.
                if whose is standing or failure.transient:
                    shared = copy.copy(failure)
                    shared.is_shared = True
                    raise shared
            with self._remembering(standing):
                act()

    @contextmanager
    def _remembering(self, standing: _Standing) -> Iterator[None]:
        """Fail again, without asking, if credentials have failed before."""
        if standing.failure:
            raise CredentialsError(standing.failure.said, standing.failure.advice)
        try:
            yield
            self._failed = None
        except CredentialsError as error:
            standing.failure = error
            raise
        except (NetworkError, ContentError) as error:
            self._failures += 1
            # A copy: callers add what it was about.
            self._failed = standing, copy.copy(error)
            raise

    def _challenges(self, headers: Mapping[str, str], standing: _Standing) -> list[Challenge]:
        """The registry's challenges: gcr sends them only for `/v2/`."""
        from .challenge import Challenge, parse

        offered = parse([headers.get("WWW-Authenticate", "")[: LIMITS.link]])
        if offered:
            self._offered = offered
            return offered
        if standing.challenge:
            return [standing.challenge]
        if not self._offered:
            ping = self._ask("GET", self._ping, {}, None)
            self._offered = parse([ping.headers.get("WWW-Authenticate", "")[: LIMITS.link]])
        # The challenge for another repository: all but its scope applies to this one too.
        return [
            Challenge(one.scheme, {k: v for k, v in one.parameters.items() if k != "scope"})
            for one in self._offered
        ]

    def _meet(self, standing: _Standing, offered: list[Challenge], repository: str) -> None:
        """Find the best method that has not failed yet."""
        basic = any(one.scheme == "basic" for one in offered)
        bearer = next(
            (one for one in offered if one.scheme == "bearer" and one.parameters.get("realm")), None
        )
        if not basic and not bearer:
            raise self._say.unknown(offered)
        login = self._login(repository)
        is_new = not standing.is_proven and time.monotonic() - standing.begun < _FRESH
        error = bearer.parameters.get("error") if bearer else None
        # Anything but a lack of rights may be temporary: a token not valid yet, or just revoked.
        denied = is_new and (standing.is_second or error == "insufficient_scope")
        if bearer and not denied:
            self._take_token(standing, repository, login, bearer)
            standing.is_second = is_new
        elif basic and login and login.basic and standing.header != login.basic:
            self._warn_if_open()
            standing.header, standing.begun, standing.end = login.basic, -math.inf, math.inf
        elif login is None:
            raise self._say.missing(repository)
        elif bearer:
            raise self._say.denied(repository, login)
        else:
            raise self._say.refused(login)

    def _take_token(
        self,
        standing: _Standing,
        repository: str,
        login: Login | None,
        challenge: Challenge,
    ) -> None:
        """Get a token, and send it from now on."""
        begun = time.monotonic()
        if login and login.registry_token:
            token, life = login.registry_token, math.inf
            if standing.header == f"Bearer {token}":
                raise self._say.refused(login)
        else:
            if login:
                self._warn_if_open()
            token, life = self._fetch_token(challenge, repository, login)
        standing.header, standing.challenge = f"Bearer {token}", challenge
        standing.begun, standing.end = begun, begun + life - _MARGIN
        standing.is_proven = standing.has_served = False
        self._secrets.add_token(token)

    def _fetch_token(
        self, challenge: Challenge, repository: str, login: Login | None
    ) -> tuple[str, float]:
        """A token and its lifetime in seconds, from the endpoint named by a challenge."""
        from .tokens import token_of, with_query
        from .where_to import check_realm

        realm = check_realm(challenge.parameters["realm"], self._origin, self._secrets.conceal)
        asked = [("service", service)] if (service := challenge.parameters.get("service")) else []
        scope = challenge.parameters.get("scope") or f"repository:{repository}:pull"
        answer = None
        if login and login.identity_token:
            form = [
                ("grant_type", "refresh_token"),
                *asked,
                ("client_id", _CLIENT),
                ("scope", scope),
                ("refresh_token", login.identity_token),
            ]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._ask("POST", realm, headers, urlencode(form).encode())
        if answer is None or answer.status in _NO_OAUTH2:
            url = with_query(realm, [*asked, *(("scope", one) for one in scope.split())])
            headers = {"Authorization": login.basic} if login and login.basic else {}
            answer = self._ask("GET", url, headers, None)
        if answer.status in {401, 403}:
            detail = failures.explain(answer.body, self._secrets.conceal)
            if login is None:
                raise self._say.missing(repository, detail)
            if answer.status == 403:  # GitLab's answer to an account that it knows
                raise self._say.denied(repository, login, detail)
            raise self._say.refused(login, detail)
        host = self._secrets.conceal(redirects.host_of(realm))
        return token_of(answer, host, self._secrets.conceal)

    def _login(self, repository: str) -> Login | None:
        if self._credentials is None:
            return None
        login = self._credentials.for_repository(self._registry, repository)
        if login:
            self._secrets.add(login.secrets)
        return login

    def _warn_if_open(self) -> None:
        if self._origin.startswith("http:") and not self._warned:
            self._warned = True
            self._notify(f"warning: credentials for {self._registry} are sent over plain HTTP")
