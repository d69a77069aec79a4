"""One retry policy: which failures, how often, how long."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import (
    CancelledError,
    ContentError,
    DockersaveError,
    NetworkError,
    NotFoundError,
)
from dockersave.limits import LIMITS
from dockersave.model.options import Network
from dockersave.registry.document_retry import Retry
from dockersave.retry_policy import Verdict
from tests.images import Store, image, random_layer
from tests.registry.clients import opened
from tests.registry.simulator import Fault, Simulator

SAMPLE = image([random_layer(1000)])
STORE = Store.of({"sample": SAMPLE})


class Pauses(Cancellation):
    """Notes pauses instead of making them."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.check()


class Policy:
    """A retry policy without pauses, and what it told the user."""

    def __init__(self, **network: float) -> None:
        self.pauses = Pauses()
        self.lines: list[str] = []
        options = Network(**{"retries": 5, **network})  # type: ignore[arg-type]
        self.retry = Retry(options, self.pauses, self.lines.append)

    def failing(self, *failures: DockersaveError) -> Callable[[], str]:
        """An attempt that fails with this error, and then succeeds."""
        left = list(failures)

        def attempt() -> str:
            if left:
                raise left.pop(0)
            return "done"

        return attempt


def reset() -> NetworkError:
    return NetworkError("registry.example: connection reset", transient=True)


@pytest.fixture(autouse=True)
def _longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


def test_what_succeeds_is_not_tried_again() -> None:
    policy = Policy()
    assert policy.retry.call(policy.failing()) == "done"
    assert not policy.lines
    assert not policy.pauses.seconds


def test_passing_failures_are_tried_again_with_growing_pauses() -> None:
    policy = Policy()
    flipped = ContentError("registry.example: the manifest hashes to …", transient=True)
    assert policy.retry.call(policy.failing(reset(), flipped, *[reset()] * 3)) == "done"
    assert policy.pauses.seconds == pytest.approx([1, 2, 4, 8, 16])
    assert policy.lines[0] == "registry.example: connection reset, retrying in 1.0 s (1 of 5)"
    assert policy.lines[4] == "registry.example: connection reset, retrying in 16 s (5 of 5)"


