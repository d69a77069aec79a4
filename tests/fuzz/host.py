"""What the user and their machine say: arguments, config.json, credential helpers, proxies."""

from __future__ import annotations

import tempfile

from hypothesis import strategies as st

from dockersave.cli import arguments
from dockersave.cli.option_table import OPTIONS
from dockersave.errors import CredentialsError, UsageError
from dockersave.limits import LIMITS
from dockersave.model.options import Network
from dockersave.registry.connections import proxies
from dockersave.registry.credentials import helpers, where_from
from tests.fuzz.inputs import json_bytes, near
from tests.fuzz.target import Target, printable

KNOWN = {
    "auths": {
        "registry.test": {"auth": "dXNlcjp3b3Jk", "identitytoken": "a", "registrytoken": "b"},
        "https://registry.test/v1/": {"username": "a", "password": "b"},
    },
    "credHelpers": {"other.test": "pass"}, "credsStore": "",
}  # fmt: skip


def check_credentials(body: bytes) -> None:
    lines: list[str] = []
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        # A PATH without helpers: what they say is another target.
        network, environ = Network(authfile=file.name), {"PATH": ""}
        try:
            found = where_from.Credentials(network, environ, lines.append)
            login = found.for_repository("registry.test", "a/b")
        except CredentialsError as error:
            printable(error)
            return
    for line in lines:
        assert line.isprintable()
    if login:
        assert str(login).isprintable()
        assert (login.basic or "").isascii()


HELPED = [{"ServerURL": "https://registry.test", "Username": "user", "Secret": "word"}]


def check_helper(case: tuple[int, bytes]) -> None:
    try:
        helpers._answer(*case)
    except helpers.HelperError as error:
        printable(error)


PROXIES = [
    "http://u:p@proxy.test:3128",
    "https://proxy.test",
    "proxy.test:1",
    "socks5://a",
    "[::1]",
]
EXCLUDED = ["a.test,.b.test, 10.0.0.0/8", "*", "[::1]:5", "registry.test:443", "::1/x"]


def check_proxy(case: tuple[str, str]) -> None:
    proxy, excluded = case
    environ = {"HTTPS_PROXY": proxy, "NO_PROXY": excluded}
    try:
        found = proxies.proxy_for("https://registry.test/v2/", environ)
        if found:
            proxies.split_credentials(found)
    except UsageError as error:
        printable(error)


NAMES = [name for options in OPTIONS.values() for names, *_ in options for name in names.split()]
TYPED = ["debian", "--jobs=8", "-o", "--", "-", "1.5", "10M", "linux/arm64", "a.tar", "1e999"]


def check_arguments(words: list[str]) -> None:
    try:
        found = arguments.parser().read(words)
        arguments.check(found)
        arguments.options(found)
        chosen = arguments.network(found)
    except UsageError:
        return
    assert 1 <= chosen.usual_jobs <= chosen.most_jobs <= LIMITS.jobs
    assert 0 < chosen.timeout < 1e9
    assert 0 <= chosen.wait < 1e9
    assert chosen.limit_rate is None or chosen.limit_rate > 0


TARGETS = {
    "arguments": Target(
        "dockersave.cli.arguments.Parser.read",
        st.lists(st.sampled_from(NAMES) | near(TYPED), max_size=6),
        check_arguments,
    ),
    "config.json": Target(
        "dockersave.registry.credentials.where_from._read", json_bytes([KNOWN]), check_credentials
    ),
    "helpers": Target(
        "dockersave.registry.credentials.helpers._answer",
        st.tuples(st.sampled_from([0, 0, 0, 1]), json_bytes(HELPED)),
        check_helper,
    ),
    "proxies": Target(
        "dockersave.registry.connections.proxies.proxy_for",
        st.tuples(near(PROXIES), near(EXCLUDED)),
        check_proxy,
    ),
}
