"""Credentials and bars on a terminal, as the user sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.command import Runner, error_of, on_a_terminal
from tests.images import Store, image, random_layer
from tests.registry.real import PASSWORD, USER, Registry
from tests.registry.simulator import Simulator


def test_a_password_from_standard_input(
    run: Runner, htpasswd_registry: Registry, tmp_path: Path
) -> None:
    ca_file = str(htpasswd_registry.ca_file)
    options = ["--ca-file", ca_file, htpasswd_registry.reference("docker"), "--user", USER]
    for ending in ("\n", "\r\n", "", "\nmore lines\n"):
        reader, writer = os.pipe()
        os.write(writer, f"{PASSWORD}{ending}".encode())
        os.close(writer)
        done = run(*options, "--sha", "--password-stdin", stdin=reader)
        os.close(reader)
        assert done.returncode == 0, done.stderr
    wrong = run(*options, "--sha", "--password", f"{PASSWORD}x")
    assert wrong.returncode == 4
    assert "visible" in wrong.stderr
    assert PASSWORD not in wrong.stderr
    verbose = run(*options, "--sha", "--password", f"{PASSWORD}x", "--verbose")
    assert "Traceback" in verbose.stderr
    assert PASSWORD not in verbose.stderr


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_password_is_not_sent(run: Runner, tmp_path: Path, text: str) -> None:
    """A registry that asks for credentials would be said to refuse them."""
    (tmp_path / "password").write_text(text)
    with (tmp_path / "password").open() as file:
        error = error_of(run("--user", "me", "--password-stdin", "debian", stdin=file), 2)
    assert "the password is empty\n  is a variable of your script" in error


def test_login_on_a_terminal(htpasswd_registry: Registry, tmp_path: Path) -> None:
    reference = htpasswd_registry.reference("docker")
    ca_file = str(htpasswd_registry.ca_file)
    with on_a_terminal(tmp_path, "--ca-file", ca_file, "--ilogin", reference) as terminal:
        terminal.read_until("User: ")
        terminal.type(f"{USER}\n")
        terminal.read_until("Password: ")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.wait() == 0, terminal.output
    assert PASSWORD.encode() not in terminal.output, "it is not echoed"
    assert (tmp_path / "docker-latest.tar").exists()


def test_a_user_is_asked_for_the_password(htpasswd_registry: Registry, tmp_path: Path) -> None:
    ca_file = str(htpasswd_registry.ca_file)
    arguments = ["--ca-file", ca_file, "--user", USER, "--sha"]
    reference = htpasswd_registry.reference("docker")
    with on_a_terminal(tmp_path, *arguments, reference) as terminal:
        terminal.read_until("Password: ")
        assert b"User" not in terminal.output
        terminal.type("wrong-canary\n")
        assert terminal.wait() == 4
    assert b"wrong-canary" not in terminal.output


@pytest.mark.parametrize("keys", ["\x03", "\x04"])
def test_login_given_up(tmp_path: Path, keys: str) -> None:
    with on_a_terminal(tmp_path, "--ilogin", "debian") as terminal:
        terminal.read_until("User: ")
        terminal.type("me\n")
        terminal.read_until("Password: ")
        terminal.type(keys)
        code = terminal.wait()
    assert code == (130 if keys == "\x03" else 2)
    assert b"Traceback" not in terminal.output


def test_an_archive_does_not_go_to_a_terminal(tmp_path: Path) -> None:
    with on_a_terminal(tmp_path, "debian", "-o", "-") as terminal:
        assert terminal.wait() == 2
    assert b"an archive cannot be written to a terminal" in terminal.output


def test_the_bar_on_a_terminal(plain_registry: Registry, tmp_path: Path) -> None:
    reference = plain_registry.reference("docker")
    with on_a_terminal(tmp_path, "--insecure", reference) as terminal:
        assert terminal.wait() == 0
    assert b"\x1b[J" in terminal.output
    assert terminal.output.decode().splitlines()[-1].startswith("dockersave: docker-latest.tar: ")


def test_a_manifest_does_not_command_the_terminal(tmp_path: Path, run: Runner) -> None:
    """Programs get its bytes as they are; of a terminal, U+009B begins an order."""
    sample = image([random_layer(1000)], top={"annotations": {"a": "\x9b2J"}})
    with Simulator(Store.of({"sample": sample})) as server:
        arguments = ["--insecure", "--metadata", f"{server.host}/sample"]
        assert "\x9b2J" in run(*arguments).stdout
        with on_a_terminal(tmp_path, *arguments) as terminal:
            assert terminal.wait() == 0, terminal.output
    assert b'"a":' in terminal.output.replace(b" ", b"")
    assert "\x9b".encode() not in terminal.output
    assert b"\\u009b2J" in terminal.output
