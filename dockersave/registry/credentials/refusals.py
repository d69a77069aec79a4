"""Messages for registries that deny access."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import CredentialsError
from ...model.reference import DOCKER_HUB
from ...spelling import argument
from ..concealing.secrets import Secrets
from .where_from import Credentials, Login

if TYPE_CHECKING:
    from .challenge import Challenge


class Refusals:
    """Explains the refusals of one registry.

    Args:
        registry: its name in references.
        credentials: where credentials were searched; None if none may be sent there.
        secrets: removed from its messages.
    """

    def __init__(self, registry: str, credentials: Credentials | None, secrets: Secrets) -> None:
        self._registry = registry
        self._credentials = credentials
        self._secrets = secrets

    @property
    def _command(self) -> str:
        return "docker login" + ("" if self._registry == DOCKER_HUB else f" {self._registry}")

    def unknown(self, offered: list[Challenge]) -> CredentialsError:
        """It asks for an unsupported scheme."""
        names = self._secrets.shown(", ".join(one.scheme for one in offered))
        if not names:
            return CredentialsError(
                f"{self._registry}: refuses access without saying what it wants (401)",
                "is it a registry (API version 2)?",
            )
        return CredentialsError(
            f"{self._registry}: asks for an unsupported kind of credentials ({names})",
            "Basic, and Bearer with a realm, are supported",
        )

    def missing(self, repository: str, detail: str = "") -> CredentialsError:
        """It asks for credentials, and there are none. `detail` is the registry's own message."""
        found = self._credentials.search() if self._credentials else "none may be sent there"
        said = f": {detail}" if detail else ""
        return CredentialsError(
            f"{self._registry}: {repository} needs credentials, or does not exist{said} ({found})",
            f"log in with {self._command} or podman login, or give {argument('credentials')}"
            if self._credentials
            else "a registry sends others only to addresses that need none: tell its operator",
        )

    def refused(self, login: Login, detail: str = "") -> CredentialsError:
        """It refuses the credentials."""
        said = f": {detail}" if detail else ""
        is_token = login.identity_token or login.registry_token
        kind = "token" if is_token else "credentials"
        if login.source == argument("user"):
            hint = (
                "check the name and the password; an account with two-factor authentication"
                " needs an access token in the password's place"
            )
        else:
            why = "it has expired" if is_token else "the password or token has changed or expired"
            hint = f"perhaps {why}: log in again with {self._command}, or give {argument('ilogin')}"
        return CredentialsError(f"{self._registry}: refuses the {kind} {login}{said}", hint)

    def denied(self, repository: str, login: Login, detail: str = "") -> CredentialsError:
        """It accepts the credentials, but not for this repository."""
        said = f": {detail}" if detail else ""
        return CredentialsError(
            f"{self._registry}: {repository} is not for the credentials {login},"
            f" or does not exist{said}",
            "check the name of the image, and what the account may read",
        )
