"""The trace: a line for each request and decision, no secret in it, and nothing unless wanted."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dockersave
from dockersave.cancellation import Cancellation
from dockersave.model.options import Network
from dockersave.registry.client import RegistryClient
from dockersave.registry.document_retry import Retry
from dockersave.trace import Trace
from tests.images import Store, image, random_layer
from tests.registry.canary import Canary
from tests.registry.clients import descriptor_of, drain
from tests.registry.simulator import Auth, Fault, Simulator

BLOB = random_layer(100_000)
STORE = Store.of({"team/sample": image([BLOB])})
NETWORK = Network(insecure=True, timeout=5.0, retries=1)


class Traced:
    """A registry, and the lines of its trace."""

    def __init__(self, host: str, network: Network = NETWORK) -> None:
        self.lines: list[str] = []
        self.trace = Trace(self.lines.append)
        stop = Cancellation()
        retry = Retry(network, stop, lambda line: None, self.trace)
        self.registry = RegistryClient(host, network, stop, retry, lambda line: None, self.trace)

    def about(self, topic: str) -> list[str]:
        """The lines of a topic, without time and topic."""
        return [line.partition(": ")[2] for line in self.lines if f" {topic}: " in line]


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator(STORE) as made:
        yield made


def test_a_line_for_each_request(server: Simulator) -> None:
    traced = Traced(server.host)
    size = len(traced.registry.manifest("team/sample", "latest").body)
    drain(traced.registry.blob("team/sample", descriptor_of(BLOB), 100, 5100))
    traced.registry.close()
    assert [re.sub(r"\d+\.\d{3} s", "T", line) for line in traced.about("request")] == [
        f"GET {server.host} /v2/team/sample/manifests/latest 200 {size} bytes T connection 1 (new)",
        f"GET {server.host} /v2/team/sample/blobs/{BLOB.digest} bytes=100-5099 206 5000 bytes T"
        " connection 1 (kept)",
    ]
    assert all(re.match(r" *\d+\.\d{3} request: ", line) for line in traced.lines)


@pytest.mark.parametrize("framing", [Fault.chunked(), Fault.without_length(), Fault.http10()])
def test_bytes_are_counted_whatever_the_framing(server: Simulator, framing: Fault) -> None:
    server.faults.add(framing)
    traced = Traced(server.host)
    drain(traced.registry.blob("team/sample", descriptor_of(BLOB)))
    [line] = traced.about("request")
    assert f" 200 {BLOB.size} bytes " in line


def test_what_is_given_up_says_how_far_it_came(server: Simulator) -> None:
    traced = Traced(server.host)
    stream = traced.registry.blob("team/sample", descriptor_of(BLOB))
    stream.read(1000)
    stream.close()
    [line] = traced.about("request")
    assert " 200 1000 bytes " in line


def test_a_request_that_fails(server: Simulator) -> None:
    server.faults.add(Fault.reset(times=1))
    traced = Traced(server.host)
    traced.registry.manifest("team/sample", "latest")
    assert "failed" in traced.about("request")[0]
    [retry] = traced.about("retry")
    assert re.search(r"connection .*; in \d\.\d{3} s, 1 of 1", retry)


def test_decisions_are_named(server: Simulator) -> None:
    with Simulator(Store()) as mirror:
        network = Network(insecure=True, timeout=5.0, mirrors=(f"http://{mirror.host}",))
        traced = Traced(server.host, network)
        server.faults.add(Fault.refuse_range(403))
        drain(traced.registry.blob("team/sample", descriptor_of(BLOB), 1, 2))
    assert f"{mirror.host} is skipped" in traced.about("mirror")[0]
    assert traced.about("ranges") == [
        f"{server.host} returned 403 for a range: the whole blob is requested"
    ]


def test_a_kept_connection_that_was_closed(server: Simulator) -> None:
    traced = Traced(server.host)
    traced.registry.manifest("team/sample", "latest")
    server.faults.add(Fault.reset(times=1))
    traced.registry.manifest("team/sample", "latest")
    assert traced.about("connection") == [f"{server.host} had closed the one that was kept"]


def test_no_secret_is_in_it(canary: Canary) -> None:
    """Neither a password, nor a token, nor the signature of a storage's address."""
    auth = Auth(user=canary.user, password=canary.password)
    with Simulator(STORE, auth=auth, storage=True) as server:
        network = Network(insecure=True, timeout=5.0, user=canary.user, password=canary.password)
        traced = Traced(server.host, network)
        traced.registry.manifest("team/sample", "latest")
        drain(traced.registry.blob("team/sample", descriptor_of(BLOB)))
        text = "\n".join(traced.lines)
        assert traced.about("credentials")
        assert server.storage_host in text
        for request in server.requests:
            for name, value in request.query.items():
                assert value not in text or len(value) < 8, name
            if sent := request.headers.get("authorization"):
                assert sent.partition(" ")[2] not in text
        assert canary.password not in text
        assert "?" not in text


def test_nobody_listens() -> None:
    trace = Trace()
    trace.say("request", "nothing")
    assert not trace.on


def test_the_module_logs_where_the_application_does(
    server: Simulator, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    name = f"{server.host}/team/sample"
    dockersave.save(name, output=tmp_path / "quiet.tar", network=NETWORK)
    assert not caplog.records
    with caplog.at_level(logging.DEBUG, "dockersave"):
        dockersave.save(name, output=tmp_path / "loud.tar", network=NETWORK)
    assert {record.name for record in caplog.records} >= {"dockersave"}
    assert any("manifests/latest" in record.getMessage() for record in caplog.records)


def test_logging_is_not_imported_for_it() -> None:
    code = "import sys; from dockersave.trace import Trace; Trace.of(None); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "logging" not in done.stdout.split()


@pytest.mark.parametrize("flags", [("-vv",), ("-v", "-v"), ("--verbose", "-v")])
def test_the_command_line(server: Simulator, tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = command(tmp_path, *flags, "--insecure", f"{server.host}/team/sample", "-o", "a.tar")
    assert re.search(r"dockersave: +\d+\.\d{3} request: GET .*manifests/latest 200", done)


def test_once_is_no_trace(server: Simulator, tmp_path: Path) -> None:
    done = command(tmp_path, "-v", "--insecure", f"{server.host}/team/sample", "-o", "a.tar")
    assert "request: " not in done
    assert BLOB.digest in done


def test_a_question_is_traced_too(server: Simulator, tmp_path: Path) -> None:
    done = command(tmp_path, "-vv", "--insecure", "--sha", f"{server.host}/team/sample")
    assert "request: HEAD " in done


def command(folder: Path, *arguments: str) -> str:
    """Run the command; return what it says at standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "dockersave", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return done.stderr


def test_what_servers_say_is_made_harmless() -> None:
    lines: list[str] = []
    trace = Trace(lines.append)
    trace.hide(lambda text: text.replace("secret", "***"))
    trace.say("retry", "it says \x9b2Jsecret\n and more")
    assert lines[0].endswith(" retry: it says ?2J***? and more")
    Trace().hide(lambda text: pytest.fail("nobody listens"))
