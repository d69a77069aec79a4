"""Credentials in DOCKER_AUTH_CONFIG (docker/cli #6008), and in files that are read but once."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from dockersave.cancellation import Cancellation
from dockersave.model.options import Network
from dockersave.resolving.session import Session
from tests.registry.credentials.finder import Finder, config, entry


@pytest.mark.parametrize("key", ["registry.test", "https://registry.test/v1/", "registry.test/a"])
def test_the_variable_of_docker(home: Path, key: str) -> None:
    config(home, entry("file", "other.test"))
    finder = Finder(home, {"DOCKER_AUTH_CONFIG": json.dumps(entry("me", key))})
    assert finder.user() == "me"
    assert finder.user("other.test") == "file"
    hub = Finder(
        home, {"DOCKER_AUTH_CONFIG": json.dumps(entry("me", "https://index.docker.io/v1/"))}
    )
    assert hub.user("docker.io", "library/debian") == "me"
    assert finder.lines + hub.lines == []


@pytest.mark.parametrize(
    "text",
    [
        "canary", "[]", '"canary"', '{"auths":[]}', "[" * 100_000, "{} {}",
        '{"auths":{"registry.test":{"username":"me","password":"canary"}}}',
        '{"auths":{"registry.test":{"auth":"bWU6Y2FuYXJ5","identitytoken":"canary"}}}',
        '{"auths":{"registry.test":{"auth":"bWU6Y2FuYXJ5"},"b":{}}}',
        '{"auths":{"registry.test":{"auth":"bWU6Y2FuYXJ5"}},"credsStore":"canary"}',
    ],
    ids=len,
)  # fmt: skip
def test_what_docker_does_not_take_from_the_variable(home: Path, text: str) -> None:
    """All of it is of no use then, and the files are."""
    config(home, entry("file"))
    finder = Finder(home, {"DOCKER_AUTH_CONFIG": text})
    assert finder.user() == "file"
    (line,) = finder.lines
    assert line.startswith("warning: DOCKER_AUTH_CONFIG cannot be used: ")
    assert "canary" not in line


@pytest.mark.parametrize("text", ["", " ", '{"auths":{}}', '{"auths":null}', "{}"])
def test_an_empty_variable_is_none(home: Path, text: str) -> None:
    config(home, entry("file"))
    finder = Finder(home, {"DOCKER_AUTH_CONFIG": text})
    assert finder.user() == "file"
    assert finder.lines == []


def test_an_authfile_that_is_a_pipe_is_read_once(home: Path) -> None:
    """For the registry, for its mirrors, and for all registries of a run."""
    pipe, end = os.pipe()
    os.write(end, json.dumps(entry("me") | {"auths": entry("me")["auths"]}).encode())
    os.close(end)
    lines: list[str] = []
    network = Network(authfile=f"/dev/fd/{pipe}", insecure=True, mirrors=("http://registry.test",))
    session = Session(network, Cancellation(), lines.append)
    try:
        with closing(session):
            found = [
                endpoint._credentials.for_repository("registry.test", "a/b")
                for name in ("one.test", "two.test")
                for endpoint in (
                    session.registry(name)._home,
                    *session.registry(name)._mirrors.usable(),
                )
                if endpoint._credentials
            ]
    finally:
        os.close(pipe)
    assert [login and login.user for login in found] == ["me"] * 4
    assert lines == []
