"""Who may read: Basic, and Bearer with a token endpoint (distribution, Token Authentication)."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from tests.registry.wire import Request, Response


@dataclass(frozen=True, slots=True)
class Auth:
    """What a registry demands.

    Parameters:
        scheme: of its challenge.
        user, password: that are right.
        identity_token: the refresh token that is right, for OAuth2; None: there is none.
        anonymous: whether a token to read is given without credentials (Bearer only).
        lifetime: seconds that a token is good for.
        expires_in: seconds that the answer says; None for `lifetime`, -1 for not saying.
        token_field: name of the token in the answer.
        oauth2: status of the answer to a POST that is otherwise right; 404, 405: no OAuth2.
        realm: in the challenge; None for the right address; {realm} stands for that.
        service, scope: in the challenge; empty for none; {name} stands for the repository.
        silent: 401 without a challenge, except to the ping, as gcr does.
        basic_too: Basic credentials do as well, and a bad Bearer is told so, as Harbor does.
        own_server: the token endpoint is another server than the registry.
    """

    scheme: Literal["basic", "bearer"] = "bearer"
    user: str = "user"
    password: str = "password"
    identity_token: str | None = None
    anonymous: bool = False
    lifetime: float = 300.0
    expires_in: int | None = None
    token_field: Literal["token", "access_token", "both"] = "token"
    oauth2: int = 200
    realm: str | None = None
    service: str = "simulator"
    scope: str = "repository:{name}:pull"
    silent: bool = False
    basic_too: bool = False
    own_server: bool = False


class Authority:
    """Issues tokens and recognises them.

    Parameters:
        auth: what is demanded.
        realm: address of the token endpoint.
    """

    def __init__(self, auth: Auth, realm: str) -> None:
        self.auth, self.realm = auth, realm
        self.issued: list[str] = []
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[float, frozenset[str]]] = {}

    def expire_tokens(self) -> None:
        """Let all tokens expire."""
        with self._lock:
            self._tokens.clear()

    def challenge(self, request: Request) -> Response | None:
        """Return the refusal of a request, or None where it may pass."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic" and (self.auth.scheme == "basic" or self.auth.basic_too):
            if self._is_user(value):
                return None
        elif scheme.lower() == "bearer" and self._is_token(value.strip(), request.repository):
            return None
        refusal = _json(401, {"errors": [{"code": "UNAUTHORIZED", "message": "log in first"}]})
        if not self.auth.silent or request.kind == "ping":
            refusal.set("WWW-Authenticate", self._challenge_header(request, scheme.lower()))
        return refusal

    def _challenge_header(self, request: Request, tried: str) -> str:
        if self.auth.scheme == "basic" or (self.auth.basic_too and tried == "bearer"):
            return 'Basic realm="simulator"'
        realm = (self.auth.realm or "{realm}").replace("{realm}", self.realm)
        scope = self.auth.scope if request.repository else ""
        fields = {
            "realm": realm,
            "service": self.auth.service,
            "scope": scope.replace("{name}", request.repository),
        }
        return "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items() if value)

    def _is_user(self, encoded: str) -> bool:
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except ValueError:
            return False
        if self.auth.identity_token and pair == f"<token>:{self.auth.identity_token}":
            return True
        return pair == f"{self.auth.user}:{self.auth.password}"

    def _is_token(self, token: str, repository: str) -> bool:
        with self._lock:
            expiry, scopes = self._tokens.get(token, (0.0, frozenset()))
        allowed = not repository or f"repository:{repository}:pull" in scopes
        return time.monotonic() < expiry and allowed

    def token(self, request: Request) -> Response:
        """Answer at the token endpoint: GET (Docker) and POST (OAuth2)."""
        if request.method == "POST":
            if self.auth.oauth2 != 200:
                return _json(self.auth.oauth2, {"details": "no such grant"})
            form = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
            known = self._is_grant(form)
            scope = form.get("scope", "")
        else:
            scheme, _, value = request.headers.get("authorization", "").partition(" ")
            known = self.auth.anonymous if not scheme else self._is_user(value)
            scope = request.query.get("scope", "")
        if not known:
            return _json(401, {"details": "incorrect username or password"})
        return self._issue(scope)

    def _is_grant(self, form: dict[str, str]) -> bool:
        if form.get("grant_type") == "refresh_token":
            return form.get("refresh_token") == (self.auth.identity_token or object())
        right = (self.auth.user, self.auth.password)
        return (form.get("username"), form.get("password")) == right

    def _issue(self, scope: str) -> Response:
        token = "simulator-token-" + secrets.token_urlsafe(24)
        with self._lock:
            self.issued.append(token)
            expiry = time.monotonic() + self.auth.lifetime
            self._tokens[token] = (expiry, frozenset(scope.split()))
        both = ("token", "access_token")
        names = both if self.auth.token_field == "both" else (self.auth.token_field,)
        answer: dict[str, object] = dict.fromkeys(names, token)
        said = int(self.auth.lifetime) if self.auth.expires_in is None else self.auth.expires_in
        return _json(200, answer | ({} if said == -1 else {"expires_in": said}))


def _json(status: int, document: object) -> Response:
    body = json.dumps(document).encode()
    return Response(status, [("Content-Type", "application/json")], body)
