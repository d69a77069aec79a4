"""Locks, and children that are forked while there are some."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dockersave import locks
from dockersave.archive.write.partfile import PartFile
from dockersave.errors import OutputError


@contextmanager
def child(work: Callable[[], object] = lambda: None) -> Iterator[int]:
    """A forked child that has done some work, and lives on."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            work()
            os.write(tell, b"done")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        assert os.read(told, 4) == b"done", "the child has failed"
        yield pid
    finally:
        os.close(told)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def is_free(path: Path) -> bool:
    fd = locks.open_to_lock(str(path), os.O_RDWR | os.O_CREAT)
    try:
        return locks.lock(fd)
    finally:
        locks.close(fd)


def test_a_lock_keeps_everybody_else_out(tmp_path: Path) -> None:
    fd = locks.open_to_lock(str(tmp_path / "x"), os.O_RDWR | os.O_CREAT)
    assert locks.lock(fd)
    assert not is_free(tmp_path / "x")
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_free(tmp_path / "x")))
    thread.start()
    thread.join()
    assert found == [False], "two threads, too"
    locks.close(fd)
    assert is_free(tmp_path / "x")


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    fd = locks.open_to_lock(str(tmp_path / "x"), os.O_RDWR | os.O_CREAT)
    assert locks.lock(fd)
    with child():
        assert not is_free(tmp_path / "x"), "it is the parent's still"
        locks.close(fd)
        assert is_free(tmp_path / "x")


def test_nor_if_the_parent_is_killed(tmp_path: Path) -> None:
    """Then nobody releases the lock; the grandchild does not have it."""
    told, tell = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            fd = locks.open_to_lock(str(tmp_path / "x"), os.O_RDWR | os.O_CREAT)
            locks.lock(fd)
            grandchild = os.fork()
            if grandchild:
                os.write(tell, f"{grandchild}\n".encode())
            signal.pause()
        finally:
            os._exit(1)
    grandchild = int(os.read(told, 20))
    try:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        assert is_free(tmp_path / "x")
    finally:
        os.kill(grandchild, signal.SIGKILL)
        os.close(told)
        os.close(tell)


def test_a_child_can_neither_give_it_back_nor_write(tmp_path: Path) -> None:
    fd = locks.open_to_lock(str(tmp_path / "x"), os.O_RDWR | os.O_CREAT)
    assert locks.lock(fd)

    def meddle() -> None:
        with suppress(OSError):
            os.write(fd, b"no")
        locks.close(fd)

    with child(meddle):
        assert not is_free(tmp_path / "x")
        assert not (tmp_path / "x").read_bytes()
    locks.close(fd)


def test_a_child_that_unwinds_leaves_the_parents_output_alone(tmp_path: Path) -> None:
    file = PartFile(str(tmp_path / "image.tar"))
    file.open()

    def unwind() -> None:
        file.discard()
        file.close()

    with child(unwind):
        file.check_is_here()
        with pytest.raises(OutputError, match="another dockersave is writing"):
            PartFile(str(tmp_path / "image.tar")).open()
        os.write(file.fd, b"whole")
        file.publish()
        file.close()
    assert (tmp_path / "image.tar").read_bytes() == b"whole"


@pytest.mark.parametrize("directory", [False, True])
def test_what_was_begun_can_be_taken_up_while_a_child_lives(
    tmp_path: Path, directory: bool
) -> None:
    file = PartFile(str(tmp_path / "image"), directory=directory)
    file.open()
    with child():
        file.close()
        again = PartFile(str(tmp_path / "image"), directory=directory)
        again.open()
        again.close()


def test_a_child_leaves_an_unlocked_file_alone(tmp_path: Path) -> None:
    """Its number may be that of anything by then."""
    file = PartFile(str(tmp_path / "image"))
    file.open()
    old = file.renew()
    os.close(old)
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    assert other == old

    with child(lambda: os.write(other, b"mine")):
        assert (tmp_path / "other").read_bytes() == b"mine"
    os.close(other)
    file.close()
