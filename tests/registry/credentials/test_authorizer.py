"""From challenges to Authorization headers, one exchange at a time."""

from __future__ import annotations

import time

import pytest
from urllib3 import HTTPHeaderDict

from dockersave.errors import CredentialsError, NetworkError
from dockersave.limits import LIMITS
from dockersave.registry.credentials.tokens import Answer
from tests.registry.authorizing import (
    BASIC,
    BEARER,
    ORIGIN,
    REALM,
    REPOSITORY,
    Endpoint,
    authorizer,
    basic,
    refuse,
)
from tests.registry.canary import Canary


def test_sends_nothing_before_it_is_asked(canary: Canary) -> None:
    endpoint = Endpoint()
    assert authorizer(endpoint, canary).header(REPOSITORY) is None
    assert endpoint.asked == []


def test_basic(canary: Canary) -> None:
    endpoint = Endpoint()
    who = authorizer(endpoint, canary)
    assert refuse(who, BASIC) == basic(canary.user, canary.password)
    assert who.header("another") is None
    assert endpoint.asked == []


def test_bearer_with_get(canary: Canary) -> None:
    endpoint = Endpoint()
    assert refuse(authorizer(endpoint, canary), BEARER) == "Bearer token-1"
    ((method, url, headers, parameters),) = endpoint.asked
    assert (method, url.partition("?")[0]) == ("GET", REALM)
    assert parameters == {"service": "s", "scope": "repository:a/b:pull"}
    assert headers["Authorization"] == basic(canary.user, canary.password)


def test_bearer_without_credentials() -> None:
    endpoint = Endpoint()
    assert refuse(authorizer(endpoint), BEARER) == "Bearer token-1"
    assert "Authorization" not in endpoint.asked[0][2]


@pytest.mark.parametrize(
    ("challenge", "expected"),
    [
        (f'Bearer realm="{REALM}"', {"scope": "repository:a/b:pull"}),
        (f'Bearer realm="{REALM}",service=""', {"scope": "repository:a/b:pull"}),
        (f'bearer Realm="{REALM}", Scope="x y"', {"scope": "y"}),
        (
            f'Bearer realm="{REALM}?service=s&x=1",service="s"',
            {"service": "s", "x": "1", "scope": "repository:a/b:pull"},
        ),
    ],
)
def test_asks_for_what_the_challenge_says(challenge: str, expected: dict[str, str]) -> None:
    endpoint = Endpoint()
    refuse(authorizer(endpoint), challenge)
    assert endpoint.asked[0][3] == expected


@pytest.mark.parametrize(
    "answer",
    [
        {"token": "t"},
        {"access_token": "t"},
        {"token": "t", "access_token": "u"},
        {"token": "", "access_token": "t"},
        {"token": None, "access_token": "t", "expires_in": None},
    ],
)
def test_takes_the_token_by_either_name(answer: object) -> None:
    assert refuse(authorizer(Endpoint(answer)), BEARER) == "Bearer t"


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"<html>login</html>", b"[]", b"null", b"{}", b'{"token": 1}', b'{"token": ["t"]}',
        b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}', b'{"token": "\\u00fc"}', b"\xff",
        b"[" * 100_000, b'{"token": "t", "x": [' + b"[]," * 300_000 + b"0]}",
        '{"token": "t", "x": "\U0001f600'.encode() + b"x" * 2_200_000 + b'"}',
    ],
)  # fmt: skip
def test_no_token_in_the_answer_is_a_network_error(answer: bytes) -> None:
    with pytest.raises(NetworkError, match=r"auth\.test: returned no token") as info:
        refuse(authorizer(Endpoint(answer)), BEARER)
    assert info.value.transient


def test_a_token_has_an_end() -> None:
    longest = "t" * LIMITS.token
    assert refuse(authorizer(Endpoint(longest)), BEARER) == f"Bearer {longest}"
    with pytest.raises(NetworkError, match=r"auth\.test: returned a token of 65537 char") as caught:
        refuse(authorizer(Endpoint(longest + "t")), BEARER)
    assert not caught.value.transient
    assert len(str(caught.value)) < 400


def test_a_challenge_has_an_end() -> None:
    who = authorizer(Endpoint())
    with pytest.raises(CredentialsError, match="unsupported kind"):
        refuse(who, f'Bearer scope="{"x" * LIMITS.link}",realm="{REALM}"')


@pytest.mark.parametrize(
    ("answer", "transient", "message"),
    [
        (404, False, "returned 404 instead of a token"),
        (500, True, "returned 500 for the request for a token"),
        (Answer(429, {"Retry-After": "7"}, b""), True, "rate limit reached"),
        (NetworkError("auth.test: connection reset", transient=True), True, "connection reset"),
    ],
)
def test_failing_endpoints(answer: object, transient: bool, message: str) -> None:
    endpoint = Endpoint(answer, "token-2")
    who = authorizer(endpoint)
    with pytest.raises(NetworkError, match=message) as info:
        refuse(who, BEARER)
    assert info.value.transient is transient
    assert info.value.retry_after == (7 if isinstance(answer, Answer) else None)
    assert refuse(who, BEARER) == "Bearer token-2"


