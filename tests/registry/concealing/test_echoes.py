"""Registries and storage that echo what was sent to them: secrets stay out of all that is said."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from urllib.parse import quote

import pytest

from dockersave.errors import DockersaveError
from dockersave.model.descriptors import Descriptor
from dockersave.model.reference import Reference
from dockersave.resolving.resolver import Resolver
from tests.images import image, random_layer
from tests.registry.clients import drain, opened
from tests.registry.concealing.test_secrets import PLAIN, packed
from tests.registry.raw_server import Raw, answer, raw_server

SAMPLE = image([random_layer(1000)])
CONFIG = Descriptor("", SAMPLE.config_digest, len(SAMPLE.config))

Say = Callable[[Raw, str, str], bytes]
ECHOES: dict[str, Say] = {
    "body": lambda server, line, got: answer(got.encode(), status="500 X"),
    "JSON, late": lambda server, line, got: answer(
        json.dumps({"errors": [{"code": "X", "message": "y" * 150 + got}]}).encode(), status="400 X"
    ),
    "scheme": lambda server, line, got: answer(b"", f"WWW-Authenticate: {got}", status="401 X"),
    "realm": lambda server, line, got: answer(
        b"", f'WWW-Authenticate: Bearer realm="ftp://{got}/x"', status="401 X"
    ),
    "realm's host": lambda server, line, got: answer(
        b"", f'WWW-Authenticate: Bearer realm="http://{got[:40]}.test:1/x"', status="401 X"
    ),
    "limit": lambda server, line, got: answer(
        b"{}", f"Docker-RateLimit-Source: {got}", "Retry-After: 3600", status="429 X"
    ),
    "location": lambda server, line, got: answer(b"", f"Location: http://[{got}", status="307 X"),
    "location's path": lambda server, line, got: answer(
        b"", f"Location: ftp://h/{quote(got)}", status="307 X"
    ),
    "location's host": lambda server, line, got: answer(
        b"", f"Location: http://{got[:40]}.test:1/", status="307 X"
    ),
    "status line": lambda server, line, got: f"{got}\r\n\r\n".encode(),
    "chunk size": lambda server, line, got: (
        answer(b"", "Transfer-Encoding: chunked", length=False) + f"{got}\r\n\r\n".encode()
    ),
    "version": lambda server, line, got: f"HTTP/{got} 200 OK\r\n\r\n".encode(),
    "media type": lambda server, line, got: answer(
        json.dumps({"schemaVersion": 2, "mediaType": f"a/{got}"}).encode()
    ),
    "media type, late": lambda server, line, got: answer(
        json.dumps({"schemaVersion": 2, "mediaType": f"a/{'y' * 180}{got}"}).encode()
    ),
    "link": lambda server, line, got: answer(b'{"tags":[]}', f"Link: </{got}>; rel=next"),
}


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize("kind", ["word", "pair"])
def test_whatever_a_registry_echoes(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = packed(f"me:{PLAIN}")
    got = PLAIN if kind == "word" else pair

    def say(line: str) -> bytes:
        if "Authorization: Basic" not in server.heads[-1]:
            return answer(b"", 'WWW-Authenticate: Basic realm="x"', status="401 X")
        return ECHOES[name](server, line, got)

    with raw_server(say) as server, opened(server.host, user="me", password=PLAIN) as run:
        resolver = Resolver(run.registry, Reference.parse(f"{server.host}/sample"))
        with pytest.raises(DockersaveError) as caught:
            list(run.registry.tags("sample")) if name == "link" else resolver.image(None)
        said = "".join(traceback.format_exception(caught.value)) + caught.value.hint
        said += str(caught.value) + "".join(run.lines)
    for secret in (PLAIN, pair):
        assert not any(part in said for part in (secret[:10], secret[:10].lower()))


def test_a_blob_that_ends_in_what_was_sent() -> None:
    def say(line: str) -> bytes:
        if "Authorization: Basic" not in server.heads[-1]:
            return answer(b"", 'WWW-Authenticate: Basic realm="x"', status="401 X")
        head = answer(b"", "Transfer-Encoding: chunked", length=False)
        return head + f"1\r\nx\r\n{PLAIN}\r\n\r\n".encode()

    with (
        raw_server(say) as server,
        opened(server.host, user="me", password=PLAIN) as run,
        pytest.raises(DockersaveError) as caught,
    ):
        drain(run.registry.blob("sample", CONFIG))
    assert PLAIN[:8] not in "".join(traceback.format_exception(caught.value))


def test_storage_that_echoes_a_signed_address() -> None:
    signature = "c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"

    def store(line: str) -> bytes:
        said = f"no {signature} at {line.split()[1]}"
        return answer(json.dumps({"message": said}).encode(), status="409 X")

    def say(line: str) -> bytes:
        there = f"Location: http://{storage.host}/b?X-Amz-Signature={signature}&e=1"
        return answer(b"", there, status="307 X")

    with (
        raw_server(store) as storage,
        raw_server(say) as server,
        opened(server.host) as run,
        pytest.raises(DockersaveError, match="returned 409") as caught,
    ):
        drain(run.registry.blob("sample", CONFIG))
    assert signature not in str(caught.value)
    assert "no *** at /b?***" in str(caught.value)
