"""Canaries: secrets that are looked for afterwards wherever they must not be."""

from __future__ import annotations

import base64
import logging
import secrets
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar
from urllib.parse import quote, quote_plus

import pytest

Failure = TypeVar("Failure", bound=BaseException)

_started: list[object] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}:
        _started.append(arguments[:2])


class Recorded(Protocol):
    """What a server keeps of a request."""

    raw: bytes


class Canary:
    """One user's secrets, and all that was said while they were in use.

    Attributes:
        user, password, identity_token, registry_token: use them; the password has the
            characters that encodings stumble over.
        lines: what `notify` got.
    """

    def __init__(self) -> None:
        self.user = "canary-user"
        self.password = f'canary:{secrets.token_hex(8)} ü%+&"\\'
        self.identity_token = f"canary-identity+{secrets.token_hex(8)}=="
        self.registry_token = f"canary-registry/{secrets.token_hex(8)}"
        self.lines: list[str] = []
        self._said: list[str] = []
        self._reached: list[Iterable[Recorded]] = []

    @property
    def auth(self) -> str:
        """User and password as config.json has them."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def notify(self, line: str) -> None:
        """Take a line that the user would see."""
        self.lines.append(line)

    def say(self, text: str) -> None:
        """Take any other output."""
        self._said.append(text)

    def must_not_reach(self, requests: Iterable[Recorded]) -> None:
        """Watch the requests of a server that has no business with the secrets."""
        self._reached.append(requests)

    @contextmanager
    def fails(self, kind: type[Failure]) -> Iterator[pytest.ExceptionInfo[Failure]]:
        """Expect an error; its message, hint and traceback are output too."""
        with pytest.raises(kind) as info:
            yield info
        hint = getattr(info.value, "hint", "")
        self.say(f"{info.value} {info.value!r} {hint}")
        self.say("".join(traceback.format_exception(info.value)))

    def found_in(self, data: bytes) -> bool:
        """Whether any of the secrets is in there, in any of its disguises."""
        return any(disguise in data for disguise in self._disguises())

    def _disguises(self) -> Iterator[bytes]:
        token_pair = f"<token>:{self.identity_token}"
        yield self.auth.encode()
        for secret in (self.password, self.identity_token, self.registry_token, token_pair):
            yield secret.encode()
            yield quote(secret, safe="").encode()
            yield quote_plus(secret).encode()
            yield repr(secret)[1:-1].encode()
            yield base64.b64encode(secret.encode())
            yield base64.b64encode(f"{self.user}:{secret}".encode())

    def check(self, *more: str) -> None:
        """Look everywhere.

        Raises:
            AssertionError: a secret is where it must not be.
        """
        places = {
            # With marks of arguments, which cannot be encoded (`spelling`).
            "output": "\n".join([*self._said, *self.lines, *more]).encode(errors="surrogatepass"),
            "process arguments": repr(_started).encode(),
        }
        for number, requests in enumerate(self._reached):
            places[f"server {number}"] = b"\n".join(request.raw for request in requests)
        for place, data in places.items():
            assert not self.found_in(data), f"a secret is in the {place}: {data!r}"


@pytest.fixture
def canary(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Canary]:
    """Return secrets that are looked for, after the test, in all that came of it."""
    caplog.set_level(logging.DEBUG)
    bird = Canary()
    yield bird
    bird.check(*capfd.readouterr(), caplog.text)


sys.addaudithook(_audit)
