"""Credential helpers: a real one, and scripts that do everything wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError
from dockersave.limits import LIMITS
from dockersave.model.options import Network
from dockersave.registry.credentials import helpers
from dockersave.registry.credentials.where_from import Credentials, Login
from tests.pace import Stopwatch
from tests.processes import program
from tests.registry.canary import Canary


class Bin:
    """A directory with helpers on the PATH, for somebody whose config.json names them.

    Parameters:
        home: their home.
        canary: what the helpers know; hears what is said.
    """

    def __init__(self, home: Path, canary: Canary) -> None:
        self.home, self.canary = home, canary
        self.folder = home / "bin"
        self.folder.mkdir()
        self.asked = home / "asked"
        self.cancellation = Cancellation()
        self.environ = {
            **os.environ,
            "HOME": str(home),
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "ASKED": str(self.asked),
        }
        # A secret in the script itself would be no test: it would be in the script's text.
        (home / "secret.json").write_text(self.answer())

    def answer(self, **changes: object) -> str:
        answer = {"ServerURL": "x", "Username": self.canary.user, "Secret": self.canary.password}
        return json.dumps(answer | changes)

    def add(self, name: str, script: str, interpreter: str = "/bin/sh") -> None:
        """Put a helper there; `$KNOWN` has the right answer."""
        path = self.folder / f"docker-credential-{name}"
        path.write_text(f"#!{interpreter}\nKNOWN={self.home}/secret.json\n{script}\n")
        path.chmod(0o755)

    def config(self, **document: object) -> None:
        path = self.home / ".docker/config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))

    def credentials(self) -> Credentials:
        return Credentials(Network(), self.environ, self.canary.notify, self.cancellation)

    def find(self, registry: str = "registry.test", repository: str = "a/b") -> Login | None:
        return self.credentials().for_repository(registry, repository)


@pytest.fixture
def bin(home: Path, canary: Canary) -> Bin:
    return Bin(home, canary)


GOOD = 'cat >> "$ASKED"; echo " $@" >> "$ASKED"; cat $KNOWN'


@pytest.mark.parametrize(
    "document",
    [
        {"credsStore": "good"},
        {"credHelpers": {"registry.test": "good"}},
        {"credHelpers": {"registry.test": "good"}, "credsStore": "missing"},
        {"credHelpers": {"https://registry.test/v2/": "good"}},
        {"credHelpers": {"registry.test/a": "good"}},
        {"credHelpers": {"other.test": "missing"}, "credsStore": "good"},
        {"auths": {"registry.test": {}}, "credsStore": "good"},
        {"auths": {"registry.test": {"auth": "b2xkOndvcmQ="}}, "credsStore": "good"},
    ],
)
def test_protocol(bin: Bin, document: dict[str, object]) -> None:
    bin.add("good", GOOD)
    bin.config(**document)
    login = bin.find()
    assert login is not None
    assert (login.user, login.secret) == (bin.canary.user, bin.canary.password)
    assert login.source == "docker-credential-good (~/.docker/config.json)"
    assert bin.asked.read_text() == "registry.test get\n"
    assert bin.canary.lines == []


def test_a_helper_is_asked_once(bin: Bin) -> None:
    bin.add("good", GOOD)
    bin.config(credsStore="good")
    credentials = bin.credentials()
    for repository in ("a", "b/c", "a"):
        assert credentials.for_repository("registry.test", repository)
    assert bin.asked.read_text().count("get") == 1


def test_docker_hub_by_both_its_names(bin: Bin) -> None:
    script = 'read server || true; echo "$server" >> "$ASKED"; test "$server" = docker.io'
    bin.add("podmans", f"{script} && cat $KNOWN && exit; echo credentials not found; exit 1")
    bin.config(credsStore="podmans")
    assert bin.find("docker.io", "library/debian")
    assert bin.asked.read_text().split() == ["https://index.docker.io/v1/", "docker.io"]


def test_identity_token(bin: Bin) -> None:
    (bin.home / "secret.json").write_text(
        bin.answer(Username="<token>", Secret=bin.canary.identity_token)
    )
    bin.add("good", GOOD)
    bin.config(credsStore="good")
    login = bin.find()
    assert login is not None
    assert (login.user, login.secret) == ("", "")
    assert login.identity_token == bin.canary.identity_token


NOT_FOUND = 'echo "credentials not found in native keychain"; exit 1'


def test_a_helper_without_credentials_is_nothing_special(bin: Bin) -> None:
    bin.add("empty", NOT_FOUND)
    bin.config(credsStore="empty")
    assert bin.find() is None
    assert bin.canary.lines == []


def test_no_helper_for_one_registry(bin: Bin) -> None:
    bin.config(credsStore="missing", credHelpers={"registry.test": ""})
    assert bin.find() is None
    assert bin.canary.lines == []


FAULTS = {
    "missing": (None, "it is not installed, or not on the PATH"),
    "failing": ("cat $KNOWN; cat $KNOWN >&2; exit 7", "it exited with status 7"),
    "killed": ("cat $KNOWN; kill -9 $$", "it exited with status -9"),
    "silent": ("exit 0", "its answer contains no credentials"),
    "html": ("echo '<html>'; cat $KNOWN", "its answer contains no credentials"),
    "list": ("echo '['; cat $KNOWN; echo ']'", "its answer contains no credentials"),
    "number": ("""echo '{"Username": 1, "Secret": "x"}'""", "answer contains no credentials"),
    "surrogate": ("""echo '{"Username": "\\ud800", "Secret": "x"}'""", "cannot be used"),
    "deep": ("head -c 100000 /dev/zero | tr '\\0' '['", "answer contains no credentials"),
    "many": (
        """printf '{"Username":"a","Secret":"b","x":['
        yes '[],' | head -n 20000 | tr -d '\\n'; echo '0]}'""",
        "answer contains no credentials",
    ),
    "babbling": ("cat $KNOWN; exec yes", f"it wrote more than {LIMITS.token_answer} bytes"),
    "slow": ("cat $KNOWN; exec sleep 60", "it took more than 1 s"),
    "orphan": ("cat $KNOWN; sleep 60 &", "it took more than 1 s"),
    "closed": ("cat $KNOWN; exec sleep 60 >&-", "it took more than 1 s"),
    "deaf": ("exec <&-; sleep .2; exit 3", "it exited with status 3"),
    "a/b": (None, "that is not a valid helper name"),
    "../x": (None, "that is not a valid helper name"),
    "x\x1b[31m": (None, "that is not a valid helper name"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_helper_is_named_and_passed_over(
    bin: Bin, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, message = FAULTS[name]
    monkeypatch.setattr(helpers, "LIMITS", dataclasses.replace(LIMITS, helper=1.0))
    if script is not None:
        bin.add(name, script)
    bin.config(credsStore=name, auths={"registry.test": {"auth": "YmVoaW5kOndvcmQ="}})
    watch = Stopwatch()
    login = bin.find()
    assert watch.own < 3
    # Credentials in the file itself still count.
    assert login is not None
    assert login.user == "behind"
    (line,) = bin.canary.lines
    assert line.startswith("warning: the credential helper docker-credential-")
    assert message in line
    assert line.isprintable()


def test_a_helper_that_cannot_be_run(bin: Bin) -> None:
    bin.add("broken", "", interpreter="/nonexistent")
    bin.config(credsStore="broken")
    assert bin.find() is None
    assert "it cannot be run: No such file" in bin.canary.lines[0]


def test_stopping_the_run_ends_the_helper(bin: Bin) -> None:
    bin.add("slow", 'echo $$ > "$ASKED"; exec sleep 60')
    bin.config(credsStore="slow")
    timer = threading.Timer(0.5, bin.cancellation.cancel)
    timer.start()
    watch = Stopwatch()
    with pytest.raises(CancelledError):
        bin.find()
    assert watch.own < 1.5
    assert not Path(f"/proc/{bin.asked.read_text().strip()}").exists()


# The environment of the frozen program

FROZEN = {
    "PATH": "/bin",
    "LD_LIBRARY_PATH": "/tmp/frozen",
    "_PYI_ARCHIVE_FILE": "/tmp/x",
    "STATICX_PROG_PATH": "/tmp/x",
}


@pytest.mark.parametrize(
    ("environ", "frozen", "expected"),
    [
        (FROZEN, True, {"PATH": "/bin"}),
        (
            FROZEN | {"LD_LIBRARY_PATH_ORIG": "/users"},
            True,
            {"PATH": "/bin", "LD_LIBRARY_PATH": "/users"},
        ),
        (
            FROZEN | {"LD_LIBRARY_PATH_ORIG": ""},
            True,
            {"PATH": "/bin", "LD_LIBRARY_PATH": ""},
        ),
        (FROZEN, False, FROZEN),
    ],
)
def test_helpers_get_the_users_environment(
    environ: dict[str, str], frozen: bool, expected: dict[str, str]
) -> None:
    assert helpers.original_environment(environ, frozen) == expected


# A real helper


@pytest.fixture
def password_store(home: Path) -> Iterator[dict[str, str]]:
    """Return the environment of a user of pass(1), with their own key."""
    # gpg-agent's socket must have a short path.
    folder = Path("/tmp") / f"dockersave-gpg-{os.getpid()}"
    folder.mkdir(mode=0o700)
    environ = {
        **os.environ,
        "HOME": str(home),
        "GNUPGHOME": str(folder),
        "PASSWORD_STORE_DIR": str(home / "store"),
    }
    gpg = [program("gpg"), "--batch", "--passphrase", ""]
    try:
        subprocess.run(
            [*gpg, "--quick-generate-key", "tests@example.test", "default", "default", "never"],
            env=environ,
            check=True,
            capture_output=True,
        )
        subprocess.run(
            [program("pass"), "init", "tests@example.test"],
            env=environ,
            check=True,
            capture_output=True,
        )
        yield environ
    finally:
        subprocess.run(
            [program("gpgconf"), "--kill", "all"], env=environ, check=False, capture_output=True
        )
        shutil.rmtree(folder, ignore_errors=True)


def test_docker_credential_pass(password_store: dict[str, str], home: Path, canary: Canary) -> None:
    subprocess.run(
        [program("docker-credential-pass"), "store"],
        env=password_store,
        input=json.dumps(
            {"ServerURL": "registry.test", "Username": canary.user, "Secret": canary.password}
        ).encode(),
        check=True,
    )
    path = home / ".docker/config.json"
    path.parent.mkdir()
    path.write_text('{"credsStore": "pass"}')
    credentials = Credentials(Network(), password_store, canary.notify)
    login = credentials.for_repository("registry.test", "a/b")
    assert login is not None
    assert (login.user, login.secret) == (canary.user, canary.password)
    assert credentials.for_repository("other.test", "a/b") is None
    assert canary.lines == []


def test_docker_credential_secretservice_without_a_desktop(bin: Bin) -> None:
    """A config.json from a desktop, used on a server."""
    program("docker-credential-secretservice")
    bin.environ.pop("DISPLAY", None)
    bin.environ.pop("DBUS_SESSION_BUS_ADDRESS", None)
    bin.config(credsStore="secretservice")
    assert bin.find() is None
    (line,) = bin.canary.lines
    assert "docker-credential-secretservice in ~/.docker/config.json cannot be used" in line
