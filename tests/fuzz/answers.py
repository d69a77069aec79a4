"""What registries and token endpoints say."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from hypothesis import strategies as st

from dockersave.errors import CredentialsError, DockersaveError, NetworkError
from dockersave.model.options import Network
from dockersave.registry import links, stream
from dockersave.registry.connections import failures, redirects
from dockersave.registry.credentials import authorizer, challenge, tokens, where_from, where_to
from tests.fuzz.inputs import json_bytes, near
from tests.fuzz.target import Target, printable

CHALLENGES = [
    'Bearer realm="https://a.test/t?x=y",service="s",scope="repository:a/b:pull,push"',
    'Basic realm="a\\"b", Negotiate abc==, Digest a=b ,, c = "d"',
]


def check_challenge(headers: list[str]) -> None:
    for one in challenge.parse(headers):
        assert one.scheme == one.scheme.lower()
        assert one.scheme
        assert all(name == name.lower() for name in one.parameters)


REALMS = ["https://a.test:8443/t?x=y#z", "http://169.254.169.254/", "https://[fe80::1]/", "//a"]


def check_realm(realm: str) -> None:
    try:
        found = where_to.check_realm(realm, "https://registry.test:443")
    except CredentialsError as error:
        printable(error)
        return
    assert found.lower().startswith("https://")
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found


TOKENS = [
    {"token": "abc", "expires_in": 300, "issued_at": "2024-01-01T00:00:00Z"},
    {"access_token": "abc", "expires_in": 60.5, "refresh_token": "d"},
    {"errors": [{"code": "DENIED", "message": "no", "detail": None}]},
]


def check_token(case: tuple[int, bytes, str]) -> None:
    status, body, header = case

    def ask(method: str, url: str, headers: Mapping[str, str], form: bytes | None) -> tokens.Answer:
        return tokens.Answer(status, {"Retry-After": header}, body)

    found = where_from.Credentials(Network(user="user", password="canary-word"), {}, print)
    who = authorizer.Authorizer("https://registry.test:443", "registry.test", found, ask, print)
    try:
        challenged = {"WWW-Authenticate": 'Bearer realm="https://a.test/t"'}
        who.challenged(challenged, "a/b", None)
    except (CredentialsError, NetworkError) as error:
        printable(error)
        return
    sent = who.header("a/b") or ""
    assert sent.startswith("Bearer ")
    assert sent.isascii()
    assert sent.isprintable()


NUMBERS = ["0", "7", "-1", "1e9", "9" * 400, "100;w=21600", "Wed, 21 Oct 2015 07:28:00 GMT", "٣"]
NAMES = ["Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
         "X-RateLimit-Reset", "X-Retry-After", "Docker-RateLimit-Source"]  # fmt: skip


def check_refusal(case: tuple[int, dict[str, str], bytes]) -> None:
    status, headers, body = case
    error = failures.of_answer(status, headers, body, "registry.test", "the manifest")
    assert isinstance(error, DockersaveError)
    printable(error)
    failures.remaining(headers)


def check_link(header: str) -> None:
    with contextlib.suppress(links.UnreadableLinkError):
        found = links.next_link(header)
        assert found is None or found in header


def check_content_range(header: str) -> None:
    found = stream.content_range(header)
    if found:
        # The caller checks whether they match the request.
        start, stop, size = found
        assert start >= 0
        assert stop > 0
        assert size is None or size >= 0


LOCATIONS = ["https://storage.test/a?b=c", "/a b/ü", "//a", "http://a/", "https://[::1]:5/", "?x"]


def check_location(location: str) -> None:
    try:
        found = redirects.target("https://registry.test/v2/", location)
    except NetworkError as error:
        printable(error)
        return
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found
    assert redirects.origin(found).startswith("https://")


TARGETS = {
    "challenges": Target(
        "dockersave.registry.credentials.challenge._parse_field",
        st.lists(near(CHALLENGES), min_size=1, max_size=3),
        check_challenge,
    ),
    "realms": Target(
        "dockersave.registry.credentials.where_to.check_realm", near(REALMS), check_realm
    ),
    "tokens": Target(
        "dockersave.registry.credentials.tokens.token_of",
        st.tuples(st.sampled_from([200, 200, 200, 429, 500]), json_bytes(TOKENS), near(NUMBERS)),
        check_token,
    ),
    "refusals": Target(
        "dockersave.registry.connections.failures.of_answer",
        st.tuples(
            st.sampled_from([400, 401, 404, 407, 429, 429, 500, 503]),
            st.dictionaries(st.sampled_from(NAMES), near(NUMBERS)),
            json_bytes(TOKENS) | st.binary(),
        ),
        check_refusal,
    ),
    "links": Target(
        "dockersave.registry.links.next_link", near(['</v2/a?n=1&last=b>; rel="next"']), check_link
    ),
    "content ranges": Target(
        "dockersave.registry.stream.content_range",
        near(["bytes 0-99/100", "bytes 5-9/*", "bytes */100"]),
        check_content_range,
    ),
    "locations": Target(
        "dockersave.registry.connections.redirects.target", near(LOCATIONS), check_location
    ),
}
