"""Where credentials come from: every place, every form, every fault."""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dockersave.errors import CredentialsError
from dockersave.model.options import Network
from dockersave.registry.credentials.where_from import Credentials, Login
from dockersave.spelling import as_python
from tests.registry.canary import Canary
from tests.registry.credentials.finder import Finder, config, entry, write

# The order of places

PLACES: dict[str, Callable[[Path], tuple[Path, dict[str, str]]]] = {
    "REGISTRY_AUTH_FILE": lambda home: (
        home / "env.json",
        {"REGISTRY_AUTH_FILE": str(home / "env.json")},
    ),
    "docker": lambda home: (home / ".docker/config.json", {}),
    "podman, run": lambda home: (home / "run/containers/auth.json", {}),
    "podman, home": lambda home: (home / ".config/containers/auth.json", {}),
}
ORDER = ["--user", "--authfile", "DOCKER_AUTH_CONFIG", *PLACES]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_order_of_places(home: Path, first: int) -> None:
    """Every place wins against all that come after it."""
    network: dict[str, str] = {}
    environ: dict[str, str] = {}
    for name in ORDER[first:]:
        if name == "--user":
            network |= {"user": name, "password": "word"}
        elif name == "--authfile":
            network["authfile"] = str(write(home / "auth.json", entry(name)))
        elif name == "DOCKER_AUTH_CONFIG":
            environ[name] = json.dumps(entry(name))
        else:
            path, variables = PLACES[name](home)
            write(path, entry(name))
            environ |= variables
    login = Finder(home, environ).find(**network)
    assert login is not None
    assert (login.user, login.secret) == (ORDER[first], "word")


def test_goes_on_where_a_place_does_not_know_the_registry(finder: Finder) -> None:
    config(finder.home, entry("other", "other.test"))
    write(finder.home / ".config/containers/auth.json", entry("me"))
    assert finder.user() == "me"
    assert finder.lines == []


def test_docker_config_takes_the_place_of_home(home: Path) -> None:
    config(home, entry("home"))
    write(home / "elsewhere/config.json", entry("elsewhere"))
    finder = Finder(home, {"DOCKER_CONFIG": str(home / "elsewhere")})
    assert finder.user() == "elsewhere"
    assert Finder(home, {"DOCKER_CONFIG": str(home / "nowhere")}).user() is None


def test_xdg_config_home(home: Path) -> None:
    write(home / "xdg/containers/auth.json", entry("xdg"))
    assert Finder(home, {"XDG_CONFIG_HOME": str(home / "xdg")}).user() == "xdg"


def test_no_home_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    finder = Finder(home)
    finder.environ = {}
    assert finder.find() is None
    finder.environ = {"REGISTRY_AUTH_FILE": str(write(home / "a.json", entry("me")))}
    assert finder.user() == "me"


def test_a_service_without_home_has_its_users(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither init nor systemd sets HOME; root's login is meant all the same."""
    config(home, entry("me"))
    known = pwd.getpwuid(os.getuid())
    fields = [*known[:5], str(home), known[6]]
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(fields))
    finder = Finder(home)
    finder.environ = {}
    assert finder.user() == "me"


def test_nothing_is_read_before_it_is_asked_for(finder: Finder, home: Path) -> None:
    credentials = Credentials(Network(), finder.environ, finder.lines.append)
    config(home, entry("later"))
    login = credentials.for_repository("registry.test", "a")
    assert login is not None
    assert login.user == "later"


# Faults


@pytest.mark.parametrize(
    "document",
    [
        {"auth": "!!!"}, {"auth": "bWU"}, {"auth": 1}, {"auth": ["x"]}, "text", 1, ["x"], True,
        {"username": "\ud800", "password": "x"}, {"identitytoken": "a\nb"},
        {"registrytoken": "a\r\nX-Evil: 1"}, {"registrytoken": "tök"}, {"identitytoken": {"a": 1}},
    ],
)  # fmt: skip
def test_malformed_entries_are_named_and_passed_over(finder: Finder, document: object) -> None:
    config(finder.home, {"auths": {"registry.test": document, "other.test": document}})
    write(finder.home / ".config/containers/auth.json", entry("me"))
    assert finder.user() == "me"
    assert finder.lines == [
        "warning: the entry for registry.test in ~/.docker/config.json is malformed"
    ]


