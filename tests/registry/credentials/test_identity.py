"""Identity tokens, which OAuth2 takes in a password's place, and registry tokens."""

from __future__ import annotations

import base64

import pytest

from dockersave.errors import CredentialsError, NetworkError
from tests.registry.authorizing import (
    BASIC,
    BEARER,
    REALM,
    Endpoint,
    basic,
    refuse,
    with_entry,
)
from tests.registry.canary import Canary


def test_oauth2(canary: Canary, tmp_path: object) -> None:
    endpoint = Endpoint({"access_token": "token-1", "refresh_token": "new", "expires_in": 300})
    entry = {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": canary.identity_token}
    who = with_entry(endpoint, canary, f"{tmp_path}/config.json", entry)
    assert refuse(who, BEARER) == "Bearer token-1"
    ((method, url, headers, form),) = endpoint.asked
    assert (method, url) == ("POST", REALM)
    assert "Authorization" not in headers
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert form == {
        "grant_type": "refresh_token",
        "service": "s",
        "client_id": "dockersave",
        "scope": "repository:a/b:pull",
        "refresh_token": canary.identity_token,
    }


@pytest.mark.parametrize("status", [400, 401, 404, 405])
def test_oauth2_falls_back_to_get(canary: Canary, tmp_path: object, status: int) -> None:
    endpoint = Endpoint(status, "token-1")
    entry = {"identitytoken": canary.identity_token}
    who = with_entry(endpoint, canary, f"{tmp_path}/config.json", entry)
    assert refuse(who, BEARER) == "Bearer token-1"
    method, _, headers, _ = endpoint.asked[1]
    assert method == "GET"
    assert headers["Authorization"] == basic("<token>", canary.identity_token)


def test_oauth2_does_not_fall_back_from_a_failure(canary: Canary, tmp_path: object) -> None:
    endpoint = Endpoint(503, "token-1")
    entry = {"identitytoken": canary.identity_token}
    who = with_entry(endpoint, canary, f"{tmp_path}/config.json", entry)
    with canary.fails(NetworkError):
        refuse(who, BEARER)
    assert [method for method, *_ in endpoint.asked] == ["POST"]


def test_expired_identity_token(canary: Canary, tmp_path: object) -> None:
    entry = {"identitytoken": canary.identity_token}
    who = with_entry(Endpoint(401), canary, f"{tmp_path}/config.json", entry)
    with canary.fails(CredentialsError) as info:
        refuse(who, BEARER)
    assert f"refuses the token from {tmp_path}/config.json" in str(info.value)
    assert "expired: log in again with docker login registry.test" in info.value.hint


def test_registry_token(canary: Canary, tmp_path: object) -> None:
    endpoint = Endpoint()
    entry = {"registrytoken": canary.registry_token}
    who = with_entry(endpoint, canary, f"{tmp_path}/config.json", entry)
    assert refuse(who, BEARER) == f"Bearer {canary.registry_token}"
    assert endpoint.asked == []
    with canary.fails(CredentialsError) as info:
        refuse(who, BEARER)
    assert "refuses the token from" in str(info.value)


def test_registry_token_is_no_password(canary: Canary, tmp_path: object) -> None:
    entry = {"registrytoken": canary.registry_token}
    who = with_entry(Endpoint(), canary, f"{tmp_path}/config.json", entry)
    with canary.fails(CredentialsError):
        refuse(who, BASIC)
