"""Registries that hide private images: they ask for credentials only at `/v2/`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dockersave.errors import CredentialsError, DockersaveError, NotFoundError
from dockersave.model.descriptors import Descriptor
from tests.images import image, random_layer
from tests.registry.clients import Run, drain, opened
from tests.registry.raw_server import Raw, answer, raw_server

LAYER = random_layer(5000)
SAMPLE = image([LAYER])
CONFIG = Descriptor("", SAMPLE.config_digest, len(SAMPLE.config))
SECRET = "canary-word"
BASIC = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
DENIED = b'{"errors":[{"code":"DENIED","message":"hidden"}]}'
HIDING = {"403": "403 Forbidden", "404": "404 Not Found", "401": "401 Unauthorized"}
QUESTIONS: dict[str, Callable[[Run], object]] = {
    "manifest": lambda run: run.registry.manifest("sample", "latest").digest,
    "head": lambda run: run.registry.head("sample", "latest"),
    "tags": lambda run: list(run.registry.tags("sample")),
    "config": lambda run: run.registry.read_blob("sample", CONFIG, 1 << 20),
    "blob": lambda run: drain(run.registry.blob("sample", CONFIG)),
    "range": lambda run: drain(run.registry.blob("sample", CONFIG, 1, 7)),
}


@contextmanager
def hiding(status: str, *, bearer: bool = False, challenge: bool = True) -> Iterator[Raw]:
    """A registry that answers anonymous requests so, and asks only at `/v2/`."""
    wanted = "Authorization: " + ("Bearer a-token" if bearer else BASIC)

    def say(line: str) -> bytes:
        head = server.heads[-1]
        if line.startswith("GET /token"):
            if f"Authorization: {BASIC}" in head:
                return answer(b'{"token":"a-token"}')
            return answer(DENIED, status="401 Unauthorized")
        if wanted not in head:
            if "/v2/ " not in line:
                return answer(b"" if line.startswith("HEAD") else DENIED, status=status)
            scheme = f'Bearer realm="http://{server.host}/token"' if bearer else 'Basic realm="x"'
            asked = [f"WWW-Authenticate: {scheme}"] if challenge else []
            return answer(DENIED, *asked, status="401 Unauthorized" if asked else "200 OK")
        if "/blobs/" in line:
            return answer(SAMPLE.config)
        if "/tags/" in line:
            return answer(b'{"tags":["latest"]}')
        said = answer(SAMPLE.manifest, f"Docker-Content-Digest: {SAMPLE.digest}")
        return said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if line.startswith("HEAD") else said

    with raw_server(say) as server:
        yield server


def login(home: Path, host: str) -> None:
    """What `docker login` would have written."""
    (home / ".docker").mkdir()
    entry = {"auth": base64.b64encode(f"me:{SECRET}".encode()).decode()}
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {host: entry}}))


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("status", HIDING)
def test_credentials_at_hand_are_used(status: str, name: str, bearer: bool, home: Path) -> None:
    """containerd #1205, nexus-public #217."""
    with hiding(HIDING[status], bearer=bearer) as server:
        login(home, server.host)
        with opened(server.host) as run:
            QUESTIONS[name](run)
            assert len(server.heads) == 4 if bearer else 3
            # From now on credentials are sent.
            run.registry.manifest("sample", "latest")
            assert len(server.heads) == 5 if bearer else 4
            assert not [line for line in run.lines if SECRET in line]


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("status", ["403", "404"])
def test_without_credentials_nothing_more_is_sent(status: str, name: str, home: Path) -> None:
    with hiding(HIDING[status]) as server, opened(server.host) as run:
        for _ in range(3):
            with pytest.raises(DockersaveError) as caught:
                QUESTIONS[name](run)
            assert isinstance(caught.value, CredentialsError if status == "403" else NotFoundError)
        # A refused HEAD has no body, so a GET asks why; or only the range may be refused.
        most = {"head": 6, "range": 6}.get(name, 3)
        assert 3 <= len(server.heads) <= most
        assert not any("Authorization" in head for head in server.heads)
        assert not any("/v2/ " in line for line in server.lines)


def test_a_registry_that_asks_nobody() -> None:
    """The answer stays what it was, and it is asked once what it wants."""
    with (
        hiding(HIDING["404"], challenge=False) as server,
        opened(server.host, user="me", password=SECRET) as run,
    ):
        for _ in range(3):
            with pytest.raises(NotFoundError):
                run.registry.manifest("sample", "latest")
        assert len(server.heads) == 4
        assert not any("Authorization" in head for head in server.heads)


@pytest.mark.parametrize("bearer", [False, True])
@pytest.mark.parametrize("status", ["403", "404"])
def test_credentials_that_are_wrong(status: str, bearer: bool) -> None:
    def say(line: str) -> bytes:
        if "/v2/ " in line or "Authorization: Basic" in server.heads[-1]:
            realm = f'Bearer realm="http://{server.host}/token"' if bearer else 'Basic realm="x"'
            return answer(DENIED, f"WWW-Authenticate: {realm}", status="401 Unauthorized")
        return answer(DENIED, status=HIDING[status])

    with (
        raw_server(say) as server,
        opened(server.host, user="me", password="wrong-word") as run,
        pytest.raises(CredentialsError, match="refuses the credentials of 'me'"),
    ):
        run.registry.manifest("sample", "latest")


def test_what_does_not_exist_for_somebody_either(home: Path) -> None:
    def say(line: str) -> bytes:
        if "/v2/ " in line:
            return answer(b"", 'WWW-Authenticate: Basic realm="x"', status="401 Unauthorized")
        return answer(DENIED, status="404 Not Found")

    with raw_server(say) as server, opened(server.host, user="me", password=SECRET) as run:
        for count in (3, 4, 5):
            with pytest.raises(NotFoundError):
                run.registry.manifest("sample", "latest")
            assert len(server.heads) == count


@pytest.mark.parametrize("path", ["", "/v2/hub", "/prefix", "/prefix/v2/hub"])
def test_a_mirror_that_hides(path: str, home: Path) -> None:
    """With its own credentials; its API may not begin at the root."""
    with (
        hiding(HIDING["404"]) as mirror,
        hiding(HIDING["404"]) as registry,
    ):
        login(home, mirror.host)
        with opened(registry.host, mirrors=(f"http://{mirror.host}{path}",)) as run:
            assert run.registry.manifest("sample", SAMPLE.digest).digest == SAMPLE.digest
        assert not registry.heads
        ping = path.partition("/v2")[0] + "/v2/"
        assert mirror.lines[1] == f"GET {ping} HTTP/1.1"


def test_storage_is_never_told_who_we_are() -> None:
    def store(line: str) -> bytes:
        return answer(DENIED, status="403 Forbidden")

    def say(line: str) -> bytes:
        return answer(b"", f"Location: http://{storage.host}/x", status="307 X")

    with (
        raw_server(store) as storage,
        raw_server(say) as server,
        opened(server.host, user="me", password=SECRET) as run,
    ):
        with pytest.raises(DockersaveError):
            run.registry.read_blob("sample", CONFIG, 1 << 20)
        assert all(line.startswith("GET /x ") for line in storage.lines)
        assert not any("Authorization" in head for head in storage.heads + server.heads)
