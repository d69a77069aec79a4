"""Logging in on the command line: what others on the machine, and in the archive, can see of it."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.images import GOOD, Store
from tests.processes import program
from tests.registry.canary import Canary
from tests.registry.simulator import Auth, Fault, Simulator

ROOT = Path(__file__).parents[3]
STORE = Store.of({"team/sample": GOOD["docker"]()})


def simulator(canary: Canary, **auth: str) -> Simulator:
    known = {"user": canary.user, "password": canary.password}
    return Simulator(STORE, auth=Auth(**(known | auth)), storage=True)  # type: ignore[arg-type]


def command(server: Simulator, *options: str) -> list[str]:
    return [sys.executable, "-m", "dockersave", "--insecure", "--verbose", *options,
            f"{server.host}/team/sample"]  # fmt: skip


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home)}


def everywhere(folder: Path) -> str:
    """All that a run has written, names included, but for what knew the secret before."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{path} {path.read_bytes().decode('latin-1')}" for path in files)


@pytest.mark.parametrize("right", [True, False])
def test_password_from_standard_input(
    home: Path, tmp_path: Path, canary: Canary, right: bool
) -> None:
    """While the token is asked for, the arguments of all processes are looked at."""
    work = tmp_path / "work"
    work.mkdir()
    others = {} if right else {"user": "somebody else"}
    with simulator(canary, **others) as server:
        server.faults.add(Fault.delay(0.5, on="token"))
        process = subprocess.Popen(
            command(server, "--user", canary.user, "--password-stdin"),
            cwd=work,
            env=environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(f"{canary.password}\n".encode())
        process.stdin.close()
        process.stdin = None
        deadline = time.monotonic() + 60
        while not server.of("token") and time.monotonic() < deadline:
            time.sleep(0.01)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                canary.say(path.read_bytes().decode("latin-1"))
            except OSError:
                continue  # it has ended since
        output, errors = (data.decode() for data in process.communicate(timeout=100))
    canary.must_not_reach(r for r in server.requests if r.server == "storage")
    canary.say(output + errors + everywhere(work))
    assert process.returncode == (0 if right else 4), errors
    if right:
        assert [path.name for path in work.iterdir()] == ["team-sample-latest.tar"]
    else:
        assert "refuses the credentials of 'canary-user' from --user" in errors
        assert list(work.iterdir()) == []


def test_a_password_as_an_argument_is_warned_about(home: Path, tmp_path: Path) -> None:
    bird = Canary()  # a secret that is no longer secret
    with simulator(bird) as server:
        ended = subprocess.run(
            command(server, "--user", bird.user, "--password", bird.password, "-o", "a.tar"),
            cwd=tmp_path,
            env=environment(home),
            capture_output=True,
            text=True,
            check=True,
        )
    assert "warning: --password is visible in the process list" in ended.stderr
    assert not bird.found_in((ended.stdout + ended.stderr).encode())


def test_asking_on_the_terminal_shows_no_password(
    home: Path, tmp_path: Path, canary: Canary
) -> None:
    canary.password = canary.password.replace('"', "").replace("\\", "")
    with simulator(canary) as server:
        terminal, other = pty.openpty()
        process = subprocess.Popen(
            [program("setsid"), "--ctty", "--wait", *command(server, "--ilogin")],
            cwd=tmp_path,
            env=environment(home),
            stdin=other,
            stdout=other,
            stderr=other,
        )
        os.close(other)
        shown = converse(
            terminal, [(b"user:", canary.user), (b"password:", canary.password)], timeout=100
        )
        os.close(terminal)  # requests still waiting for a response are dropped
        status = process.wait(100)
    canary.say(shown)
    assert status == 0, shown
    assert (tmp_path / "team-sample-latest.tar").exists()


def converse(terminal: int, answers: list[tuple[bytes, str]], timeout: float) -> str:
    """Answer questions on a terminal; return all that was shown there."""
    shown, seen = bytearray(), 0
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 4096)
        except OSError:  # what Linux says when the other side has ended
            break
        if not data:
            break
        shown += data
        if answers and answers[0][0] in shown[seen:].lower():
            seen = len(shown)
            os.write(terminal, f"{answers.pop(0)[1]}\n".encode())
    return shown.decode(errors="replace")


@pytest.mark.parametrize("question", [[], ["--sha"]])
def test_one_password_is_not_for_two_registries(
    home: Path, tmp_path: Path, canary: Canary, question: list[str]
) -> None:
    with simulator(canary) as first, simulator(canary) as second:
        canary.must_not_reach(second.requests)
        line = command(first, "--user", canary.user, "--password-stdin", *question)
        target = [] if question else ["-o", "both.tar"]
        ended = subprocess.run(
            [*line, f"{second.host}/team/sample", *target],
            cwd=tmp_path,
            env=environment(home),
            input=canary.password,
            capture_output=True,
            text=True,
            check=False,
        )
    canary.say(ended.stdout + ended.stderr)
    assert ended.returncode == 2
    assert f"--user is for one registry, and there are {first.host} and {second.host}" in (
        ended.stderr
    )
    assert second.requests == []
    assert question or first.requests == []


def test_a_password_that_is_not_utf_8_is_sent_as_it_is(home: Path, tmp_path: Path) -> None:
    password = b"caf\xe9 cr\xe8me"
    with Simulator(STORE, auth=Auth(scheme="basic", user="me", password="another")) as server:
        ended = subprocess.run(
            command(server, "--user", "me", "--password-stdin", "--sha"),
            cwd=tmp_path,
            env=environment(home) | {"PYTHONIOENCODING": "utf-8:strict"},
            input=password,
            capture_output=True,
            check=False,
        )
        sent = [each.headers.get("authorization", "") for each in server.requests]
    assert ended.returncode == 4, ended.stderr
    assert f"Basic {base64.b64encode(b'me:' + password).decode()}" in sent
    assert b"UnicodeDecodeError" not in ended.stderr


def test_a_helper_is_told_nothing_but_the_server(
    home: Path, tmp_path: Path, canary: Canary
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    answer = tmp_path / "answer"
    answer.write_text(json.dumps({"Username": canary.user, "Secret": canary.password}))
    log = tmp_path / "log"
    script = folder / "docker-credential-spy"
    script.write_text(f'#!/bin/sh\n{{ cat; echo " $*"; }} >> {log}\ncat {answer}\n')
    script.chmod(0o755)
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text('{"credsStore": "spy"}')
    environ = environment(home) | {"PATH": f"{folder}:{os.environ['PATH']}"}
    work = tmp_path / "work"
    work.mkdir()
    with simulator(canary) as server:
        ended = subprocess.run(
            command(server), cwd=work, env=environ, capture_output=True, text=True, check=True
        )
    canary.say(ended.stdout + ended.stderr + everywhere(work))
    assert log.read_text() == f"{server.host} get\n"
