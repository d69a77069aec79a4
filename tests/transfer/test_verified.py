"""A blob that is read on the caller's thread, through the module."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from itertools import chain

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError, ContentError, NetworkError, NotFoundError
from dockersave.model.descriptors import Descriptor
from dockersave.model.digest import digest_of
from dockersave.retry_policy import RetryPolicy
from dockersave.transfer.throttle import Throttle
from dockersave.transfer.verified import VerifiedBlob
from tests.transfer.fake_sources import BODY, Line, Once, attempts, broken


def opened(
    line: Line,
    body: bytes = BODY,
    *,
    policy: RetryPolicy | None = None,
    cancellation: Cancellation | None = None,
) -> VerifiedBlob:
    flag = cancellation or Cancellation()
    descriptor = Descriptor("", digest_of(body), len(body))
    return VerifiedBlob(line, descriptor, policy or attempts(), Throttle(None, flag, 1), flag)


def parts_of(file: io.RawIOBase, amount: int = 100_000) -> Iterator[bytes]:
    while part := file.read(amount):
        yield part


def test_it_is_a_file() -> None:
    line = Line()
    with opened(line) as file:
        assert file.readable()
        assert file.read(10) == BODY[:10]
        assert file.readall() == BODY[10:]
        assert file.read(10) == b"", "and stays at its end"
    assert line.ranges == [(0, len(BODY))]
    assert line.open_now == 0


@pytest.mark.parametrize("amount", [7_001, 100_000, 10_000_000])
def test_it_is_read_in_any_steps(amount: int) -> None:
    with opened(Line()) as file:
        assert b"".join(parts_of(file, amount)) == BODY


def test_no_thread_is_started() -> None:
    before = threading.active_count()
    with opened(Line()) as file:
        file.read(10)
        assert threading.active_count() == before


def test_a_blob_of_nothing() -> None:
    line = Line(b"")
    assert opened(line, b"").read() == b""
    assert not line.ranges


@pytest.mark.parametrize("ranged", [True, False])
def test_it_goes_on_where_the_connection_broke(ranged: bool) -> None:
    once = Once(broken(), broken())

    def break_off(position: int) -> None:
        if position > 500_000:
            once()

    line = Line(ranged=ranged, during=break_off)
    with opened(line, policy=attempts(1)) as file:
        assert b"".join(parts_of(file)) == BODY
    assert len(line.ranges) == 3
    assert all(start > 500_000 for start, _ in line.ranges[1:])


def test_what_does_not_pass_is_given_up() -> None:
    line = Line(before=Once(*[broken() for _ in range(10)]))
    with opened(line, policy=attempts(2)) as file:
        for _ in range(2):  # that it has failed is not its end
            with pytest.raises(NetworkError, match="reset"):
                file.read(10)
    assert len(line.ranges) == 3


def test_what_is_not_there() -> None:
    with (
        opened(Line(before=Once(NotFoundError("no such blob")))) as file,
        pytest.raises(NotFoundError),
    ):
        file.read(10)


@pytest.mark.parametrize("at", [0, len(BODY) // 2, len(BODY) - 1])
def test_wrong_bytes_are_never_all_of_them(at: int) -> None:
    """Bytes that were returned cannot be taken back, so they are not fetched again."""
    wrong = bytearray(BODY)
    wrong[at] ^= 1
    line = Line(bytes(wrong))
    given = bytearray()
    with opened(line) as file:
        for _ in range(2):
            with pytest.raises(ContentError, match="instead of"):
                given.extend(chain.from_iterable(parts_of(file)))
    assert wrong.startswith(given)
    assert len(given) < len(BODY)
    assert len(line.ranges) == 1


@pytest.mark.parametrize("body", [BODY + b"x", BODY[:-1]], ids=["longer", "shorter"])
def test_another_size(body: bytes) -> None:
    line = Line(body, ranged=False)
    with opened(line, policy=attempts(0)) as file, pytest.raises((ContentError, NetworkError)):
        list(parts_of(file))


def test_it_can_be_stopped_while_it_is_read() -> None:
    flag = Cancellation()
    line = Line()
    with opened(line, cancellation=flag) as file:
        assert file.read(10) == BODY[:10]
        line.during = lambda position: flag.check()
        flag.cancel()
        for _ in range(2):
            with pytest.raises(CancelledError):
                list(parts_of(file))
    assert line.open_now == 0


def test_what_nobody_foresaw_is_not_its_end_either() -> None:
    line = Line(during=Once(KeyError("a bug")))
    with opened(line) as file:
        with pytest.raises(KeyError):
            file.read(10)
        with pytest.raises(ValueError, match="read completely"):
            file.read(10)


def test_it_can_be_stopped_while_it_waits_for_another_try() -> None:
    flag = Cancellation()
    slow = RetryPolicy(
        5, wait_until=0, jitter=lambda low, high: 60.0, notify=lambda line: flag.cancel()
    )
    line = Line(before=Once(broken()))
    with opened(line, cancellation=flag, policy=slow) as file, pytest.raises(CancelledError):
        file.read(10)


def test_whoever_reads_no_further_lets_go_of_the_connection() -> None:
    line = Line()
    file = opened(line)
    assert file.read(10) == BODY[:10]
    assert line.open_now == 1
    file.close()
    assert line.open_now == 0
    with pytest.raises(ValueError, match="closed"):
        file.read(10)
