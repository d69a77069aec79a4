"""Threads that work for the ledger: the results."""

from __future__ import annotations

import threading
import time
from itertools import count
from pathlib import Path

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import ContentError, NetworkError, OutputError
from dockersave.model.digest import Buffer, digest_of
from dockersave.transfer.download import BlobDownload
from dockersave.transfer.sources import LocalBlob, LocalFile
from tests.transfer.fake_sources import (
    BODY,
    PIECE,
    Line,
    Memory,
    Once,
    at_work,
    attempts,
    blob_of,
    broken,
    fetched,
    refuse_threads,
    shrink,
)

LONG = 60
"""Seconds after which something that has not happened never will."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two megabytes are a large blob here."""
    shrink(monkeypatch)


@pytest.mark.parametrize("jobs", [1, 2, 3, 8, 64])
def test_every_byte_gets_to_its_place(jobs: int) -> None:
    line = Line()
    place, blob = fetched(line, jobs=jobs)
    assert place.body == BODY
    assert blob.present == len(BODY)
    assert blob.reused == 0
    assert line.open_most <= jobs
    assert max(stop - start for start, stop in line.ranges) <= PIECE + 8192


def test_many_blobs_at_once() -> None:
    bodies = [BODY[:size] for size in (0, 1, 8191, 8192, 500_000, len(BODY))]
    line = {body: Line(body) for body in bodies}
    blobs = [blob_of(line[body], body=body) for body in bodies]
    places = [Memory(len(body)) for body in bodies]
    downloads = [BlobDownload(*pair) for pair in zip(blobs, places, strict=True)]
    with at_work(blobs, downloads, jobs=8) as (ledger, pool):
        pool.run(lambda: ledger.is_done, lambda: None)
    assert [place.body for place in places] == bodies
    assert not line[b""].ranges, "nothing is asked for an empty blob"


def test_as_many_connections_at_once_as_are_granted() -> None:
    everybody = threading.Event()

    def wait(position: int) -> None:
        if line.open_now == 4:
            everybody.set()
        assert everybody.wait(LONG)

    line = Line(during=wait)
    assert fetched(line, jobs=4)[0].body == BODY
    assert line.open_most == 4


def test_no_more_threads_than_can_have_something_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    names = refuse_threads(monkeypatch, 1000)
    assert fetched(Line(b"abc"), body=b"abc", jobs=64)[0].body == b"abc"
    assert len(names) < 5


def test_what_is_there_is_hashed_and_not_asked_for() -> None:
    have = [(0, 300_000), (600_000, 1_200_000)]
    place = Memory()
    for start, stop in have:
        place.body[start:stop] = BODY[start:stop]
    line = Line()
    blob = fetched(line, have=have, place=place)[1]
    assert place.body == BODY
    assert blob.reused == 900_000
    asked = [at for start, stop in have for at in (start, stop - 1)]
    assert not [at for at in asked for start, stop in line.ranges if start <= at < stop]


def test_what_is_wrong_on_the_disk_is_fetched() -> None:
    place = Memory()
    line = Line()
    blob = fetched(line, have=[(0, len(BODY))], place=place)[1]
    assert place.body == BODY
    assert place.forgotten == 1
    assert blob.reused == 0


# Failures