def test_pauses_are_jittered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def quarter(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.25

    monkeypatch.setattr(random, "uniform", quarter)
    policy = Policy()
    policy.retry.call(policy.failing(reset(), reset()))
    assert asked == [(0, 1), (0, 2)]
    assert policy.pauses.seconds == pytest.approx([0.25, 0.25])


def test_no_pause_is_longer_than_the_limit() -> None:
    policy = Policy(retries=20)
    policy.retry.call(policy.failing(*[reset()] * 20))
    assert max(policy.pauses.seconds) == pytest.approx(LIMITS.retry_pause)


def test_it_ends_after_so_many() -> None:
    policy = Policy(retries=2)
    with pytest.raises(NetworkError, match="connection reset") as caught:
        policy.retry.call(policy.failing(*[reset()] * 3))
    assert len(policy.lines) == 2
    assert "retries=" in caught.value.hint


@pytest.mark.parametrize(
    "failure",
    [NetworkError("refused"), ContentError("no JSON"), NotFoundError("no such image")],
)
def test_lasting_failures_are_not_tried_again(failure: DockersaveError) -> None:
    policy = Policy()
    with pytest.raises(type(failure)):
        policy.retry.call(policy.failing(failure))
    assert not policy.lines


def test_progress_counts_nothing_and_waits_for_nothing() -> None:
    """A line that is reset every megabyte moves all the same: no budget ends it, no pause."""
    policy = Policy(retries=0).retry.policy
    for _ in range(2 * LIMITS.retries_per_run):
        assert policy.judge(reset(), 0, now=0.0, gained=True) == Verdict()


def test_who_asks_to_wait_is_waited_for_whatever_has_come() -> None:
    policy = Policy().retry.policy
    busy = NetworkError("registry.example: busy", transient=True, retry_after=7)
    assert policy.judge(busy, 0, now=0.0, gained=True).until >= 7


def test_wrong_content_is_no_progress() -> None:
    """However much of it arrived: it must be fetched again."""
    wrong = ContentError("registry.example: a blob hashes to ...", transient=True)
    assert Policy().retry.policy.judge(wrong, 0, now=0.0, gained=True).counts


def test_without_progress_the_run_has_a_budget() -> None:
    policy = Policy(retries=LIMITS.retries_per_run + 2)
    with pytest.raises(NetworkError):
        policy.retry.call(policy.failing(*[reset()] * (LIMITS.retries_per_run + 2)))
    assert len(policy.pauses.seconds) == LIMITS.retries_per_run
    with pytest.raises(NetworkError):
        policy.retry.call(policy.failing(reset()))


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    policy = Policy()
    busy = NetworkError("busy", transient=True, retry_after=30)
    policy.retry.call(policy.failing(busy))
    assert policy.pauses.seconds == pytest.approx([31])


def test_a_server_that_asks_for_hours_is_given_up_at_once() -> None:
    policy = Policy()
    limit = NetworkError("the limit is reached", "log in", transient=True, retry_after=3 * 3600)
    with pytest.raises(NetworkError) as caught:
        policy.retry.call(policy.failing(limit))
    until = datetime.now() + timedelta(hours=3)
    assert not policy.pauses.seconds
    assert "it asks you to wait 3 h 0 min, until " in caught.value.hint
    assert f"{until:%H:}" in caught.value.hint
    assert caught.value.hint.endswith("; log in")


def test_what_is_not_up_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    policy = Policy(wait=60, retries=0)
    monkeypatch.setattr(policy.pauses, "wait", lambda pause: clock.__setitem__(0, clock[0] + pause))
    down = NetworkError("registry.example: connection refused", unreachable=True)
    assert policy.retry.call(policy.failing(*[down] * 10)) == "done"
    assert policy.lines == ["registry.example: connection refused, waiting up to 60 s"]
    with pytest.raises(NetworkError):
        policy.retry.call(policy.failing(*[down] * 100))
    assert clock[0] == 1060


def test_a_stopped_run_tries_nothing() -> None:
    policy = Policy()
    policy.pauses.cancel()
    with pytest.raises(CancelledError):
        policy.retry.call(policy.failing())


def test_many_threads_share_the_budget() -> None:
    policy = Policy(retries=1)
    tried: list[int] = []

    def work() -> None:
        for _ in range(20):
            attempt = policy.failing(reset())
            try:
                policy.retry.call(attempt)
            except NetworkError:
                tried.append(1)

    threads = [threading.Thread(target=work) for _ in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(policy.lines) == LIMITS.retries_per_run
    assert len(tried) == 15 * 20 - LIMITS.retries_per_run


# Against a server


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_statuses(status: int) -> None:
    with Simulator(STORE) as server, opened(server.host, retries=1) as run:
        server.faults.add(Fault.status(status, retry_after="0", times=1))
        assert run.registry.manifest("sample", "latest").digest == SAMPLE.digest
        assert len(run.lines) == 1


@pytest.mark.parametrize("status", [400, 405, 410, 418, 501])
def test_lasting_statuses(status: int) -> None:
    with Simulator(STORE) as server, opened(server.host, retries=5) as run:
        server.faults.add(Fault.status(status))
        with pytest.raises(DockersaveError):
            run.registry.manifest("sample", "latest")
        assert len(server.requests) == 1


@pytest.mark.parametrize("where", [Fault.reset(times=1), Fault.reset_after(100, times=1)])
def test_a_reset_connection(where: Fault) -> None:
    with Simulator(STORE) as server, opened(server.host, retries=1) as run:
        server.faults.add(where)
        assert run.registry.manifest("sample", "latest").digest == SAMPLE.digest
        assert f"{server.host}: connection " in run.lines[0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        (format_datetime(datetime.now(UTC) + timedelta(seconds=3000), usegmt=True), 3000.0),
        (format_datetime(datetime.now(UTC) - timedelta(seconds=3000), usegmt=True), 0.0),
        ("soon", None),
        ("-1", None),
        ("9" * 400, None),
        ("86400", 86400.0),
        ("Fri, 99 Foo 99999999999 99:99:99 GMT", None),
        ("", None),
    ],
    ids=["seconds", "in future", "in past", "words", "negative", "huge", "none", "a day", "junk"],
)
def test_every_kind_of_retry_after(value: str, seconds: float | None) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.status(503, retry_after=value))
        with pytest.raises(NetworkError) as caught:
            run.registry.manifest("sample", "latest")
    assert caught.value.transient
    assert caught.value.crowded
    # The time was taken when the tests were collected, which can be long ago.
    assert caught.value.retry_after == (pytest.approx(seconds, abs=2000) if seconds else seconds)
