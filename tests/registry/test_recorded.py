"""Recorded answers of real registries, replayed byte for byte, under their own names over TLS.

Each file in `recorded/` has the requests that we must send, in order, and the answers that the
registry gives, as far as its source tells; tokens, names and layers are made up.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from dockersave import errors
from dockersave.model.descriptors import Descriptor
from dockersave.model.reference import Reference
from dockersave.registry.connections import connecting
from tests.registry.clients import Run, drain, opened

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))


class Replay:
    """Answers for every host of a recording, and notes deviations from it."""

    def __init__(self, exchanges: list[dict[str, Any]]) -> None:
        self._left = list(exchanges)
        self.faults: list[str] = []

    @property
    def missing(self) -> list[str]:
        """The requests that did not come."""
        return [exchange["request"]["url"] for exchange in self._left]

    @property
    def hosts(self) -> set[str]:
        """Every host that is spoken to."""
        urls = [exchange["request"]["url"] for exchange in self._left]
        return {str(urlsplit(url).hostname) for url in urls}

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Give the next answer, if this is the next request."""
        asked = f"{handler.command} https://{handler.headers['Host']}{handler.path}"
        exchange = self._left.pop(0) if self._left else {"request": {}, "answer": {}}
        request, answer = exchange["request"], exchange["answer"]
        wanted = f"{request.get('method')} {request.get('url')}"
        if asked != wanted:
            self.faults.append(f"{asked} instead of {wanted}")
        for name, value in request.get("headers", {}).items():
            lines = handler.headers.get_all(name)
            there = lines and ", ".join(lines)
            if there != value:
                self.faults.append(f"{asked}: {name} is {there} instead of {value}")
        length = int(handler.headers.get("Content-Length") or 0)
        handler.rfile.read(length)
        body = answer.get("body", "")
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        handler.send_response_only(answer.get("status", 599))
        for name, value in answer.get("headers", []):
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)


@contextmanager
def served(replay: Replay, authority: trustme.CA) -> Iterator[int]:
    """Serve a recording over TLS; gives the port on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            replay.answer(self)

        do_GET = do_HEAD = do_POST = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*replay.hosts).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def act(run: Run, action: str, repository: str, *rest: Any) -> object:
    """Call the client; returns the result."""
    if action == "manifest":
        return run.registry.manifest(repository, rest[0]).digest
    if action == "head":
        return run.registry.head(repository, rest[0])
    if action == "tags":
        return list(run.registry.tags(repository))
    return drain(run.registry.blob(repository, Descriptor("", rest[0], rest[1]))).decode()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_replay(path: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = json.loads(path.read_text())
    replay = Replay(recording["exchanges"])
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    host = urlsplit(recording["exchanges"][0]["request"]["url"]).netloc
    name = Reference.parse(f"{host}/{recording['do'][0][1]}").registry
    if recording["login"]:
        (home / ".docker").mkdir()
        key = "https://index.docker.io/v1/" if name == "docker.io" else name
        config = {"auths": {key: recording["login"]}}
        (home / ".docker" / "config.json").write_text(json.dumps(config))
    with served(replay, authority) as port:
        monkeypatch.setattr(
            connecting, "resolve", lambda *_: [(socket.AF_INET, ("127.0.0.1", port))]
        )
        retries = 1 if any("retrying" in line for line in recording["lines"]) else 0
        with opened(name, ca_file=str(tmp_path / "ca.pem"), retries=retries) as run:
            if "error" in recording:
                wanted = recording["error"]
                with pytest.raises(getattr(errors, wanted["type"])) as caught:
                    [act(run, *action) for action in recording["do"]]
                assert wanted["message"] in caught.value.message
                assert wanted["hint"] in caught.value.hint
            else:
                results = [act(run, *action) for action in recording["do"]]
                assert results == recording["result"], replay.faults
    assert not replay.faults
    assert not replay.missing
    assert len(run.lines) == len(recording["lines"])
    for line, beginning in zip(run.lines, recording["lines"], strict=True):
        assert line.startswith(beginning)


def test_every_recording_says_where_it_is_from() -> None:
    registries = set()
    for path in RECORDED:
        recording = json.loads(path.read_text())
        registries.add(recording["registry"])
        assert recording["quirk"]
        assert all(re.match("https://", source) for source in recording["source"])
        assert recording["source"]
    assert len(registries) >= 10
