"""From challenges to Authorization headers, one exchange at a time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from urllib3 import HTTPHeaderDict

from dockersave.errors import CredentialsError, DockersaveError, NetworkError
from dockersave.limits import LIMITS
from dockersave.registry.tokens import Answer
from tests.registry.canary import Canary
from tests.registry.talking import (
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
    assert "a/b is not for the credentials of 'canary-user' from --user" in info.value.typed
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
    assert "refuses the credentials of 'canary-user' from --user" in info.value.typed
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


# Many threads


def together(work: Callable[[], None]) -> list[DockersaveError]:
    """Do the same in eight threads at once; return what failed."""
    failures: list[DockersaveError] = []
    barrier = threading.Barrier(8)

    def run() -> None:
        barrier.wait()
        try:
            work()
        except DockersaveError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_threads_share_one_token() -> None:
    endpoint = Endpoint("token-1", "token-2")
    who = authorizer(endpoint)
    assert not together(lambda: who.challenged({"WWW-Authenticate": BEARER}, REPOSITORY, None))
    assert who.header(REPOSITORY) == "Bearer token-1"
    assert len(endpoint.asked) == 1


def test_a_wrong_password_is_sent_once(canary: Canary) -> None:
    endpoint = Endpoint(401)
    who = authorizer(endpoint, canary)
    failures = together(lambda: who.challenged({"WWW-Authenticate": BEARER}, REPOSITORY, None))
    assert len(failures) == 8
    assert len({id(failure) for failure in failures}) == 8
    assert len(endpoint.asked) == 1


class Crowd:
    """A lock that counts its waiters."""

    def __init__(self) -> None:
        self.come: list[None] = []
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.come.append(None)
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


@pytest.mark.parametrize("has_expired", [False, True])
def test_those_who_wait_for_a_silent_token_service_share_what_comes_of_it(
    has_expired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = NetworkError("auth.test: no response in time", transient=True)
    endpoint = Endpoint("token-1", silence, silence, "token-2")
    who = authorizer(endpoint)
    refuse(who, BEARER)
    if has_expired:
        later = time.monotonic() + 1000
        monkeypatch.setattr(time, "monotonic", lambda: later)

    def work() -> None:
        if not has_expired:
            who.challenged({"WWW-Authenticate": BEARER}, REPOSITORY, "Bearer token-1")
        who.header(REPOSITORY)

    def answer() -> Answer:
        # Once all are there: later ones ask for themselves.
        while len(crowd.come) < 8:
            time.sleep(0.001)
        return endpoint(*asked)

    for _ in range(2):
        crowd = Crowd()
        monkeypatch.setattr(who, "_lock", crowd)
        asked: list[Any] = []

        def ask(*request: Any, asked: list[Any] = asked) -> Answer:
            asked[:] = request
            return answer()

        monkeypatch.setattr(who, "_ask", ask)
        before = len(endpoint.asked)
        failures = together(work)
        assert len(endpoint.asked) == before + 1
        assert [str(failure) for failure in failures] == ["auth.test: no response in time"] * 8
        assert all(isinstance(each, NetworkError) and each.transient for each in failures)
        # The one attempt counts once.
        assert sum(not failure.is_shared for failure in failures) == 1
        assert len({id(failure) for failure in failures}) == 8
    work()
    assert who.header(REPOSITORY) == "Bearer token-2"


def test_what_is_wrong_with_one_repository_is_not_with_another() -> None:
    endpoint = Endpoint(404, "token-2")
    who = authorizer(endpoint)
    failures: list[None] = []

    def other() -> None:
        who.challenged({"WWW-Authenticate": BEARER}, "c/d", None)

    def ask(*request: Any) -> Answer:
        if not failures:
            failures.append(None)
            thread.start()
            while len(crowd.come) < 2:
                time.sleep(0.001)
        return endpoint(*request)

    crowd = Crowd()
    thread = threading.Thread(target=other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(who, "_lock", crowd)
        patch.setattr(who, "_ask", ask)
        with pytest.raises(NetworkError, match="returned 404"):
            who.challenged({"WWW-Authenticate": BEARER}, REPOSITORY, None)
        thread.join()
    assert who.header("c/d") == "Bearer token-2"


# What messages say, and never say


def test_an_endpoint_that_repeats_the_password(canary: Canary) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": f"no: {canary.password}"}]})
    for status in (401, 500):
        who = authorizer(Endpoint(Answer(status, {}, body.encode())), canary)
        with canary.fails(DockersaveError) as info:
            refuse(who, BEARER)
        assert "DENIED: no: ***" in str(info.value)


def test_gitlab_403_from_the_token_endpoint_means_the_account_may_not(canary: Canary) -> None:
    refusal = Answer(403, {}, b'{"errors":[{"code":"DENIED","message":"access forbidden"}]}')
    with canary.fails(CredentialsError) as info:
        refuse(authorizer(Endpoint(refusal), canary), BEARER)
    assert "a/b is not for the credentials of 'canary-user' from --user" in info.value.typed
    assert "DENIED: access forbidden" in str(info.value)
    with pytest.raises(CredentialsError, match="needs credentials, or does not exist: DENIED"):
        refuse(authorizer(Endpoint(refusal)), BEARER)


def test_two_factor_authentication_is_explained(canary: Canary) -> None:
    with canary.fails(CredentialsError) as info:
        refuse(authorizer(Endpoint(401), canary), BEARER)
    assert "two-factor authentication needs an access token" in info.value.hint


def test_credentials_over_plain_http_are_noted_once(canary: Canary) -> None:
    who = authorizer(Endpoint(), canary, origin="http://registry.test:80")
    refuse(who, BASIC)
    refuse(who, BASIC, repository="c/d")
    assert canary.lines == ["warning: credentials for registry.test are sent over plain HTTP"]
