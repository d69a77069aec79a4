"""Archives that are written in order: the ring, and what fills and empties it."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dockersave.archive import disk
from dockersave.archive.members import Document, Layer
from dockersave.archive.tar import Plan, fixed_parts, lay_out
from dockersave.errors import ContentError, OutputError
from dockersave.limits import LIMITS
from dockersave.model.descriptors import Descriptor
from dockersave.model.digest import Buffer, digest_of
from dockersave.transfer import window as window_module
from dockersave.transfer.blobs import Blob
from dockersave.transfer.download import BlobDownload
from dockersave.transfer.window import Emitter, Window, WindowWriter, is_restartable, spool
from tests.transfer.fake_sources import (
    BODY,
    Line,
    Once,
    at_work,
    attempts,
    broken,
    refuse_threads,
    shrink,
)

KIB = 1024
SIZE = 256 * KIB
LARGE, SMALL = BODY[: 900 * KIB], BODY[-100 * KIB :]
BODIES = [LARGE, b"", SMALL, BODY[5:12], BODY[: 300 * KIB]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of 256 KiB."""
    shrink(monkeypatch)
    limits = replace(LIMITS, window=SIZE, window_in_memory=SIZE // 2, granule=4 * KIB)
    monkeypatch.setattr(window_module, "LIMITS", limits)


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Window]:
    with closing(Window(str(tmp_path))) as made:
        yield made


def named_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# The ring


def test_a_spool_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for flag in (os.O_TMPFILE, os.O_CREAT | os.O_DIRECTORY):  # the second does not work anywhere
        monkeypatch.setattr(os, "O_TMPFILE", flag)
        fd = spool(str(tmp_path))
        os.pwrite(fd, b"x" * 5000, 0)
        assert os.pread(fd, 2, 4998) == b"xx"
        assert not named_files(tmp_path)
        os.close(fd)


def test_a_spool_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        spool(str(tmp_path / "missing"))


def test_a_window_is_a_ring(window: Window) -> None:
    at = 5 * SIZE - 3
    window.write(at, b"abcdef")
    assert window.read(at, 6) == b"abc", "up to the end of the ring"
    assert window.read(at + 3, 3) == b"def"
    assert os.fstat(window.fd).st_size == SIZE


def test_where_no_file_may_lie_it_is_in_memory(tmp_path: Path) -> None:
    with closing(Window(str(tmp_path / "missing"))) as window:
        assert window.size == SIZE // 2
        window.write(window.size - 1, b"ab")
        assert window.read(window.size, 1) == b"b"


