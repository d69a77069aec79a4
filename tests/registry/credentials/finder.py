"""Somebody with a home, files in it, and credentials that are looked up there."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dockersave.model.options import Network
from dockersave.registry.credentials.where_from import Credentials, Login


def auth(user: str, secret: str) -> str:
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def entry(user: str, registry: str = "registry.test") -> dict[str, Any]:
    """A config.json with one user of one registry."""
    return {"auths": {registry: {"auth": auth(user, "word")}}}


class Finder:
    """Looks credentials up for somebody with a home, and keeps what is said.

    Parameters:
        home: their home; the environment has no more than that.
        environ: but for this.
    """

    def __init__(self, home: Path, environ: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")} | dict(
            environ or {}
        )
        self.lines: list[str] = []

    def find(
        self, registry: str = "registry.test", repository: str = "a/b", **network: Any
    ) -> Login | None:
        credentials = Credentials(Network(**network), self.environ, self.lines.append)
        return credentials.for_repository(registry, repository)

    def user(self, registry: str = "registry.test", repository: str = "a/b") -> str | None:
        login = self.find(registry, repository)
        return login.user if login else None


def config(home: Path, document: object) -> Path:
    return write(home / ".docker/config.json", document)
