"""Where credentials come from: flags, files of Docker and podman, credential helpers.

Nothing is read, and no helper is run, before a registry asks: most images need no credentials.
Sources: https://docs.docker.com/reference/cli/docker/login/ and containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import pwd
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cancellation import Cancellation
from ..errors import CredentialsError, shown
from ..limits import LIMITS
from ..options import Network
from ..reference import DOCKER_HUB

_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_HUB_SERVERS = ("https://index.docker.io/v1/", DOCKER_HUB)
"""What Docker and podman call Docker Hub when they talk to a credential helper."""
_TOKEN_USER = "<token>"
"""The user name with which a helper says that the secret is an identity token."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a registry.

    Args:
        user: the name, or empty where a token says it.
        secret: the password, or a personal access token; empty if there is none.
        identity_token: what an OAuth2 token endpoint takes in the password's place.
        registry_token: what the registry itself takes as it is.
        source: where this comes from, for messages.
    """

    user: str
    secret: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)
    source: str = "--user"

    @property
    def basic(self) -> str | None:
        """The value of an Authorization header with user and secret (RFC 7617), if there are."""
        secret = self.secret or self.identity_token
        if not secret:
            return None
        # Bytes that were no UTF-8 in config.json go out as they came in.
        pair = f"{self.user or _TOKEN_USER}:{secret}".encode(errors="surrogateescape")
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, whole or encoded."""
        encoded = (self.basic or "").removeprefix("Basic ")
        found = (self.secret, self.identity_token, self.registry_token, encoded)
        return tuple(secret for secret in found if secret)

    def __str__(self) -> str:
        whose = f"of {shown(self.user)!r} " if self.user and self.user != _TOKEN_USER else ""
        return f"{whose}from {self.source}"


@dataclass(frozen=True, slots=True)
class _File:
    """A config.json or auth.json, its keys brought to one form."""

    name: str
    auths: dict[str, list[Any]]
    helpers: dict[str, list[Any]]
    store: str


class Credentials:
    """Finds credentials for repositories. All methods may be called from any thread.

    Args:
        network: user, password and authfile.
        environ: says where files are; helpers get it too.
        notify: gets a line for every file or helper that is no use.
        cancellation: ends the wait for a helper.

    Raises:
        CredentialsError: `--authfile` cannot be read, whether or not anybody will ask for it.
    """

    def __init__(
        self,
        network: Network,
        environ: Mapping[str, str],
        notify: Callable[[str], None],
        cancellation: Cancellation | None = None,
    ) -> None:
        self._network = network
        self._environ = environ
        self._notify = notify
        self._cancellation = cancellation or Cancellation()
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], Login | None] = {}
        self._searched: list[str] = []
        self._problems: list[str] = []
        self._unread = self._load()
        self._files: list[_File] = []
        if network.authfile:
            self._files.append(next(self._unread))

    def for_repository(self, registry: str, repository: str) -> Login | None:
        """Find the credentials for a repository; the first place that has some wins.

        Args:
            registry: as in a reference: `docker.io`, `registry.example:5000`.
            repository: its full path; podman keeps credentials for parts of a registry.

        Returns:
            None where nobody has any.

        Raises:
            CancelledError: the run was stopped while a helper was running.
        """
        if self._network.user is not None:
            return Login(self._network.user, self._network.password or "")
        keys = tuple(_keys(registry, repository))
        with self._lock:
            self._files.extend(self._unread)
            for file in self._files:
                login = self._of_helper(file, registry, keys) or self._of_entry(file, keys)
                if login:
                    return login
        return None

    def search(self) -> str:
        """What was looked through in vain, in a few words, for a message."""
        if self._problems:
            return "; ".join(self._problems)
        if self._searched:
            return f"none in {', '.join(self._searched)}"
        return "neither --user nor a config.json"

    def _load(self) -> Iterator[_File]:
        for path, name, is_wanted in _places(self._network.authfile, self._environ):
            # One in a directory that we may not look into, as root's, is as good as absent.
            if not (is_wanted or os.path.exists(path)):
                continue
            try:
                yield self._parse(name, _read(path))
            except OSError as error:
                self._useless(name, error.strerror or type(error).__name__)
            except ValueError as error:
                self._useless(name, str(error))
            else:
                self._searched.append(name)

    def _useless(self, name: str, why: str) -> None:
        if name == self._network.authfile:
            raise CredentialsError(
                f"cannot read the credentials in {name}: {why}",
                "it must be a file as docker login and podman login write it",
            )
        self._problem(f"{name} is no use: {why}")

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)
            self._notify(f"warning: {text}")

    def _parse(self, name: str, body: bytes) -> _File:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise ValueError("it is no JSON") from None
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
        tables = [document.get(key) or {} for key in ("auths", "credHelpers")]
        store = document.get("credsStore") or ""
        if not all(isinstance(table, dict) for table in tables) or not isinstance(store, str):
            raise ValueError("auths, credHelpers or credsStore is not what it should be")
        return _File(name, _by_place(tables[0]), _by_place(tables[1]), store)

    def _of_helper(self, file: _File, registry: str, keys: tuple[str, ...]) -> Login | None:
        """Ask the helper that a file names for a registry, or for all."""
        name = next((entries[0] for key in keys if (entries := file.helpers.get(key))), file.store)
        if not name or not isinstance(name, str):
            return None
        for server in _HUB_SERVERS if registry == DOCKER_HUB else (registry,):
            if (name, server) not in self._asked:
                self._asked[name, server] = self._ask(file, name, server)
            if login := self._asked[name, server]:
                return login
        return None

    def _ask(self, file: _File, name: str, server: str) -> Login | None:
        from . import helpers

        try:
            answer = helpers.get(name, server, self._environ, self._cancellation)
            return (
                None
                if answer is None
                else _login(*answer, f"docker-credential-{name} ({file.name})")
            )
        except (helpers.HelperError, UnicodeError) as error:
            self._problem(
                f"the credential helper docker-credential-{shown(name)} in {file.name}"
                f" is no use for {server}: {error}"
            )
            return None

    def _of_entry(self, file: _File, keys: tuple[str, ...]) -> Login | None:
        for key in keys:
            for entry in file.auths.get(key, []):
                try:
                    login = _of_entry(entry, file.name)
                except ValueError:
                    self._problem(f"the entry for {shown(key)} in {file.name} is malformed")
                else:
                    if login:
                        return login
        return None