def test_where_others_need_the_room_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_room", lambda fd: 2 * SIZE)
    for whole, others, size in [
        (SIZE, SIZE, SIZE),
        (SIZE, SIZE + 1, SIZE // 2),
        (9 * SIZE, SIZE, SIZE),
        (5, 2 * SIZE - 5, SIZE),
    ]:
        with closing(Window(str(tmp_path), whole, others)) as window:
            assert window.size == size


def test_a_place_in_a_window(window: Window) -> None:
    there = WindowWriter(window, SIZE - 10)
    there.write(8, b"abcd")
    assert there.read(8, 2) + there.read(10, 2) == b"abcd"
    assert window.read(0, 2) == b"cd"


def test_what_fits_twice_is_held_back() -> None:
    with closing(Window(".")) as window:
        assert is_restartable(SIZE // 2, window)
        assert not is_restartable(SIZE // 2 + 1, window)


# What is written


def plan_of(bodies: Sequence[bytes]) -> Plan:
    layers = []
    for number, body in enumerate(bodies):
        descriptor = Descriptor("", digest_of(body), len(body))
        layers.append(Layer(f"blobs/{number}", descriptor, descriptor, 0))
    return lay_out(layers, [Document("first", b"{}"), Document("last", b"[]")])


def archive_of(plan: Plan, bodies: Sequence[bytes]) -> bytes:
    whole = bytearray(plan.size)
    for offset, data in fixed_parts(plan):
        whole[offset : offset + len(data)] = data
    for entry, body in zip(plan.layers, bodies, strict=True):
        whole[entry.offset : entry.offset + entry.size] = body
    return bytes(whole)


class ByHand:
    """An archive of one blob that arrives as a test wishes."""

    def __init__(self, window: Window, body: bytes) -> None:
        self.plan = plan_of([body])
        entry = self.plan.layers[0]
        restartable = is_restartable(entry.size, window)
        self.body = body
        self.blob = Blob(digest_of(body), len(body), [], base=entry.offset, restartable=restartable)
        self.out = bytearray()
        self.rooms: list[int] = []
        self.place = WindowWriter(window, entry.offset)
        self.emitter = Emitter(self.plan, [self.blob], window, self.out.extend, self.rooms.append)

    def arrive(self, hashed: int) -> int:
        """Have some of it there; returns how much of it is written."""
        start = self.blob.hashed
        self.place.write(start, self.body[start:hashed])
        self.blob.hashed = hashed
        assert not self.emitter.advance()
        return len(self.out) - self.plan.layers[0].offset

    def end(self) -> None:
        self.blob.done = True
        assert self.emitter.advance()
        assert self.emitter.advance(), "and again"
        assert self.out == archive_of(self.plan, [self.body])


def test_a_small_blob_is_held_back_until_it_is_right(window: Window) -> None:
    archive = ByHand(window, SMALL)
    assert archive.arrive(50_000) == 0
    assert archive.arrive(len(SMALL)) == 0
    archive.end()


def test_of_a_large_blob_the_end_is_held_back(window: Window) -> None:
    archive = ByHand(window, BODY[: SIZE - 5000])
    assert archive.arrive(0) == 0
    assert archive.arrive(10_000) == 10_000
    assert archive.arrive(10_000) == 10_000
    assert archive.arrive(len(archive.body)) == len(archive.body) - 4 * KIB
    archive.end()


def test_there_is_room_for_as_much_as_was_written(window: Window) -> None:
    archive = ByHand(window, BODY[: SIZE - 5000])
    assert archive.rooms == [SIZE]
    for hashed in (0, 70_000, 200_000, len(archive.body)):
        archive.arrive(hashed)
        assert archive.rooms[-1] == len(archive.out) + SIZE or not hashed
    archive.end()
    assert archive.rooms == sorted(archive.rooms)


# With workers


class Checked(Window):
    """A window that must not lose unwritten bytes."""

    out = b""

    def write(self, offset: int, data: Buffer) -> None:
        assert offset + len(data) <= len(self.out) + self.size, "it is overwritten"
        super().write(offset, data)


def streamed(
    folder: Path, lines: Sequence[Line], *, jobs: int = 4, retries: int = 2
) -> tuple[bytearray, bytes]:
    """Stream an archive of what the lines should send; returns it, and what it should be."""
    plan, out = plan_of(BODIES), bytearray()
    with closing(Checked(str(folder))) as window:
        window.out = out  # type: ignore[assignment]
        blobs = []
        for entry, line in zip(plan.layers, lines, strict=True):
            blobs.append(
                Blob(
                    entry.member.digest,
                    entry.size,
                    [line],
                    base=entry.offset,
                    restartable=is_restartable(entry.size, window),
                )
            )
        downloads = [BlobDownload(blob, WindowWriter(window, blob.base)) for blob in blobs]
        most = window.size // (2 * jobs)
        with at_work(blobs, downloads, jobs=jobs, policy=attempts(retries), piece_most=most) as (
            _,
            pool,
        ):
            emitter = Emitter(plan, blobs, window, out.extend, pool.grant_room)
            try:
                pool.run(emitter.advance, lambda: None)
            except ContentError:
                return out, archive_of(plan, BODIES)
    assert out == archive_of(plan, BODIES)
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        assert len(archive.getnames()) == len(BODIES) + 2
    return out, bytes(out)


@pytest.mark.parametrize("jobs", [0, 1, 2, 8])
@pytest.mark.parametrize("ranged", [True, False])
def test_blobs_larger_than_the_window(
    ranged: bool, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    streamed(tmp_path, [Line(body, ranged=ranged) for body in BODIES], jobs=jobs or 4)
    assert not named_files(tmp_path)


@pytest.mark.parametrize("jobs", [0, 1, 8])
@pytest.mark.parametrize("ranged", [True, False])
def test_connections_that_break_in_a_stream(
    ranged: bool, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    lines = [Line(body, ranged=ranged) for body in BODIES]
    once = Once(broken())

    def break_off(position: int) -> None:
        if position > SIZE:
            once()

    lines[0].during = break_off
    streamed(tmp_path, lines, jobs=jobs or 4, retries=1)


@pytest.mark.parametrize("jobs", [0, 1, 8])
def test_wrong_bytes_never_make_a_whole_archive(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    for number in (0, 2, 4):
        lines = [Line(body) for body in BODIES]
        wrong = bytearray(BODIES[number])
        wrong[-50] ^= 1
        lines[number].body = bytes(wrong)
        out, whole = streamed(tmp_path, lines, jobs=jobs or 4)
        assert whole.startswith(out)
        assert len(out) < len(whole)


@pytest.mark.parametrize("jobs", [0, 1, 8])
def test_what_was_held_back_can_be_fetched_again(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not jobs:
        refuse_threads(monkeypatch)
    lines = [Line(body) for body in BODIES]
    line = lines[2]
    line.body = bytes(len(SMALL))

    def mend(start: int, stop: int) -> None:
        # As a whole: which it may have been the first time, too.
        if line.sent >= len(SMALL):
            line.body = SMALL

    line.before = mend
    streamed(tmp_path, lines, jobs=jobs or 4)
    assert line.ranges[-1] == (0, len(SMALL))


def test_the_next_blobs_are_fetched_meanwhile(tmp_path: Path) -> None:
    """While the end of the first blocks some connections, others continue with what follows."""
    lines = [Line(body) for body in BODIES]
    others = threading.Event()

    def wait(position: int) -> None:
        if position > 850 * KIB:
            assert others.wait(60)

    lines[0].during = wait
    lines[2].before = lambda start, stop: others.set()
    streamed(tmp_path, lines, jobs=8)


def test_an_output_that_takes_no_more(tmp_path: Path) -> None:
    def full(data: Buffer) -> None:
        raise OutputError("the reader has gone")

    plan = plan_of([SMALL])
    entry = plan.layers[0]
    blob = Blob(digest_of(SMALL), len(SMALL), [Line(SMALL)], base=entry.offset)
    with closing(Window(str(tmp_path))) as window:
        download = BlobDownload(blob, WindowWriter(window, blob.base))
        with (
            pytest.raises(OutputError, match="gone"),
            at_work([blob], [download]) as (_, pool),
        ):
            pool.run(
                Emitter(plan, [blob], window, full, pool.grant_room).advance,
                lambda: None,
            )
