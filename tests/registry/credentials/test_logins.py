"""Entries of config.json: which of them is for a repository, and the forms that they have."""

from __future__ import annotations

import base64

import pytest

from dockersave.registry.credentials.where_from import Login
from tests.registry.credentials.finder import Finder, auth, config, entry

HUB = "https://index.docker.io/v1/"


@pytest.mark.parametrize(
    ("key", "registry", "repository"),
    [
        (HUB, "docker.io", "library/debian"),
        ("docker.io", "docker.io", "library/debian"),
        ("index.docker.io", "docker.io", "library/debian"),
        ("registry-1.docker.io", "docker.io", "library/debian"),
        ("docker.io/library", "docker.io", "library/debian"),
        ("registry.test", "registry.test", "a/b"),
        ("Registry.Test", "registry.test", "a/b"),
        ("registry.test", "Registry.TEST", "a/b"),
        ("registry.test:5000", "registry.test:5000", "a/b"),
        ("[::1]:5000", "[::1]:5000", "a/b"),
        ("https://registry.test", "registry.test", "a/b"),
        ("http://registry.test", "registry.test", "a/b"),
        ("https://registry.test/", "registry.test", "a/b"),
        ("https://registry.test/v1/", "registry.test", "a/b"),
        ("https://registry.test/v2/", "registry.test", "a/b"),
        ("registry.test/a", "registry.test", "a/b"),
        ("registry.test/a/b", "registry.test", "a/b"),
        ("registry.test/a/b/", "registry.test", "a/b"),
    ],
)
def test_keys_that_match(finder: Finder, key: str, registry: str, repository: str) -> None:
    config(finder.home, entry("me", key))
    assert finder.user(registry, repository) == "me"


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("registry.tes", "registry.test"),
        ("registry.test.evil.example", "registry.test"),
        ("egistry.test", "registry.test"),
        ("evil-registry.test", "registry.test"),
        ("test", "registry.test"),
        ("registry.test:5000", "registry.test"),
        ("registry.test", "registry.test:5000"),
        ("registry.test:443", "registry.test"),
        ("https://user@registry.test", "registry.test"),
        ("https://registry.test/other", "registry.test"),
        ("https://registry.test/v1/a", "registry.test"),
        ("registry.test/a/bc", "registry.test"),
        ("registry.test/a/", "registry.test:80"),
        ("registry.test/A/b", "registry.test"),
        ("registry.test/b", "registry.test"),
        ("registry.test/a/b/c", "registry.test"),
        ("", "registry.test"),
        ("https://", "registry.test"),
        ("hub.docker.com", "docker.io"),
        ("docker.io.evil.example", "docker.io"),
        ("docker.io", "docker.io:443"),
        (HUB, "index.docker.io:443"),
        ("*.test", "registry.test"),
    ],
)
def test_keys_that_do_not_match(finder: Finder, key: str, registry: str) -> None:
    config(finder.home, entry("me", key))
    assert finder.user(registry) is None


def test_the_most_particular_key_wins(finder: Finder) -> None:
    keys = ["registry.test", "registry.test/a", "registry.test/a/b", "https://registry.test/v1/"]
    config(finder.home, {"auths": {key: {"auth": auth(key, "word")} for key in keys}})
    assert finder.user(repository="a/b") == "registry.test/a/b"
    assert finder.user(repository="a/c") == "registry.test/a"
    assert finder.user(repository="c") == "registry.test"


def test_an_empty_entry_hides_no_full_one(finder: Finder) -> None:
    """Docker writes `{}` if a helper has the secret."""
    config(
        finder.home,
        {"auths": {"registry.test/a": {}, "registry.test": {}, "https://registry.test": {
            "auth": auth("me", "word")}}},
    )  # fmt: skip
    assert finder.user() == "me"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"auth": auth("me", "word")}, Login("me", "word")),
        ({"auth": auth("me", "w:o:rd")}, Login("me", "w:o:rd")),
        ({"auth": auth("me", "wörd")}, Login("me", "wörd")),
        ({"auth": auth("me", "word").rstrip("=")}, Login("me", "word")),
        ({"auth": auth("me", "word") + "\n"}, Login("me", "word")),
        ({"auth": auth("me", "word\0\0")}, Login("me", "word")),
        ({"username": "me", "password": "word"}, Login("me", "word")),
        ({"auth": auth("me", "word"), "username": "x", "password": "y"}, Login("me", "word")),
        ({"identitytoken": "tok"}, Login("", "", "tok")),
        ({"auth": auth("<token>", "tok")}, Login("", "", "tok")),
        ({"auth": auth("me", ""), "identitytoken": "tok"}, Login("me", "", "tok")),
        ({"auth": auth("me", "word"), "identitytoken": "tok"}, Login("me", "word", "tok")),
        ({"registrytoken": "tok"}, Login("", "", None, "tok")),
        ({"auth": auth("me", "word"), "email": "a@b", "x": 1}, Login("me", "word")),
        ({}, None),
        ({"auth": ""}, None),
        ({"auth": None, "identitytoken": None}, None),
        ({"auth": auth("me", "")}, None),
    ],
)
def test_forms_of_an_entry(finder: Finder, document: object, expected: Login | None) -> None:
    config(finder.home, {"auths": {"registry.test": document}})
    found = finder.find()
    names = ("user", "secret", "identity_token", "registry_token")
    assert (found is None) == (expected is None)
    for name in names if found else ():
        assert getattr(found, name) == getattr(expected, name)
    assert finder.lines == []


def test_bytes_that_are_no_utf8_are_sent_as_they_are(finder: Finder) -> None:
    packed = base64.b64encode(b"me:w\xf6rd").decode()
    config(finder.home, {"auths": {"registry.test": {"auth": packed}}})
    found = finder.find()
    assert found is not None
    assert found.basic == f"Basic {packed}"
