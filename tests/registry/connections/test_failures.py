"""Limits of registries and refusals, explained in the user's terms."""

from __future__ import annotations

import errno
import mmap
import os
import time
from typing import NoReturn

import pytest
from urllib3 import HTTPHeaderDict

from dockersave.errors import (
    CredentialsError,
    DockersaveError,
    NetworkError,
    NotFoundError,
)
from dockersave.registry.connections import failures
from tests.images import Store, image, random_layer
from tests.pace import Stopwatch
from tests.registry.clients import opened
from tests.registry.simulator import Fault, Simulator

SAMPLE = image([random_layer(1000)])
STORE = Store.of({"sample": SAMPLE})
HUB = {
    "ratelimit-limit": "100;w=21600",
    "ratelimit-remaining": "0;w=21600",
    "docker-ratelimit-source": "192.0.2.1",
}


def headers(**values: str) -> HTTPHeaderDict:
    """Headers as an answer has them; `_` stands for `-`."""
    return HTTPHeaderDict({name.replace("_", "-"): value for name, value in values.items()})


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("100;w=21600", "100 in 6 h"),
        ("100;window=3600;w=3600", "100 in 1 h"),
        ("10, 10;w=60", "10 in 1 min"),
        ("200 ; w=5400", "200 in 90 min"),
        ("5000", "5000"),
        ("100;w=0", "100"),
    ],
)
def test_quotas_in_words(limit: str, words: str) -> None:
    error = failures.of_limit(headers(RateLimit_Limit=limit), "", "registry.example")
    assert error.message == f"registry.example: rate limit reached ({words})"
    assert error.transient
    assert error.crowded


@pytest.mark.parametrize("limit", ["", "many", ";w=60", "-1", "\x1b[2J"])
def test_quotas_that_are_none(limit: str) -> None:
    error = failures.of_limit(headers(RateLimit_Limit=limit), "", "registry.example")
    assert error.message == "registry.example: rate limit reached"


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("Retry-After", "7", 7.0),
        ("RateLimit-Reset", "30", 30.0),
        ("X-RateLimit-Reset", str(int(time.time()) + 3000), 3000.0),
        ("X-Retry-After", str(int(time.time()) - 3000), 0.0),
        ("RateLimit-Reset", "tomorrow", None),
        ("Server", "nginx", None),
    ],
    ids=["retry-after", "seconds", "time", "past", "words", "nothing"],
)
def test_when_to_come_back(name: str, value: str, seconds: float | None) -> None:
    error = failures.of_limit(HTTPHeaderDict({name: value}), "", "registry.example")
    # The time was taken when the tests were collected, which can be long ago.
    assert error.retry_after == (pytest.approx(seconds, abs=2000) if seconds else seconds)


def test_retry_after_counts_more_than_reset() -> None:
    error = failures.of_limit(headers(Retry_After="soon", RateLimit_Reset="30"), "", "r.example")
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({"RateLimit_Remaining": "3;w=21600", "RateLimit_Limit": "100;w=21600"}, (3, "100 in 6 h")),
        ({"RateLimit_Remaining": "3"}, None),
        ({"RateLimit_Limit": "100"}, None),
        ({"RateLimit_Remaining": "x", "RateLimit_Limit": "100"}, None),
    ],
)
def test_what_is_left(values: dict[str, str], left: tuple[int, str] | None) -> None:
    assert failures.remaining(headers(**values)) == left


def test_a_limit_of_hours_is_explained_at_once() -> None:
    """Docker Hub's case, with a Retry-After as some gateways add it."""
    with Simulator(STORE) as server, opened(server.host, retries=5) as run:
        extra = tuple(HUB.items())
        server.faults.add(Fault.status(429, retry_after="20000", headers=extra))
        watch = Stopwatch()
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("sample", "latest")
        assert watch.own < 2
        assert len(server.requests) == 1
        assert caught.value.exit_code == 5
        assert "rate limit reached (100 in 6 h)" in caught.value.message
        assert "it asks you to wait 5 h 33 min, until " in caught.value.hint
        assert "logging in raises the limit" in caught.value.hint
        assert "192.0.2.1" in caught.value.hint


def test_a_limit_that_is_near_is_said_once() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(
            Fault.header("RateLimit-Limit", "100;w=21600"),
            Fault.header("RateLimit-Remaining", "9;w=21600"),
        )
        for _ in range(3):
            run.registry.head("sample", "latest")
            run.registry.manifest("sample", "latest")
        assert run.lines == [
            f"{server.host}: 9 pulls of 100 in 6 h are left; logging in raises the limit"
        ]


