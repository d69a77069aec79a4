"""Who we are to a registry: challenges become Authorization headers.

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

from ..errors import ContentError, CredentialsError, NetworkError
from ..limits import LIMITS
from ..values import dataclass, field
from . import failures, redirects
from .credentials import Credentials, Login
from .refusals import Refusals
from .secrets import Secrets

if TYPE_CHECKING:
    from .challenge import Challenge
    from .tokens import Ask

_CLIENT = "dockersave"
_MARGIN = 5.0
"""Seconds before its end at which a token is replaced: a request takes its time."""
_FRESH = 10.0
"""Seconds in which a token cannot have expired: one that is refused so soon is not good enough."""
_NO_OAUTH2 = frozenset({400, 401, 404, 405})
"""What token endpoints without OAuth2 say to a POST: ACR, Artifactory, GCR, Docker's own."""


@dataclass(slots=True)
class _Standing:
    """What was agreed for one repository.

    Args:
        header: what to send.
        challenge: the Bearer challenge that led to it, to repeat it when the token expires.
        begun, end: when the token was asked for and when it expires, in monotonic seconds.
        is_proven: whether the registry has taken the token once.
        has_served: whether it has given something for it.
        is_second: whether the token replaced one that it had never taken.
        failure: why there is no way in; asking again would not help, and may lock an account.
        is_told: whether we have said who we are where nobody had asked.
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
    """Who we are to one origin (scheme, host and port). All methods may be called by any thread.

    Args:
        origin: of the registry, as `redirects.origin` writes it.
        registry: its name in references, to look credentials up and for messages.
        credentials: whose may go there; None for nobody's.
        ask: one exchange with a token endpoint; must not follow redirects to another origin.
        notify: gets lines for the user.
        ping: the URL where a registry says what it asks for; `/v2/` of the origin by default.
        secrets: learns what is sent, and leaves it out of what is shown.
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
        """What to send as Authorization now; None before the registry has asked for anything.

        A token that has expired is replaced first, which saves a request that would be refused.

        Raises:
            CredentialsError, NetworkError: the token endpoint gives none any more.
        """
        standing = self._standings.get(repository)
        if standing is None:
            return None
        if time.monotonic() >= standing.end:
            self._once(
                standing,
                lambda: time.monotonic() >= standing.end,
                lambda: self._take_token(standing, repository, self._login(repository)),
            )
        return standing.header

    def challenged(self, headers: Mapping[str, str], repository: str, sent: str | None) -> None:
        """Do what a 401 asks for, so that `header` gives something better than `sent`.

        Threads that were refused with what another thread has replaced already return at once.

        Args:
            headers: of the answer.
            repository: that was asked for.
            sent: the Authorization header that was refused, or None.

        Raises:
            CredentialsError: there are no credentials, or none that are good enough.
            NetworkError: the token endpoint does not answer as it should.
        """
        standing = self._standings.setdefault(repository, _Standing())
        self._once(
            standing,
            lambda: sent == standing.header,
            lambda: self._meet(standing, self._challenges(headers, standing), repository),
        )

    def hidden(self, repository: str, sent: str | None) -> bool:
        """Say who we are where a registry hides what is private, instead of asking who is there.

        Nexus, GCR of old and Artifactory answer nobody with 403 or 404, and ask at `/v2/` alone.

        Args:
            repository: that was asked for.
            sent: the Authorization header of the request that was refused, or None.

        Returns:
            Whether `header` is worth a second try now. Without credentials nothing is sent.

        Raises:
            CredentialsError: there are some, and they are refused.
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
                # The answer stays what it was: there may be no such image, whoever asks.
                self._notify(f"warning: {error.said}")
            return standing.header is not None

    def accepted(self, repository: str, sent: str | None, *, served: bool) -> None:
        """Learn that a request was not refused, so that a later refusal means something else.

        Args:
            served: whether it got what it was for.
        """
        standing = self._standings.get(repository)
        if standing and standing.header == sent:
            standing.is_proven = True
            standing.has_served = standing.has_served or served

    def may_have_expired(self, repository: str, sent: str | None) -> bool:
        """Whether what was sent is a token that has served once, or was replaced since."""
        standing = self._standings.get(repository)
        if standing is None or not (sent or "").startswith("Bearer "):
            return False
        return standing.has_served or standing.header != sent

    def _once(
        self, standing: _Standing, is_needed: Callable[[], bool], act: Callable[[], None]
    ) -> None:
        """Do what is needed in one thread; those that wait for it share what comes of it.

        Otherwise each of them would wait a whole timeout for a token service that is silent, one
        after the other.
        """
        seen = self._failures
        with self._lock:
            if not is_needed():
                return
            if self._failed and self._failures != seen:
                whose, failure = self._failed
                # What is wrong with one repository need not be wrong with another.
                if whose is standing or failure.transient:
                    shared = copy.copy(failure)
                    shared.is_shared = True
                    raise shared
            with self._remembering(standing):
                act()

    @contextmanager
    def _remembering(self, standing: _Standing) -> Iterator[None]:
        """Fail as before, without asking, where credentials have failed."""
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
            # As it is now: whoever catches it adds what it was about.
            self._failed = standing, copy.copy(error)
            raise

    def _challenges(self, headers: Mapping[str, str], standing: _Standing) -> list[Challenge]:
        """What the registry asks for: gcr leaves it unsaid, except where `/v2/` is asked."""
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
        # What was said about another repository: all but the scope holds for this one too.
        return [
            Challenge(one.scheme, {k: v for k, v in one.parameters.items() if k != "scope"})
            for one in self._offered
        ]

    def _meet(self, standing: _Standing, offered: list[Challenge], repository: str) -> None:
        """Find the best way in that has not failed yet."""
        basic = any(one.scheme == "basic" for one in offered)
        bearer = next(
            (one for one in offered if one.scheme == "bearer" and one.parameters.get("realm")), None
        )
        if not basic and not bearer:
            raise self._say.unknown(offered)
        login = self._login(repository)
        is_new = not standing.is_proven and time.monotonic() - standing.begun < _FRESH
        error = bearer.parameters.get("error") if bearer else None
        # Anything but a lack of rights may pass: a token not valid yet, or just withdrawn.
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
        challenge: Challenge | None = None,
    ) -> None:
        """Get a token, the first or the next, and send it from now on."""
        challenge = challenge or standing.challenge
        assert challenge is not None
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
        """A token and its life in seconds, from the endpoint that a challenge names."""
        from .realms import check_realm, with_query
        from .tokens import token_of

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
            if answer.status == 403:  # GitLab's word to an account that it knows
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
            self._notify(f"warning: credentials for {self._registry} go over plain http")
