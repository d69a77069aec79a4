"""Parse the entries of config.json, and select those for a repository. Pure.

Sources: https://docs.docker.com/reference/cli/docker/login/ and containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from ...errors import shown
from ...model.reference import DOCKER_HUB
from ...spelling import argument
from ...values import dataclass, field

_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_TOKEN_USER = "<token>"
"""The user name by which a helper marks the secret as an identity token."""


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for a registry.

    Args:
        user: the name, or empty if a token contains it.
        secret: the password, or a personal access token; empty if there is none.
        identity_token: accepted by OAuth2 token endpoints instead of a password.
        registry_token: sent to the registry itself, unchanged.
        source: where this comes from, for messages.
    """

    user: str
    secret: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)
    source: str = argument("user")

    @property
    def basic(self) -> str | None:
        """The value of an Authorization header with user and secret (RFC 7617), if there are."""
        secret = self.secret or self.identity_token
        if not secret:
            return None
        # Bytes in config.json that are not UTF-8 are sent unchanged.
        pair = f"{self.user or _TOKEN_USER}:{secret}".encode(errors="surrogateescape")
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets that must never be shown, in any encoding."""
        encoded = (self.basic or "").removeprefix("Basic ")
        found = (self.secret, self.identity_token, self.registry_token, encoded)
        return tuple(secret for secret in found if secret)

    def __str__(self) -> str:
        whose = f"of {shown(self.user)!r} " if self.user and self.user != _TOKEN_USER else ""
        return f"{whose}from {self.source}"


def keys_of(registry: str, repository: str) -> Iterator[str]:
    """The keys that match a repository, the most specific first (containers-auth.json(5))."""
    names = _HUB_NAMES if registry == DOCKER_HUB else (registry.lower(),)
    path = repository
    while path:
        for name in names:
            yield f"{name}/{path}"
        path = path.rpartition("/")[0]
    yield from names


def by_place(table: dict[str, Any]) -> dict[str, list[Any]]:
    """A table of config.json with normalised keys."""
    result: dict[str, list[Any]] = {}
    for key, value in table.items():
        result.setdefault(_place(key), []).append(value)
    return result


def _place(key: str) -> str:
    """Normalise a key of config.json to `host[:port][/path]`: Docker wrote URLs, and still does for
    Docker Hub.

    Otherwise keys must be equal: a host never matches by prefix or suffix.
    """
    host, _, path = key.removeprefix("https://").removeprefix("http://").partition("/")
    path = path.rstrip("/")
    if path in {"v1", "v2"}:
        path = ""
    return f"{host.lower()}/{path}" if path else host.lower()


def of_variable(text: str) -> dict[str, list[Any]]:
    """The entries of DOCKER_AUTH_CONFIG, parsed as Docker's CLI does.

    It accepts only an `auth` for each registry; anything else makes the whole variable invalid
    (docker/cli, cli/config/configfile/file.go, parseEnvConfig).

    Raises:
        ValueError: it contains something else.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not valid JSON") from None
    auths = document.get("auths") if isinstance(document, dict) else 0
    auths = {} if auths is None else auths
    if not isinstance(auths, dict) or document.keys() - {"auths"}:
        raise ValueError("it may contain only auths")
    for entry in auths.values():
        if not isinstance(entry, dict) or not entry.get("auth") or entry.keys() - {"auth"}:
            raise ValueError("each of its auths may contain only an auth")
    return by_place(auths)


def of_entry(entry: object, source: str) -> Login | None:
    """Read an entry of `auths`; an empty one means that a helper has the credentials.

    Raises:
        ValueError: it is malformed.
    """
    if entry is None:
        # What Go writes for an empty one.
        return None
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    names = ("auth", "username", "password", "identitytoken", "registrytoken")
    values = [entry.get(name) or "" for name in names]
    if not all(isinstance(value, str) for value in values):
        raise ValueError("not a string")
    auth, user, secret, identity, token = values
    if auth:
        user, colon, secret = _decode(auth).partition(":")
        if not colon:
            raise ValueError("no colon")
        secret = secret.rstrip("\0")
    if not (secret or identity or token):
        return None
    for opaque in (identity, token):
        if not (opaque.isascii() and opaque.isprintable()) or " " in opaque:
            raise ValueError("no token")
    login = as_login(user, secret, source)
    return Login(login.user, login.secret, identity or login.identity_token, token or None, source)


def _decode(auth: str) -> str:
    packed = "".join(auth.split())
    try:
        raw = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not valid base64") from error
    return raw.decode(errors="surrogateescape")


def as_login(user: str, secret: str, source: str) -> Login:
    """A login as stored by Docker, where a special user name marks an identity token.

    Raises:
        ValueError: they cannot be sent.
    """
    f"{user}{secret}".encode(errors="surrogateescape")
    if user == _TOKEN_USER and secret:
        return Login("", "", identity_token=secret, source=source)
    return Login(user, secret, source=source)
