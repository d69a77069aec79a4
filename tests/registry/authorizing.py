"""Talking to an `Authorizer` as a client does, with a token endpoint that says what it is told."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from urllib3 import HTTPHeaderDict

from dockersave.model.options import Network
from dockersave.registry.credentials.authorizer import Authorizer
from dockersave.registry.credentials.tokens import Answer
from dockersave.registry.credentials.where_from import Credentials
from tests.registry.canary import Canary

ORIGIN = "https://registry.test:443"
REALM = "https://auth.test/token"
BEARER = f'Bearer realm="{REALM}",service="s",scope="repository:a/b:pull"'
BASIC = 'Basic realm="b"'
REPOSITORY = "a/b"


class Endpoint:
    """A token endpoint: gives its answers in turn, the last one for ever, and records requests."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers) or ["token-1"]
        self.asked: list[tuple[str, str, Mapping[str, str], dict[str, str]]] = []

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(body.decode() if body else parts.query))
        self.asked.append((method, url, headers, parameters))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return Answer(answer, {}, b"")
        if isinstance(answer, str):
            answer = {"token": answer}
        if isinstance(answer, Answer):
            return answer
        return Answer(200, {}, answer if isinstance(answer, bytes) else json.dumps(answer).encode())


def authorizer(
    endpoint: Endpoint,
    canary: Canary | None = None,
    *,
    login: bool = True,
    origin: str = ORIGIN,
) -> Authorizer:
    """An authorizer with a canary's credentials, or without any."""
    bird = canary or Canary()
    network = Network(user=bird.user, password=bird.password) if canary and login else Network()
    credentials = Credentials(network, {"HOME": "/nonexistent"}, bird.notify)
    return Authorizer(origin, "registry.test", credentials, endpoint, bird.notify)


def with_entry(endpoint: Endpoint, canary: Canary, path: str, entry: dict[str, str]) -> Authorizer:
    """An authorizer with an entry in config.json."""
    with open(path, "w") as file:
        json.dump({"auths": {"registry.test": entry}}, file)
    credentials = Credentials(Network(authfile=path), {"HOME": "/nonexistent"}, canary.notify)
    return Authorizer(ORIGIN, "registry.test", credentials, endpoint, canary.notify)


def refuse(who: Authorizer, *challenges: str, repository: str = REPOSITORY) -> str | None:
    """Send the current header, get a 401, and return the next header."""
    headers = HTTPHeaderDict()
    for challenge in challenges:
        headers.add("WWW-Authenticate", challenge)
    who.challenged(headers, repository, who.header(repository))
    return who.header(repository)


def basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