def _places(authfile: str | None, environ: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    """Where credentials may lie: path, name for messages, and whether somebody asked for it."""
    if authfile:
        yield authfile, authfile, True
    if path := environ.get("REGISTRY_AUTH_FILE"):
        yield path, path, True
    home = environ.get("HOME") or _home_of_user()
    if folder := environ.get("DOCKER_CONFIG"):
        path = os.path.join(folder, "config.json")
        yield path, path, False
    elif home:
        yield os.path.join(home, ".docker/config.json"), "~/.docker/config.json", False
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    path = os.path.join(
        runtime, "containers/auth.json" if environ.get("XDG_RUNTIME_DIR") else "auth.json"
    )
    yield path, path, False
    if folder := environ.get("XDG_CONFIG_HOME"):
        path = os.path.join(folder, "containers/auth.json")
        yield path, path, False
    elif home:
        yield (
            os.path.join(home, ".config/containers/auth.json"),
            "~/.config/containers/auth.json",
            False,
        )


def _home_of_user() -> str:
    """The home that the host knows: services and init scripts have no HOME."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        body = file.read(LIMITS.token_answer + 1)
    if len(body) > LIMITS.token_answer:
        raise ValueError(f"it is longer than {LIMITS.token_answer} bytes")
    return body


def _keys(registry: str, repository: str) -> Iterator[str]:
    """The keys that fit a repository, the most particular first (containers-auth.json(5))."""
    names = _HUB_NAMES if registry == DOCKER_HUB else (registry.lower(),)
    path = repository
    while path:
        for name in names:
            yield f"{name}/{path}"
        path = path.rpartition("/")[0]
    yield from names


def _by_place(table: dict[str, Any]) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = {}
    for key, value in table.items():
        result.setdefault(_place(key), []).append(value)
    return result


def _place(key: str) -> str:
    """A key of config.json as `host[:port][/path]`: Docker wrote URLs, and still does for its Hub.

    Nothing else is the same as something else: a host does not match by its beginning or end.
    """
    host, _, path = key.removeprefix("https://").removeprefix("http://").partition("/")
    path = path.rstrip("/")
    if path in {"v1", "v2"}:
        path = ""
    return f"{host.lower()}/{path}" if path else host.lower()


def _of_entry(entry: object, source: str) -> Login | None:
    """Read an entry of `auths`; an empty one only says that a helper knows the rest.

    Raises:
        ValueError: it is malformed.
    """
    if not isinstance(entry, dict):
        raise ValueError("no object")
    names = ("auth", "username", "password", "identitytoken", "registrytoken")
    values = [entry.get(name) or "" for name in names]
    if not all(isinstance(value, str) for value in values):
        raise ValueError("no text")
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
    login = _login(user, secret, source)
    return Login(login.user, login.secret, identity or login.identity_token, token or None, source)


def _decode(auth: str) -> str:
    packed = "".join(auth.split())
    try:
        raw = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    return raw.decode(errors="surrogateescape")


def _login(user: str, secret: str, source: str) -> Login:
    """A login as Docker writes it: a name of its own marks an identity token.

    Raises:
        ValueError: they are no text that can be sent.
    """
    f"{user}{secret}".encode(errors="surrogateescape")
    if user == _TOKEN_USER and secret:
        return Login("", "", identity_token=secret, source=source)
    return Login(user, secret, source=source)