MALFORMED = {
    "empty": "", "garbage": "{", "list": "[]", "text": '"x"', "deep": "[" * 100_000,
    "auths": '{"auths": [1]}', "helpers": '{"credHelpers": "x"}', "store": '{"credsStore": [1]}',
    "number": "9" * 5000, "long": " " * (1 << 20) + "{}", "zero": "\0",
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_named_and_passed_over(finder: Finder, name: str) -> None:
    config(finder.home, MALFORMED[name])
    write(finder.home / ".config/containers/auth.json", entry("me"))
    assert finder.user() == "me"
    assert len(finder.lines) == 1
    assert finder.lines[0].startswith("warning: ~/.docker/config.json cannot be used: ")


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_authfile_is_an_error(finder: Finder, name: str) -> None:
    path = str(write(finder.home / "a.json", MALFORMED[name]))
    for _ in range(2):
        with pytest.raises(CredentialsError, match=r"cannot read the credentials in .*a\.json"):
            finder.find(authfile=path)


def test_a_missing_authfile_is_an_error_before_anybody_asks_for_it(tmp_path: Path) -> None:
    network = Network(authfile=str(tmp_path / "missing.json"))
    with pytest.raises(CredentialsError, match=r"cannot read the credentials in .*missing\.json"):
        Credentials(network, {}, print)


def test_files_that_cannot_be_read(finder: Finder) -> None:
    for fault in (str(finder.home / "nowhere.json"), str(finder.home), "/proc/self/mem"):
        with pytest.raises(CredentialsError, match="cannot read the credentials"):
            finder.find(authfile=fault)
        finder.environ["REGISTRY_AUTH_FILE"] = fault
        assert finder.find() is None
        assert fault in finder.lines.pop()


def test_a_directory_that_we_may_not_look_into(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without XDG_RUNTIME_DIR there is one of root's among the usual places."""
    there = write(home / "run/containers/auth.json", entry("somebody else"))
    there.parent.chmod(0)
    config(home, entry("me")).chmod(0)
    # Those above it are closed, too.
    monkeypatch.chdir(home)
    finder = Finder(Path("."))
    with as_nobody():
        assert finder.find() is None
        assert finder.lines == ["warning: ~/.docker/config.json cannot be used: Permission denied"]
        finder.environ["REGISTRY_AUTH_FILE"] = "run/containers/auth.json"
        assert finder.find() is None
        assert "warning: run/containers/auth.json cannot be used: Permission denied" in finder.lines


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user who, unlike root, is subject to permissions."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    "document",
    [
        {}, "null", {"auths": None}, {"auths": {}, "HttpHeaders": {}},
        {"auths": {"registry.test": None}, "credHelpers": {"registry.test": None}},
    ],
)  # fmt: skip
def test_files_without_credentials_are_nothing_special(finder: Finder, document: object) -> None:
    config(finder.home, document)
    assert finder.find() is None
    assert finder.lines == []


# What is said


def test_secrets_are_not_shown(canary: Canary) -> None:
    login = Login(canary.user, canary.password, canary.identity_token, canary.registry_token)
    network = Network(user=canary.user, password=canary.password)
    canary.say(f"{login} {login!r} {network} {network!r}")


def test_what_was_searched(finder: Finder) -> None:
    credentials = Credentials(Network(), finder.environ, finder.lines.append)
    credentials.for_repository("registry.test", "a")
    assert as_python(credentials.search()) == "neither user= nor a config.json"
    config(finder.home, entry("me", "other.test"))
    credentials = Credentials(Network(), finder.environ, finder.lines.append)
    credentials.for_repository("registry.test", "a")
    assert credentials.search() == "none in ~/.docker/config.json"


def test_a_large_file_takes_no_time(finder: Finder) -> None:
    auths: dict[str, object] = {f"r{number}.test/{'x/' * 20}": {} for number in range(10_000)}
    config(finder.home, {"auths": auths | entry("me")["auths"]})
    begun = time.process_time()
    assert finder.user(repository="x/" * 120 + "x") == "me"
    assert time.process_time() - begun < 1
