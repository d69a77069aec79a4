"""Fixtures for all tests: real registries and what stands in front of them.

A component that is missing ends the run with one line before the first test: nothing is skipped.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.engines.docker import Docker
from tests.internet import Internet, environment
from tests.processes import MissingProgramError, program, scratch
from tests.registry.fronts import Front, nginx, squid, tinyproxy
from tests.registry.real import Registries, Registry
from tests.signatures.keyring import public
from tests.signatures.maker import KIND

Shell = Callable[[str], "subprocess.CompletedProcess[str]"]
"""Runs a script of a document."""

PROGRAMS = {
    "real": ("docker-registry", "nginx", "squid", "tinyproxy"),
    "engines": ("docker-registry", "skopeo", "podman", "dockerd", "docker", "ctr", "umoci", "runc"),
}
"""What the tests of a marker talk to."""


# A busy machine is slow, and that is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure() -> None:
    """Restore signals that our parent (`nohup`, a shell's `&`) made us ignore.

    Programs started by tests would inherit and respect that.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test that uses a real registry, so that no test can forget it."""
    for item in items:
        if "registries" in getattr(item, "fixturenames", ()):
            item.add_marker("real")
    if hasattr(config, "workerinput"):
        from tests.sharing import rank

        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Share the tests out, where several processes run them."""
    from tests.sharing import Sharing

    config.option.loadscopereorder = False
    return Sharing(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """End the run of several processes where any program is missing.

    Who starts them does not know the tests, and in one of them it is too late for a word.
    """
    option = session.config.option
    if getattr(option, "tx", None) and not option.collectonly:
        _need({name for names in PROGRAMS.values() for name in names})


def pytest_collection_finish(session: pytest.Session) -> None:
    """End the run where a program is missing that a selected test talks to."""
    if session.config.option.collectonly or hasattr(session.config, "workerinput"):
        return
    wanted = {
        name
        for item in session.items
        for marker, names in PROGRAMS.items()
        if item.get_closest_marker(marker)
        for name in names
    }
    _need(wanted)


def _need(wanted: set[str]) -> None:
    for name in sorted(wanted):
        try:
            program(name)
        except MissingProgramError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def registries() -> Iterator[Registries]:
    """Start real registries: `registries.get(tls=…, auth=…, mirror_of=…)`, each variant once."""
    running = Registries()
    yield running
    running.close()


@pytest.fixture(scope="session")
def plain_registry(registries: Registries) -> Registry:
    """Return a registry that speaks plain HTTP and asks for nothing."""
    return registries.get()


@pytest.fixture(scope="session")
def tls_registry(registries: Registries) -> Registry:
    """Return a registry that speaks https, with a certificate of `registries.ca_file`."""
    return registries.get(tls=True)


@pytest.fixture(scope="session")
def internet(registries: Registries) -> Iterator[Internet]:
    """Return what answers for Docker Hub, ghcr.io and registry.example.com."""
    running = Internet(registries)
    yield running
    running.close()


@pytest.fixture(scope="session")
def htpasswd_registry(registries: Registries) -> Registry:
    """Return a registry over https that wants Basic credentials."""
    return registries.get(tls=True, auth="htpasswd")


@pytest.fixture(scope="session")
def token_registry(registries: Registries) -> Registry:
    """Return a registry over https that wants tokens of `token_registry.tokens`."""
    return registries.get(tls=True, auth="token")


@pytest.fixture
def mirror_registry(registries: Registries, plain_registry: Registry) -> Registry:
    """Return a pull-through cache of the plain registry."""
    return registries.get(mirror_of=plain_registry)


@pytest.fixture(scope="session")
def client_cert_front(registries: Registries, plain_registry: Registry) -> Iterator[Front]:
    """Return an nginx that wants a client certificate, in front of the plain registry."""
    with nginx(registries, plain_registry, client_certificate=True) as front:
        yield front


@pytest.fixture(scope="session", params=["squid", "tinyproxy"])
def proxy(request: pytest.FixtureRequest, registries: Registries) -> Iterator[Front]:
    """Return each of the proxies that ask for nothing."""
    with {"squid": squid, "tinyproxy": tinyproxy}[request.param]() as front:
        yield front


@pytest.fixture(scope="session", params=["squid", "tinyproxy"])
def password_proxy(request: pytest.FixtureRequest, registries: Registries) -> Iterator[Front]:
    """Return each of the proxies that ask for `USER` and `PROXY_PASSWORD`."""
    with {"squid": squid, "tinyproxy": tinyproxy}[request.param](password=True) as front:
        yield front


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    """Return where a real dockerd listens."""
    folder = scratch("readme")
    judge = Docker(folder)
    yield f"unix://{judge.socket}"
    judge.close()
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def shell(internet: Internet, plain_registry: Registry, tmp_path: Path) -> Shell:
    """Return a function that runs a script as a user would after installing the command."""
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "dockersave"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dockersave "$@"\n')
    command.chmod(0o755)
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/root"\nrunroot = "{tmp_path}/run"\n'
    )
    env = environment(internet, tmp_path) | {
        "CONTAINERS_STORAGE_CONF": str(storage),
        "TOKEN": "canary-token",
    }
    env["PATH"] = f"{programs}:{env['PATH']}"

    def run(script: str) -> subprocess.CompletedProcess[str]:
        script = script.replace("localhost:5000", plain_registry.host)
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        (work / "cosign.pub").write_bytes(public(KIND))
        return subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            cwd=work,
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run
