"""HTTP as spoken by proxies and registries: accept what Go accepts, refuse what is ambiguous."""

from __future__ import annotations

import pytest

from dockersave.errors import DockersaveError, NetworkError
from dockersave.limits import LIMITS
from dockersave.model.descriptors import ACCEPT, Descriptor
from dockersave.model.digest import digest_of
from dockersave.registry.connections.http import MalformedAnswer, content_length, is_chunked
from tests.images import image, random_layer
from tests.registry.clients import drain, opened
from tests.registry.raw_server import answer, chunked, raw_server

LAYER = random_layer(5000)
SAMPLE = image([LAYER])
BODY = SAMPLE.manifest
CONFIG = Descriptor("", SAMPLE.config_digest, len(SAMPLE.config))
LENGTH = f"Content-Length: {len(BODY)}"
TYPE = f"Content-Type: {SAMPLE.media_type}"
TAKEN = {
    "twice": answer(BODY, LENGTH),
    "joined": answer(BODY, f"Content-Length: {len(BODY)}, {len(BODY)}", length=False),
    "blanks": answer(BODY, f"content-length:  {len(BODY)}\t", length=False),
    "wrong beside chunks": chunked(BODY, "Content-Length: 7"),
    "two wrong beside chunks": chunked(BODY, "Content-Length: 7", "Content-Length: 8"),
    "chunked twice said": chunked(BODY, "Transfer-Encoding: identity"),
    "203": answer(BODY, status="203 Non-Authoritative Information"),
    "102": b"HTTP/1.1 102 Processing\r\n\r\n" + answer(BODY),
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 3\r\n\r\n" + answer(BODY),
    "100 and 103": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\n\r\n" + answer(BODY),
    "300 headers": answer(BODY, *(f"X-{n}: x" for n in range(300))),
    "no reason": answer(BODY, status="200"),
    "bare line feeds": b"HTTP/1.1 200 OK\n" + LENGTH.encode() + b"\n\n" + BODY,
    "a blank before a colon": answer(BODY, "X-Served-By : cache"),
    "and a second line of it": answer(BODY, f"X-Served-By : cache\r\n 7\r\n{TYPE}"),
    "HTTP/2.0": answer(BODY).replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/1.0": answer(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
}
REFUSED = {
    "contradiction": answer(BODY, "Content-Length: 7"),
    "joined contradiction": answer(BODY, f"Content-Length: {len(BODY)}, 7", length=False),
    "a number and none": answer(BODY, "Content-Length: x"),
    "transfer coding": answer(BODY, "Transfer-Encoding: gzip, chunked"),
}
BROKEN = {
    "interim without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
    "head too long": answer(BODY, *(f"X-{n}: {'x' * 1000}" for n in range(1100))),
    "line too long": answer(BODY, f"X: {'x' * LIMITS.head}"),
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_go_takes(name: str) -> None:
    with raw_server(lambda line: TAKEN[name]) as server, opened(server.host) as run:
        for _ in range(2):
            found = run.registry.manifest("sample", "latest")
            assert found.digest == SAMPLE.digest
        assert server.connections == (2 if name == "HTTP/1.0" else 1)


@pytest.mark.parametrize("name", TAKEN)
def test_blobs_too(name: str) -> None:
    data = TAKEN[name]
    blob = Descriptor("", SAMPLE.digest, len(BODY))
    with raw_server(lambda line: data) as server, opened(server.host) as run:
        assert digest_of(drain(run.registry.blob("sample", blob))) == SAMPLE.digest
        assert run.registry.read_blob("sample", blob, 1 << 20) == BODY


@pytest.mark.parametrize("name", [*REFUSED, *BROKEN])
def test_what_nobody_can_tell_the_end_of(name: str) -> None:
    data = (REFUSED | BROKEN)[name]
    with raw_server(lambda line: data) as server, opened(server.host, retries=1) as run:
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("sample", "latest")
        assert len(server.heads) == (1 if name in REFUSED else 2)
        assert str(caught.value).isprintable()
        assert caught.value.transient is (name in BROKEN)


def test_a_head_that_is_cut() -> None:
    cut = answer(BODY, TYPE).partition(b"\r\n\r\n")[0]

    def say(line: str) -> bytes | None:
        return None if len(server.heads) > 1 else cut + b"\r\n"

    with (
        raw_server(say) as server,
        opened(server.host, timeout=0.5) as run,
        pytest.raises(NetworkError),
    ):
        run.registry.manifest("sample", "latest")


@pytest.mark.parametrize("late", [False, True])
def test_a_head_request_that_is_answered_with_a_body(late: bool) -> None:
    """Anything after it is not taken for the response to the next request."""
    said = answer(BODY, TYPE, f"Docker-Content-Digest: {SAMPLE.digest}")
    head, _, body = said.partition(b"\r\n\r\n")
    waiting: list[bytes] = []

    def say(line: str) -> bytes:
        if line.startswith("HEAD"):
            waiting.extend([body] if late else [])
            return head + b"\r\n\r\n" + (b"" if late else body)
        # On the old connection, what was held back comes first.
        return (waiting.pop() if waiting else b"") + answer(SAMPLE.config)

    with raw_server(say) as server, opened(server.host) as run:
        for _ in range(3):
            assert run.registry.head("sample", "latest") == SAMPLE.digest
            assert run.registry.read_blob("sample", CONFIG, 1 << 20) == SAMPLE.config
    with raw_server(lambda line: head + b"\r\n\r\n") as server, opened(server.host) as run:
        for _ in range(3):
            run.registry.head("sample", "latest")
        assert server.connections == 1


def test_one_line_for_all_types_to_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """tinyproxy passes on one line of each name, and the registry would give another manifest."""
    with raw_server(lambda line: answer(BODY, TYPE)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        with opened("registry.test") as run:
            run.registry.manifest("sample", "latest")
    assert f"\r\nAccept: {', '.join(ACCEPT)}\r\n" in proxy.heads[0]


def test_one_line_for_each_type_that_is_accepted() -> None:
    """docker-adapter #449, olareg #41: whole lines are compared."""
    with raw_server(lambda line: answer(BODY, TYPE)) as server, opened(server.host) as run:
        run.registry.manifest("sample", "latest")
        run.registry.head("sample", "latest")
    for head in server.heads:
        lines = [line for line in head.split("\r\n") if line.lower().startswith("accept:")]
        assert lines == [f"Accept: {kind}" for kind in ACCEPT]


@pytest.mark.parametrize(
    "target",
    ["/x?sig=a%2fb%2Fc", "/a/../b/./c", "//x//y", "/%7e%zz?a=b?c&d", "/x?", "/{x}|y?[z]=\"'"],
)
def test_signed_addresses_are_sent_byte_for_byte(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(line: str) -> bytes:
        if "/v2/" in line and not through:
            return answer(b"", f"Location: http://{storage.host}{target}", status="307 X")
        return answer(SAMPLE.config)

    through = False
    with raw_server(lambda line: answer(SAMPLE.config)) as storage:
        with raw_server(say) as server, opened(server.host) as run:
            run.registry.read_blob("sample", CONFIG, 1 << 20)
        assert storage.lines == [f"GET {target} HTTP/1.1"]
        assert all(":target" not in head for head in storage.heads + server.heads)
    # A proxy is told the whole address, which ends in the same.
    with raw_server(lambda line: answer(SAMPLE.config)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        with opened("registry.test", mirrors=("http://mirror.test/%2fa%2Fb/v2",)) as run:
            run.registry.read_blob("sample", CONFIG, 1 << 20)
    path = f"/%2fa%2Fb/v2/sample/blobs/{CONFIG.digest}?ns=registry.test"
    assert proxy.lines == [f"GET http://mirror.test{path} HTTP/1.1"]


@pytest.mark.parametrize(
    ("values", "length"),
    [
        ([], None), (["7"], 7), (["7", "7"], 7), (["7, 7", "7"], 7), (["007"], 7), (["0"], 0),
    ],
)  # fmt: skip
def test_lengths(values: list[str], length: int | None) -> None:
    assert content_length(values) == length


@pytest.mark.parametrize(
    "values",
    [
        *(["7", "8"], ["7, 8"], ["7", ""], ["7", "x"]),
        *([""], ["x"], ["-7"], ["+7"], ["\u0667"], ["9" * 30], ["0x7"], ["7 7"]),
    ],
)
def test_lengths_that_are_none(values: list[str]) -> None:
    with pytest.raises(MalformedAnswer):
        content_length(values)


@pytest.mark.parametrize(
    "line", ["Content-Length: -1", "Content-Length:", "no header", "Content-Length : 2"]
)
def test_a_head_without_a_meaning_is_told_at_once(line: str) -> None:
    """Instead of waiting for the end of a connection that is kept open."""
    head = f"HTTP/1.1 200 OK\r\nX-A: b\r\n{line}\r\nX-C: d\r\n\r\n".encode()
    with (
        raw_server(lambda said: head + b"{}") as server,
        opened(server.host, timeout=1000) as run,
        pytest.raises(NetworkError, match=r"sent a (length that|malformed header)") as caught,
    ):
        run.registry.manifest("sample", "latest")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("values", "chunks"),
    [([], False), (["chunked"], True), (["Chunked"], True), (["identity", "chunked"], True)],
)
def test_transfer_codings(values: list[str], chunks: bool) -> None:
    assert is_chunked(values) is chunks
    with pytest.raises(MalformedAnswer):
        is_chunked([*values, "gzip"])
    with pytest.raises(MalformedAnswer):
        is_chunked(["chunked", "chunked"])


def test_an_error_is_an_error_whatever_comes_before_it() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"{}", status="404 Not Found")
    with (
        raw_server(lambda line: early) as server,
        opened(server.host) as run,
        pytest.raises(DockersaveError, match="has no manifest"),
    ):
        run.registry.manifest("sample", "latest")
