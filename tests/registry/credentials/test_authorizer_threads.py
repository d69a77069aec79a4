"""Many threads that authorize at once, and what is said of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dockersave.errors import CredentialsError, DockersaveError, NetworkError
from dockersave.registry.credentials.tokens import Answer
from tests.registry.authorizing import BASIC, BEARER, REPOSITORY, Endpoint, authorizer, refuse
from tests.registry.canary import Canary


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
    """A lock that knows how many have come for it."""

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
        # Once all are there: whoever comes later asks for himself.
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


# What is said, and what is never said


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
    assert "a/b is not for the credentials of 'canary-user' from user=" in str(info.value)
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