@pytest.mark.parametrize("jobs", [0, 1, 4])
@pytest.mark.parametrize(
    "failure",
    [ContentError("wrong"), OutputError("full"), NetworkError("no"), OSError("?"), KeyError("bug")],
)
@pytest.mark.parametrize("which", [0, 3])
def test_a_failure_ends_all_threads(
    which: int, failure: Exception, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    turns = count()

    def fail(position: int) -> None:
        if next(turns) == which:
            raise failure

    with pytest.raises(type(failure)) as caught:
        fetched(Line(during=fail), jobs=jobs or 4)
    assert caught.value is failure


def test_a_place_that_cannot_be_written() -> None:
    class Full(Memory):
        def write(self, position: int, data: Buffer) -> None:
            raise OutputError("the disk is full")

    line = Line()
    with pytest.raises(OutputError, match="full"):
        fetched(line, place=Full())
    assert len(line.ranges) <= 4, "nothing is tried again"


def test_what_is_complete_is_kept_although_something_else_failed() -> None:
    """The consumer of fetched bytes is called once more before the error is raised."""
    bad = blob_of(Line(before=Once(ContentError("wrong"))))
    seen: list[object] = []
    with at_work([bad], [BlobDownload(bad, Memory())]) as (ledger, pool):

        def look() -> bool:
            seen.append(ledger.failure)
            return False

        with pytest.raises(ContentError):
            pool.run(look, lambda: None)
    assert isinstance(seen[-1], ContentError)


@pytest.mark.parametrize("jobs", [0, 1, 4])
def test_what_may_pass_is_tried_again(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    lines: list[str] = []
    line = Line(before=Once(broken(), broken()))
    policy = attempts(2, notify=lines.append)
    place, _ = fetched(line, jobs=jobs or 4, policy=policy)
    assert place.body == BODY
    assert [words.partition(", ")[2] for words in lines] == [
        "retrying in 0.0 s (1 of 2)",
        "retrying in 0.0 s (2 of 2)",
    ]


@pytest.mark.parametrize("jobs", [1, 8])
def test_what_does_not_pass_is_given_up(jobs: int) -> None:
    """A server that has not answered is asked by one connection: failures are not multiplied."""
    line = Line(before=Once(*[broken() for _ in range(100)]))
    with pytest.raises(NetworkError, match="reset") as caught:
        fetched(line, jobs=jobs, policy=attempts(3))
    assert "retries=" in caught.value.hint
    assert len(line.ranges) == 1 + 3


@pytest.mark.parametrize("jobs", [1, 4])
def test_connections_that_break_are_no_failures_as_long_as_they_bring_something(jobs: int) -> None:
    def break_off(position: int) -> None:
        if position not in {answer.start for answer in list(line.answers)}:
            raise broken()

    line = Line(during=break_off)
    place, blob = fetched(line, jobs=jobs, policy=attempts(0))
    assert place.body == BODY
    assert blob.present == len(BODY)
    assert len(line.answers) > 10


def test_a_connection_that_ends_early_is_one_that_broke() -> None:

    def mend(start: int, stop: int) -> None:
        if start == 300_000:
            line.body = BODY

    line = Line(BODY[:300_000], before=mend)
    assert fetched(line, jobs=1)[0].body == BODY
    assert line.body is BODY, "what was missing was asked for"


def test_one_connection_less_where_a_server_refuses_it() -> None:
    refused = threading.Event()

    def ask(start: int, stop: int) -> None:
        if line.open_now == 2:
            refused.set()

    def wait(position: int) -> None:
        assert refused.wait(LONG)

    line = Line(before=ask, during=wait, limit=2)
    # If the others have just ended, the limit is not the reason, so it is retried.
    place, _ = fetched(line, jobs=8, policy=attempts(20))
    assert place.body == BODY
    assert line.open_most == 2


@pytest.mark.parametrize("jobs", [0, 1, 8])
def test_a_server_that_refuses_every_connection(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last connection is not given up, but its failures count."""
    if not jobs:
        refuse_threads(monkeypatch)
    line = Line(limit=0)
    with pytest.raises(NetworkError, match="too many"):
        fetched(line, jobs=jobs or 4, policy=attempts(2))
    assert len(line.ranges) == 3


# Wrong bytes


@pytest.mark.parametrize("jobs", [0, 1, 4])
@pytest.mark.parametrize("ranged", [True, False])
def test_wrong_bytes_are_fetched_once_more_as_a_whole_and_then_refused(
    ranged: bool, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    line, place = Line(bytes(len(BODY)), ranged=ranged), Memory()
    with pytest.raises(ContentError, match=f"instead of {digest_of(BODY)}"):
        fetched(line, jobs=jobs or 4, place=place)
    assert line.ranges[-1] == (0, len(BODY))
    assert line.ranges.count((0, len(BODY))) == 1
    assert place.forgotten >= 1


def test_bytes_that_were_wrong_once() -> None:
    """A middlebox that breaks ranges is passed by asking for the whole."""

    def mend(start: int, stop: int) -> None:
        if (start, stop) == (0, len(BODY)):
            line.body = BODY

    line, place = Line(bytes(len(BODY)), before=mend), Memory()
    blob = fetched(line, jobs=4, place=place)[1]
    assert place.body == BODY
    assert place.forgotten == 1
    assert blob.present == len(BODY)


# Servers that send whole blobs only


@pytest.mark.parametrize("jobs", [0, 1, 4])
def test_a_server_without_ranges(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    line = Line(ranged=False)
    place, blob = fetched(line, jobs=jobs or 4)
    assert place.body == BODY
    assert blob.present == len(BODY)
    assert line.sent == len(BODY), "it is asked once"


@pytest.mark.parametrize("jobs", [0, 1, 4])
def test_a_server_without_ranges_that_breaks_off(
    jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Existing bytes are skipped, not written again."""
    if not jobs:
        refuse_threads(monkeypatch)
    once = Once(broken())

    def break_off(position: int) -> None:
        if position > 1_000_000:
            once()

    line = Line(ranged=False, during=break_off)
    place, _ = fetched(line, jobs=jobs or 4, policy=attempts(0))
    assert place.body == BODY
    assert len(line.answers) == 2
    assert sum(stop - start for start, stop in place.recorded) == len(BODY)


def test_what_one_blob_learns_of_its_server_holds_for_the_others() -> None:
    lines = [Line(ranged=False) for _ in range(3)]
    blobs = [blob_of(line) for line in lines]
    with at_work(blobs, [BlobDownload(blob, Memory()) for blob in blobs], jobs=2) as (ledger, pool):
        pool.run(lambda: ledger.is_done, lambda: None)
    assert sum(line.sent for line in lines) == 3 * len(BODY)
    assert lines[2].ranges == [(0, len(BODY))], "no range is asked for any more"


# What lies on this machine


def test_a_local_source_is_asked_first() -> None:
    local, remote = Line(is_local=True, server="file"), Line()
    place, blob = fetched(local, remote)
    assert place.body == BODY
    assert not remote.ranges
    assert blob.reused == len(BODY)


def test_a_local_source_of_another_size_is_not_opened() -> None:
    local, remote = Line(is_local=True, server="file", size=len(BODY) - 1), Line()
    assert fetched(local, remote)[0].body == BODY
    assert not local.ranges


def test_a_local_source_that_is_wrong_is_not_asked_again() -> None:
    local, remote = Line(bytes(len(BODY)), is_local=True, server="file"), Line()
    place, blob = fetched(local, remote)
    assert place.body == BODY
    assert len(local.ranges) == 1
    assert blob.reused == 0


def test_a_local_source_that_is_cut_off_is_continued_from_the_next(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(BODY[:1_000_000])
    line = Line()
    with path.open("rb") as file:
        blob = blob_of(LocalBlob(file, 0, len(BODY)), line)
        place = Memory()
        with at_work([blob], [BlobDownload(blob, place)]) as (ledger, pool):
            pool.run(lambda: ledger.is_done, lambda: None)
    assert place.body == BODY
    assert blob.reused == 1_000_000
    assert min(start for start, _ in line.ranges) == 1_000_000


def test_a_local_source_that_vanishes(tmp_path: Path) -> None:
    missing, line, place = LocalFile(str(tmp_path / "gone"), len(BODY)), Line(), Memory()
    blob = blob_of(missing, line)
    with at_work([blob], [BlobDownload(blob, place)]) as (ledger, pool):
        pool.run(lambda: ledger.is_done, lambda: None)
    assert place.body == BODY


def test_a_local_source_that_the_system_cannot_read() -> None:
    local = Line(is_local=True, server="file", before=Once(OSError("input/output error")))
    assert fetched(local, Line())[0].body == BODY


def test_nothing_but_a_local_source_that_fails() -> None:
    with pytest.raises(NetworkError, match="ended early"):
        fetched(Line(BODY[:9], is_local=True, server="file"))


# The rate


@pytest.mark.parametrize("jobs", [0, 1, 4])
def test_all_connections_together_keep_to_the_rate(
    jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    before = time.monotonic()
    assert fetched(Line(), jobs=jobs or 4, rate=8_000_000)[0].body == BODY
    assert time.monotonic() - before >= 0.9 * len(BODY) / 8_000_000


def test_no_rate_holds_for_what_is_on_this_machine() -> None:
    local = Line(is_local=True, server="file")
    flag = Cancellation()
    # At this rate it would take days; the test's own limit ends it.
    assert fetched(local, rate=10, cancellation=flag)[0].body == BODY
