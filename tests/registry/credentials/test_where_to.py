"""Where credentials may go: their own origin, the token service that it states, and no further."""

from __future__ import annotations

import pytest

from dockersave.errors import CredentialsError, NetworkError
from dockersave.model.options import Network
from dockersave.registry.credentials.authorizer import Authorizer
from dockersave.registry.credentials.tokens import Answer, with_query
from dockersave.registry.credentials.where_from import Credentials
from dockersave.registry.credentials.where_to import check_realm, check_redirect, may_go
from tests.registry.canary import Canary

ORIGIN = "https://registry.test:443"


@pytest.mark.parametrize(
    "there",
    [
        "http://registry.test:443",
        "https://registry.test:8443",
        "https://a.registry.test:443",
        "https://test:443",
    ],
)
def test_credentials_belong_to_one_origin(there: str) -> None:
    assert may_go(ORIGIN, ORIGIN)
    assert not may_go(there, ORIGIN)
    check_redirect("https://REGISTRY.test/token", ORIGIN)
    with pytest.raises(NetworkError, match="where credentials must not go"):
        check_redirect(f"{there}/token", ORIGIN)


def _never(*request: object) -> Answer:
    pytest.fail(f"was sent: {request}")


@pytest.mark.parametrize(
    ("url", "parameters", "expected"),
    [
        ("https://r", [("a", "b")], "https://r?a=b"),
        ("https://r/t?", [("a", "b")], "https://r/t?a=b"),
        ("https://r/t?x=%2F&flag", [("a", "b")], "https://r/t?x=%2F&flag&a=b"),
        ("https://r/t?a=b", [("a", "b"), ("a", "c")], "https://r/t?a=b&a=c"),
        ("https://r/t#f", [("s", "repository:a/b:pull")], "https://r/t?s=repository:a/b:pull"),
        ("https://r/t", [("a", "&= +ü")], "https://r/t?a=%26%3D%20%2B%C3%BC"),
        ("https://r/t?x", [], "https://r/t?x"),
    ],
)
def test_merges_queries(url: str, parameters: list[tuple[str, str]], expected: str) -> None:
    assert with_query(url, parameters) == expected


@pytest.mark.parametrize(
    ("realm", "origin", "expected"),
    [
        ("https://auth.test/token", ORIGIN, "https://auth.test/token"),
        ("https://auth.test/token?a=b#c", ORIGIN, "https://auth.test/token?a=b"),
        ("http://auth.test/token", "http://registry.test:80", "http://auth.test/token"),
        ("https://auth.test/token", "http://registry.test:80", "https://auth.test/token"),
        ("https://10.1.2.3/token", ORIGIN, "https://10.1.2.3/token"),
        ("https://192.168.0.1:8443/t", ORIGIN, "https://192.168.0.1:8443/t"),
        ("https://127.0.0.1/token", ORIGIN, "https://127.0.0.1/token"),
        ("https://[fd12::1]/token", ORIGIN, "https://[fd12::1]/token"),
        ("http://169.254.7.7:5000/t", "http://169.254.7.7:5000", "http://169.254.7.7:5000/t"),
    ],
)
def test_good_realms(realm: str, origin: str, expected: str) -> None:
    assert check_realm(realm, origin) == expected


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.test/token",
        f"https://auth.test/{'t' * 1_000_000}",
        "https://169.254.169.254/latest/api/token",
        "https://169.254.169.254./",
        "https://[fe80::1]/token",
        "https://[::ffff:169.254.169.254]/token",
        "https://[fd00:ec2::254]/token",
        "https://100.100.100.200/token",
        "https://metadata.google.internal/token",
        "https://METADATA.google.internal./token",
        "https://2852039166/token",
        "https://0xA9FEA9FE/token",
        "https://0xa9.0xfe.43518/token",
        "https://0251.0376.0251.0376/token",
        "https://user:word@auth.test/token",
        "https://@auth.test/token",
        "file:///etc/passwd",
        "ftp://auth.test/",
        "//auth.test/token",
        "/token",
        "token",
        "https://",
        "https:///token",
        "https://auth.test:99999/",
        "https://auth.test:x/",
        "https://[::1/",
        "https://auth.test/\r\nX: y",
        "https://auth.test/a b",
        "https://auth.test/ü",
        "",
    ],
)
def test_bad_realms_get_nothing(realm: str, canary: Canary) -> None:
    with canary.fails(CredentialsError):
        check_realm(realm, ORIGIN)
    if realm:
        credentials = Credentials(Network(user="u", password=canary.password), {}, canary.notify)
        who = Authorizer(ORIGIN, "registry.test", credentials, _never, canary.notify)
        with canary.fails(CredentialsError):
            who.challenged({"WWW-Authenticate": f'Bearer realm="{realm}"'}, "a/b", None)


def test_a_metadata_address_is_refused_over_http_too() -> None:
    with pytest.raises(CredentialsError, match="link-local"):
        check_realm("http://169.254.169.254/latest/", "http://registry.test:80")