@pytest.mark.parametrize(
    ("stated", "life"),
    [
        (300, 300), (61, 61), (60, 60), (59, 60), (1, 60), (0, 60), (-5, 60), (None, 60),
        ("300", 60), (True, 60), (1e400, 60), (float("nan"), 60), (10**400, 60), (90.5, 90.5),
    ],
)  # fmt: skip
def test_replaces_a_token_shortly_before_it_expires(
    stated: object, life: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    endpoint = Endpoint({"token": "token-1", "expires_in": stated}, "token-2")
    who = authorizer(endpoint)
    assert refuse(who, BEARER) == "Bearer token-1"
    clock[0] += life - 5.1
    assert who.header(REPOSITORY) == "Bearer token-1"
    clock[0] += 0.2
    assert who.header(REPOSITORY) == "Bearer token-2"
    assert len(endpoint.asked) == 2
    assert endpoint.asked[0][1] == endpoint.asked[1][1]


def test_replaces_a_token_that_is_refused_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    endpoint = Endpoint("token-1", "token-2", "token-3")
    who = authorizer(endpoint)
    for token in ("token-1", "token-2", "token-3"):
        assert refuse(who, BEARER) == f"Bearer {token}"
        clock[0] += 20


@pytest.mark.parametrize(
    ("error", "tokens"),
    [("", 2), (',error="invalid_token"', 2), (',error="insufficient_scope"', 1)],
)
def test_gives_up_when_fresh_tokens_are_refused(canary: Canary, error: str, tokens: int) -> None:
    endpoint = Endpoint("token-1", "token-2", "token-3")
    who = authorizer(endpoint, canary)
    with canary.fails(CredentialsError) as info:
        for _ in range(9):
            refuse(who, BEARER + error)
    assert len(endpoint.asked) == tokens
    assert "a/b is not for the credentials of 'canary-user' from user=" in str(info.value)
    anonymous = authorizer(Endpoint("token-1", "token-2", "token-3"))
    for _ in range(tokens):
        refuse(anonymous, BEARER + error)
    with pytest.raises(CredentialsError, match="a/b needs credentials, or does not exist"):
        refuse(anonymous, BEARER + error)


def test_a_token_that_was_good_once_is_replaced_as_often_as_need_be() -> None:
    who = authorizer(Endpoint("token-1", "token-2", "token-3", "token-4"))
    for number in range(1, 5):
        assert refuse(who, BEARER) == f"Bearer token-{number}"
        who.accepted(REPOSITORY, who.header(REPOSITORY), served=True)


def test_a_failing_endpoint_does_not_count_as_a_refusal() -> None:
    endpoint = Endpoint("token-1", 500, "token-2")
    who = authorizer(endpoint)
    refuse(who, BEARER)
    with pytest.raises(NetworkError):
        refuse(who, BEARER)
    assert refuse(who, BEARER) == "Bearer token-2"


def test_harbor_basic_after_a_bad_bearer(canary: Canary) -> None:
    endpoint = Endpoint()
    who = authorizer(endpoint, canary)
    assert refuse(who, BEARER) == "Bearer token-1"
    assert refuse(who, 'Basic realm="harbor"') == basic(canary.user, canary.password)
    with canary.fails(CredentialsError) as info:
        refuse(who, 'Basic realm="harbor"')
    assert "refuses the credentials of 'canary-user' from user=" in str(info.value)
    with pytest.raises(CredentialsError, match="needs credentials"):
        refuse(authorizer(Endpoint()), 'Basic realm="harbor"')


def test_basic_is_tried_where_both_are_offered_and_tokens_fail(canary: Canary) -> None:
    who = authorizer(Endpoint("token-1", "token-2"), canary)
    sent = [refuse(who, BASIC, BEARER) for _ in range(3)]
    assert sent == ["Bearer token-1", "Bearer token-2", basic(canary.user, canary.password)]


@pytest.mark.parametrize(
    ("challenge", "asked"),
    [
        ('Negotiate, NTLM abc="', "negotiate"),
        ("Bearer", "bearer"),
        ('Bearer service="x"', "bearer"),
    ],
)
def test_unknown_schemes(challenge: str, asked: str) -> None:
    with pytest.raises(CredentialsError, match="unsupported kind") as info:
        refuse(authorizer(Endpoint()), challenge * 1000)
    assert asked in str(info.value)
    assert len(str(info.value)) < 400


def test_gcr_401_without_a_challenge_means_that_of_the_ping(canary: Canary) -> None:
    ping = Answer(401, HTTPHeaderDict({"WWW-Authenticate": BEARER}), b"")
    endpoint = Endpoint(ping, "token-1", "token-2")
    who = authorizer(endpoint, canary)
    assert refuse(who) == "Bearer token-1"
    method, url, headers, _ = endpoint.asked[0]
    assert (method, url, headers) == ("GET", f"{ORIGIN}/v2/", {})
    # The scope was another repository's; the rest is remembered.
    assert refuse(who, repository="c/d") == "Bearer token-2"
    assert len(endpoint.asked) == 3
    assert endpoint.asked[2][3] == {"service": "s", "scope": "repository:c/d:pull"}


def test_a_later_401_without_a_challenge_means_that_of_before() -> None:
    endpoint = Endpoint("token-1", "token-2")
    who = authorizer(endpoint)
    refuse(who, BEARER)
    who.accepted(REPOSITORY, who.header(REPOSITORY), served=True)
    assert refuse(who) == "Bearer token-2"
    assert endpoint.asked[0][1] == endpoint.asked[1][1]


def test_a_401_that_never_says_why() -> None:
    with pytest.raises(CredentialsError, match="without saying what it wants"):
        refuse(authorizer(Endpoint(Answer(200, {}, b"{}"))))
