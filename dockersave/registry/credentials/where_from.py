"""Where credentials come from: arguments, files of Docker and podman, credential helpers.

No file is read and no helper runs before a registry asks: most images need no credentials.
Sources: https://docs.docker.com/reference/cli/docker/login/ and containers-auth.json(5).
"""

from __future__ import annotations

import json
import os
import pwd
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...cancellation import Cancellation
from ...errors import CredentialsError, shown
from ...limits import LIMITS
from ...model.options import Network
from ...model.reference import DOCKER_HUB
from ...spelling import argument
from ...values import dataclass
from .logins import Login, as_login, by_place, keys_of, of_entry, of_variable

__all__ = ["Credentials", "Keyring", "Login"]

_HUB_SERVERS = ("https://index.docker.io/v1/", DOCKER_HUB)
"""Docker's and podman's name for Docker Hub when they call a credential helper."""
_VARIABLE = "DOCKER_AUTH_CONFIG"
"""An environment variable with the content of a config.json: GitLab's runners set it."""


@dataclass(frozen=True, slots=True)
class _File:
    """A config.json or auth.json with normalised keys."""

    name: str
    auths: dict[str, list[Any]]
    helpers: dict[str, list[Any]]
    store: str


class Credentials:
    """Finds credentials for repositories. All methods are thread-safe.

    Args:
        network: user, password and authfile.
        environ: as for `Keyring`.
        notify: as for `Keyring`.
        cancellation: as for `Keyring`.
        keyring: where to look if no user is given; a new one by default.

    Raises:
        CredentialsError: as `Keyring`.
    """

    def __init__(
        self,
        network: Network,
        environ: Mapping[str, str],
        notify: Callable[[str], None],
        cancellation: Cancellation | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self._network = network
        self._keyring = keyring or Keyring(network.authfile, environ, notify, cancellation)

    def for_repository(self, registry: str, repository: str) -> Login | None:
        """Find the credentials for a repository; the first match wins.

        Args:
            registry: as in a reference: `docker.io`, `registry.example:5000`.
            repository: its full path; podman stores credentials for parts of a registry.

        Returns:
            None if there are none.

        Raises:
            CancelledError: the run was stopped while a helper was running.
        """
        if self._network.user is not None:
            return Login(self._network.user, self._network.password or "")
        return self._keyring.find(registry, repository)

    def search(self) -> str:
        """Where no credentials were found, in a few words, for a message."""
        return self._keyring.search()


class Keyring:
    """The credentials in files and credential helpers. Each is read or called once in a run.

    All methods are thread-safe.

    Args:
        authfile: the file that the user named; it may be a pipe, which can be read only once.
        environ: locates the files; helpers get it too.
        notify: gets a line for every file or helper that fails.
        cancellation: ends the wait for a helper.

    Raises:
        CredentialsError: `authfile` cannot be read, even if no registry would ask.
    """

    def __init__(
        self,
        authfile: str | None,
        environ: Mapping[str, str],
        notify: Callable[[str], None],
        cancellation: Cancellation | None = None,
    ) -> None:
        self._authfile = authfile
        self._environ = environ
        self._notify = notify
        self._cancellation = cancellation or Cancellation()
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], Login | None] = {}
        self._searched: list[str] = []
        self._problems: list[str] = []
        self._unread = self._load()
        self._files: list[_File] = []
        if authfile:
            self._files.append(next(self._unread))

    def find(self, registry: str, repository: str) -> Login | None:
        """As `Credentials.for_repository`, if no user is given."""
        keys = tuple(keys_of(registry, repository))
        with self._lock:
            self._files.extend(self._unread)
            for file in self._files:
                login = self._of_helper(file, registry, keys) or self._of_entry(file, keys)
                if login:
                    return login
        return None

    def search(self) -> str:
        """Where no credentials were found, in a few words, for a message."""
        if self._problems:
            return "; ".join(self._problems)
        if self._searched:
            return f"none in {', '.join(self._searched)}"
        return f"neither {argument('user')} nor a config.json"

    def _load(self) -> Iterator[_File]:
        if not self._authfile:
            yield from self._of_variable()
        for path, name, is_wanted in _places(self._authfile, self._environ):
            # A file in a directory that we may not read, such as root's, counts as absent.
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
            if path == self._authfile:
                yield from self._of_variable()

    def _of_variable(self) -> Iterator[_File]:
        """The content of DOCKER_AUTH_CONFIG, which Docker reads before its files."""
        text = self._environ.get(_VARIABLE, "")
        if not text.strip():
            return
        try:
            file = _File(_VARIABLE, of_variable(text), {}, "")
        except ValueError as error:
            self._useless(_VARIABLE, str(error))
        else:
            self._searched.append(_VARIABLE)
            yield file

    def _useless(self, name: str, why: str) -> None:
        if name == self._authfile:
            raise CredentialsError(
                f"cannot read the credentials in {name}: {why}",
                "it must be a file as written by docker login or podman login",
            )
        self._problem(f"{name} cannot be used: {why}")

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)
            self._notify(f"warning: {text}")

    def _parse(self, name: str, body: bytes) -> _File:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise ValueError("it is not valid JSON") from None
        document = {} if document is None else document
        if not isinstance(document, dict):
            raise ValueError("it is not a JSON object")
        tables = [document.get(key) or {} for key in ("auths", "credHelpers")]
        store = document.get("credsStore") or ""
        if not all(isinstance(table, dict) for table in tables) or not isinstance(store, str):
            raise ValueError("auths, credHelpers or credsStore is malformed")
        return _File(name, by_place(tables[0]), by_place(tables[1]), store)

    def _of_helper(self, file: _File, registry: str, keys: tuple[str, ...]) -> Login | None:
        """Call the helper that a file names for a registry, or for all registries."""
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
                else as_login(*answer, f"docker-credential-{name} ({file.name})")
            )
        except (helpers.HelperError, UnicodeError) as error:
            self._problem(
                f"the credential helper docker-credential-{shown(name)} in {file.name}"
                f" cannot be used for {server}: {error}"
            )
            return None

    def _of_entry(self, file: _File, keys: tuple[str, ...]) -> Login | None:
        for key in keys:
            for entry in file.auths.get(key, []):
                try:
                    login = of_entry(entry, file.name)
                except ValueError:
                    self._problem(f"the entry for {shown(key)} in {file.name} is malformed")
                else:
                    if login:
                        return login
        return None


def _places(authfile: str | None, environ: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    """Where credentials may be: path, name for messages, and whether the user named it."""
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
    """The home directory in the user database: services and init scripts have no HOME."""
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