def test_a_limit_that_is_far_is_not_said() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(
            Fault.header("RateLimit-Limit", "100;w=21600"),
            Fault.header("RateLimit-Remaining", "50;w=21600"),
        )
        run.registry.manifest("sample", "latest")
        assert not run.lines


def test_too_many_connections_are_told_apart() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        for status in (429, 503):
            server.faults.clear()
            server.faults.add(Fault.status(status))
            with pytest.raises(NetworkError) as caught:
                run.registry.manifest("sample", "latest")
            assert caught.value.crowded
        server.faults.clear()
        server.faults.add(Fault.status(500))
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("sample", "latest")
        assert not caught.value.crowded


# Refusals


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"errors":[{"code":"DENIED","message":"no"}]}', "DENIED: no"),
        (b'{"errors":[{"code":"A","message":"b"},{"code":"C"}]}', "A: b; C"),
        (b'{"errors":[{"message":"b","detail":{"x":1}}]}', "b"),
        (b'{"errors":[{"code":1,"message":null,"detail":"d"}]}', "d"),
        (b'{"errors":["x",null,{"code":"A"}]}', "A"),
        (b'{"errors":{}}', ""),
        (b'{"details":"incorrect username or password"}', "incorrect username or password"),
        (b'{"error":"Invalid bearer token format"}', "Invalid bearer token format"),
        (b"error code: 1010", "error code: 1010"),
        (b"<html><title>403</title>", ""),
        (b"a\nb", ""),
        (b"", ""),
        (b"null", ""),
        (b"[" * 100_000, "[" * 197 + "..."),
        (b'{"errors":[{"code":"A","message":"\\u001b[31m\\u202e"}]}', "A: ?[31m?"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"errors":[{"code":"A","message":"' + b"x" * 9999 + b'"}]}', "A: " + "x" * 194 + "..."),
    ],
)
def test_error_bodies_in_one_line(body: bytes, words: str) -> None:
    assert failures.explain(body) == words


@pytest.mark.parametrize(
    ("status", "body", "kind", "message", "hint"),
    [
        (404, b"", NotFoundError, "has no manifest of a:b", "Registry.tags"),
        (403, b"", CredentialsError, "refuses the manifest of a:b (403)", "user= and password="),
        (403, b"token has expired", CredentialsError, "refuses", "the login has expired"),
        (401, b"", CredentialsError, "refuses the manifest of a:b (401)", "docker login"),
        (407, b"", NetworkError, "the proxy wants credentials (407)", "HTTP_PROXY"),
        (418, b"", NetworkError, "returned 418 for the manifest of a:b", "is it a registry"),
        (418, b"teapot", NetworkError, "returned 418 for the manifest of a:b: teapot", ""),
        (
            400,
            b"Client sent an HTTP request to an HTTPS server.",
            NetworkError,
            "speaks TLS",
            "insecure=True",
        ),
        (
            400,
            b"<title>400 The plain HTTP request was sent to HTTPS port</title>",
            NetworkError,
            "speaks TLS",
            "insecure=True",
        ),
        (
            400,
            b"<center>No required SSL certificate was sent</center>",
            NetworkError,
            "wants a client certificate",
            "cert=",
        ),
    ],
)
def test_what_a_refusal_means(
    status: int, body: bytes, kind: type[DockersaveError], message: str, hint: str
) -> None:
    error = failures.of_answer(status, {}, body, "registry.example", "the manifest of a:b")
    assert type(error) is kind
    assert message in error.message
    assert hint in error.hint


def test_a_digest_that_is_not_there_is_in_no_list_of_tags() -> None:
    error = failures.of_answer(404, {}, b"", "r.io", f"the manifest of a@sha256:{'a' * 64}")
    assert "is the digest right?" in error.hint
    assert "tags" not in error.hint


@pytest.mark.parametrize("status", [400, 407, 429, 500, 502, 503, 504])
def test_who_refuses_has_answered(status: int) -> None:
    """Another connection would fare no better, unlike after a reset."""
    error = failures.of_answer(status, {}, b"", "registry.example", "the manifest of a:b")
    assert isinstance(error, NetworkError)
    assert error.answered


def test_who_breaks_off_has_not() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.reset())
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("sample", "latest")
        assert not caught.value.answered


def test_memory_that_is_not_there_is_no_fault_of_the_registry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def refuse(descriptor: int, size: int) -> NoReturn:
        sizes.append(size)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with Simulator(STORE) as server, opened(server.host) as run:
        monkeypatch.setattr(mmap, "mmap", refuse)
        with pytest.raises(MemoryError):
            run.registry.manifest("sample", "latest")
    assert sizes == [len(SAMPLE.manifest)], "no more than it has, and no retry"
