"""Every fault does what its name says: a test double that is wrong makes every test wrong."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3
from hypothesis import given, settings

from tests.images import Store, read, sample_image, sample_index
from tests.pace import Stopwatch
from tests.registry.effects import EFFECTS
from tests.registry.faults import Fault
from tests.registry.raw_requests import blob, exchange, get
from tests.registry.simulator import Simulator
from tests.registry.strategies import any_faults, fault_lists

SAMPLE = sample_image()
BIG = SAMPLE.layers[2]


@pytest.fixture(name="registry")
def _registry() -> Iterator[Simulator]:
    with Simulator(Store.of({"a/b": SAMPLE})) as registry:
        yield registry


# Faults: one check for each


Check = Callable[[Simulator], None]
CHECKS: dict[str, tuple[Fault, Check]] = {}


def check(fault: Fault) -> Callable[[Check], Check]:
    """Enter a check of a fault, which is switched on while the check runs."""

    def enter(function: Check) -> Check:
        CHECKS[function.__name__] = (fault, function)
        return function

    return enter


def broken(registry: Simulator, reason: str) -> None:
    with pytest.raises(urllib3.exceptions.HTTPError, match=reason):
        get(registry, blob(BIG))


@check(Fault.reset_after(1000, on="blob", times=1))
def reset_after(registry: Simulator) -> None:
    broken(registry, "reset by peer")
    assert get(registry, blob(BIG)).data == BIG.data


@check(Fault.reset(on="connection", times=1))
def reset(registry: Simulator) -> None:
    broken(registry, "reset by peer")
    assert registry.requests == []
    assert get(registry, blob(BIG)).data == BIG.data


@check(Fault.close_after(0.5, on="blob"))
def close_after(registry: Simulator) -> None:
    broken(registry, "IncompleteRead")
    assert registry.requests[0].sent == BIG.size // 2
    assert f"Content-Length: {BIG.size}".encode() in exchange(registry, blob(BIG))[:400]


@check(Fault.stall_after(10, on="blob"))
def stall_after(registry: Simulator) -> None:
    with pytest.raises(TimeoutError):
        exchange(registry, blob(BIG), wait=0.2)
    assert registry.requests[0].sent == 10


@check(Fault.delay(0.1, on="manifest"))
def delay(registry: Simulator) -> None:
    started = time.monotonic()
    assert get(registry, "a/b/manifests/latest").status == 200
    assert time.monotonic() - started >= 0.1


@check(Fault.rate(1000, on="blob"))
def rate(registry: Simulator) -> None:
    watch = Stopwatch()
    assert len(get(registry, blob(BIG), Range="bytes=0-299").data) == 300
    assert watch.elapsed > 0.25
    assert watch.own < 3


@check(Fault.connection_close())
def connection_close(registry: Simulator) -> None:
    wire = exchange(registry, "", count=2)
    assert wire.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close\r\n" in wire


@check(Fault.http10())
def http10(registry: Simulator) -> None:
    wire = exchange(registry, "", count=2)
    assert wire.startswith(b"HTTP/1.0 200 OK\r\n")
    assert wire.count(b"HTTP/") == 1


@check(Fault.chunked())
def chunked(registry: Simulator) -> None:
    answer = get(registry, blob(BIG))
    assert "Content-Length" not in answer.headers
    assert (answer.headers["Transfer-Encoding"], answer.data) == ("chunked", BIG.data)


@check(Fault.without_length())
def without_length(registry: Simulator) -> None:
    answer = get(registry, blob(BIG))
    assert "Content-Length" not in answer.headers
    assert answer.data == BIG.data


@check(Fault.shortened(7))
def shortened(registry: Simulator) -> None:
    answer = get(registry, blob(BIG))
    assert (answer.headers["Content-Length"], answer.data) == ("7", read(BIG.data)[:7])


@check(Fault.lengthened(3))
def lengthened(registry: Simulator) -> None:
    answer = get(registry, blob(BIG))
    assert answer.data == read(BIG.data) + bytes(3)
    assert answer.headers["Content-Length"] == str(BIG.size + 3)


@check(Fault.garbage_before(b"junk\r\n"))
def garbage_before(registry: Simulator) -> None:
    assert exchange(registry, "").startswith(b"junk\r\nHTTP/1.1 200")


@check(Fault.garbage_after(b"junk"))
def garbage_after(registry: Simulator) -> None:
    wire = exchange(registry, blob(BIG), count=2)
    assert wire.count(b"junkHTTP/1.1 200") == 1
    assert wire.endswith(b"junk")


@check(Fault.flip_bit(1000, times=1))
def flip_bit(registry: Simulator) -> None:
    assert get(registry, blob(BIG), Range="bytes=0-999").data == read(BIG.data)[:1000]
    assert registry.faults.struck() == 0, "the range does not include the position"
    answer = get(registry, blob(BIG), Range="bytes=900-1099").data
    wrong = [at for at, byte in enumerate(answer, 900) if byte != read(BIG.data)[at]]
    assert wrong == [1000]
    assert get(registry, blob(BIG)).data == BIG.data


@check(Fault.html(on="manifest"))
def body(registry: Simulator) -> None:
    answer = get(registry, "a/b/manifests/latest")
    assert (answer.headers["Content-Type"], answer.data[:9]) == ("text/html", b"<!DOCTYPE")


@check(Fault.endless(5 << 20, on="manifest"))
def endless(registry: Simulator) -> None:
    answer = get(registry, "a/b/manifests/latest").data
    assert len(answer) == 5 << 20
    assert answer.startswith(b'{"schemaVersion"')


@check(Fault.gzip_encoded(on="blob"))
def gzip_encoded(registry: Simulator) -> None:
    answer = get(registry, blob(BIG))
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data) == BIG.data


@check(Fault.header("Docker-Content-Digest", "sha256:x\r\nX-Injected: yes", on="manifest"))
def header(registry: Simulator) -> None:
    answer = get(registry, "a/b/manifests/latest")
    assert answer.headers["Docker-Content-Digest"] == "sha256:x"
    assert answer.headers["X-Injected"] == "yes"


@check(Fault.ignore_range())
def ignore_range(registry: Simulator) -> None:
    answer = get(registry, blob(BIG), Range="bytes=5-9")
    assert (answer.status, answer.data) == (200, BIG.data)
    assert "Content-Range" not in answer.headers


@check(Fault.refuse_range())
def refuse_range(registry: Simulator) -> None:
    assert get(registry, blob(BIG), Range="bytes=5-9").status == 416
    assert get(registry, blob(BIG)).data == BIG.data


@check(Fault.refuse_open_range())
def refuse_open_range(registry: Simulator) -> None:
    assert get(registry, blob(BIG), Range="bytes=5-").status == 416
    assert get(registry, blob(BIG), Range="bytes=5-9").status == 206


@check(Fault.multipart_range())
def multipart_range(registry: Simulator) -> None:
    answer = get(registry, blob(BIG), Range="bytes=5-9")
    assert answer.status == 206
    assert answer.headers["Content-Type"].startswith("multipart/byteranges")
    assert read(BIG.data)[5:10] in answer.data


@check(Fault.content_range("bytes {end}-{start}/{total}"))
def content_range(registry: Simulator) -> None:
    answer = get(registry, blob(BIG), Range="bytes=5-9")
    assert answer.headers["Content-Range"] == f"bytes 9-5/{BIG.size}"
    assert answer.data == read(BIG.data)[5:10]


@check(Fault.shifted_range(100))
def shifted_range(registry: Simulator) -> None:
    answer = get(registry, blob(BIG), Range="bytes=5-9")
    assert answer.headers["Content-Range"] == f"bytes 5-9/{BIG.size}"
    assert answer.data == read(BIG.data)[105:110]


@check(Fault.status(503, retry_after="120", on="blob", skip=1, times=2))
def status(registry: Simulator) -> None:
    answers = [get(registry, blob(BIG)) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "120"
    assert registry.faults.struck("status") == 2


@check(Fault.error("DENIED", "\x1b[2Jno\r\nway", 403))
def error(registry: Simulator) -> None:
    answer = get(registry, blob(BIG))
    said = {"code": "DENIED", "message": "\x1b[2Jno\r\nway"}
    assert (answer.status, json.loads(answer.data)) == (403, {"errors": [said]})


@check(Fault.redirect("http://{host}{path}?again", 302, on="blob"))
def redirect(registry: Simulator) -> None:
    answer = get(registry, blob(BIG))
    expected = f"http://{registry.host}/v2/{blob(BIG)}?again"
    assert (answer.status, answer.headers["Location"]) == (302, expected)


@check(Fault.redirect_chain(3, on="blob"))
def redirect_chain(registry: Simulator) -> None:
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", f"{registry.base_url}/v2/{blob(BIG)}?kept=1", redirect=True)
    assert answer.data == BIG.data
    assert [request.query["kept"] for request in registry.requests] == ["1"] * 4
    assert [request.status for request in registry.requests] == [307, 307, 307, 200]


@check(Fault.endless_tags())
def endless_tags(registry: Simulator) -> None:
    path = "a/b/tags/list"
    for page in range(5):
        answer = get(registry, path)
        assert f"page-{page}-tag-99" in json.loads(answer.data)["tags"]
        path = answer.headers["Link"].split(">")[0].removeprefix("</v2/")


@check(Fault.expire_tokens())
def expire_tokens(registry: Simulator) -> None:
    assert get(registry, blob(BIG)).status == 200  # more in test_bearer_authentication


@check(Fault.expire_urls())
def expire_urls(registry: Simulator) -> None:
    assert get(registry, blob(BIG)).status == 200  # more in the tests of the storage


@check(Fault.move_tag(sample_index().digest, skip=1, times=1))
def move_tag(registry: Simulator) -> None:
    registry.store.add("a/b", sample_index())
    first = get(registry, "a/b/manifests/latest").headers["Docker-Content-Digest"]
    second = get(registry, "a/b/manifests/latest").headers["Docker-Content-Digest"]
    assert first != second == sample_index().digest


@pytest.mark.parametrize("name", CHECKS)
def test_fault(name: str, registry: Simulator) -> None:
    fault, function = CHECKS[name]
    registry.faults.add(fault)
    function(registry)
    assert registry.faults.struck() > 0


def test_every_fault_has_a_check() -> None:
    assert set(EFFECTS) == {fault.name for fault, _ in CHECKS.values()}


def test_a_limit_on_requests_at_once(registry: Simulator) -> None:
    registry.faults.add(Fault.rate(1_000_000, on="blob"), Fault.status(429, over=2))
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: get(registry, blob(BIG)).status, range(6)))
    assert 2 <= answers.count(200) < 6
    assert set(answers) == {200, 429}


def test_a_realm_may_be_anything(registry: Simulator) -> None:
    registry.faults.add(Fault.realm("http://169.254.169.254/token"))
    answer = get(registry, "a/b/manifests/latest")
    assert answer.status == 401
    assert "http://169.254.169.254/token" in answer.headers["WWW-Authenticate"]


def test_faults_compose(registry: Simulator) -> None:
    registry.faults.add(
        Fault.delay(0.05), Fault.chunked(), Fault.flip_bit(3), Fault.close_after(20_000)
    )
    wire = exchange(registry, blob(BIG))
    assert b"Transfer-Encoding: chunked" in wire
    assert not wire.endswith(b"0\r\n\r\n")
    assert registry.requests[0].faults == ["delay", "chunked", "flip_bit", "close_after"]


def test_an_unknown_fault_is_refused(registry: Simulator) -> None:
    with pytest.raises(ValueError, match="no such fault"):
        registry.faults.add(Fault("typo"))


@given(any_faults())
def test_faults_are_plain_values(fault: Fault) -> None:
    again = Fault.from_json(fault.as_json())
    text: dict[str, Any] = json.loads(fault.as_json())
    assert json.loads(again.as_json()) == text
    assert (again.name, again.on, again.times) == (fault.name, fault.on, fault.times)


@settings(max_examples=60)
@given(fault_lists())
def test_no_composition_breaks_the_simulator(faults: list[Fault]) -> None:
    with Simulator(Store.of({"a/b": SAMPLE}), storage=True) as registry:
        registry.faults.add(*faults)
        for path in ("a/b/manifests/latest", blob(BIG)):
            try:
                answer = get(registry, path, Range="bytes=0-99")
                assert answer.status in range(200, 600)
            except (urllib3.exceptions.HTTPError, ValueError):
                assert any(request.faults for request in registry.requests)
    assert not [thread for thread in threading.enumerate() if "-connection" in thread.name]
