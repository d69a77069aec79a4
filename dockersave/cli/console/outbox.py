"""What a run has to say, on its way to standard error: whoever says it never waits for a reader.

A full pipe, a terminal that Ctrl-S has stopped, a log on a disk that does not answer: each blocks
whoever writes to it, for as long as it likes. So a thread of its own writes, and what it has not
come to yet waits here, within bounds. Of frames (the state of something that changes) only the
newest waits; words wait in order, and when there are too many the oldest are dropped.

Standard error is shared with other processes, so it cannot be made non-blocking: that would hold
for all of them.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ...limits import LIMITS

_CHUNK = 512
"""Bytes that a pipe or a terminal takes without blocking if it says that it takes any: POSIX's
least PIPE_BUF."""


class Outbox:
    """Writes to standard error, in order. Its methods may be called from any thread.

    Where standard error is no file of the system (a test's, a caller's own object) it is written
    to at once. Where the system grants no thread, only as much is written at a time as is taken
    without waiting. Nothing here fails: that nobody listens is no reason to give up a download.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Callable[[], str], int]] = deque()
        """What makes a text, at the moment when it is written; and its length, 0 for a frame."""
        self._length = 0
        self._begun = b""
        """What is left of what is being written."""
        self._torn = b""
        """The end of a line whose beginning was written when a write failed."""
        self._is_within_a_line = False
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._refused = False

    def say(self, text: str, among: Callable[[str], str] = str) -> None:
        """Write words.

        Args:
            text: whole lines.
            among: what becomes of them where they are written, such as above a frame.
        """
        self._put(lambda: among(text), len(text))

    def show(self, frame: Callable[[], str]) -> None:
        """Write a frame, in place of one that still waits.

        Args:
            frame: what makes the text; called where it is written, never at the same time as
                another, and not at all if a newer frame comes first. It must not raise.
        """
        self._put(frame, 0)

    def flush(self, seconds: float = LIMITS.last_words) -> None:
        """Wait until all is written, or nobody takes it, and let go of the thread.

        Args:
            seconds: how long to wait at most.
        """
        with self._changed:
            if self._thread is not None:
                self._ending = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._thread is None, seconds)
                return
        self._write_until(time.monotonic() + seconds)

    def _put(self, make: Callable[[], str], length: int) -> None:
        if _descriptor() is None:
            with self._changed:
                _write_directly(make())
            return
        with self._changed:
            if not length:
                self._waiting = deque(item for item in self._waiting if item[1])
            self._waiting.append((make, length))
            self._length += length
            self._drop_oldest()
            if self._has_thread():
                self._changed.notify_all()
                return
        self._write_until(0.0)

    def _drop_oldest(self) -> None:
        # The newest words stay, however long: they are how it ended.
        while self._length > LIMITS.unread and sum(1 for item in self._waiting if item[1]) > 1:
            oldest = next(item for item in self._waiting if item[1])
            self._waiting.remove(oldest)
            self._length -= oldest[1]

    def _has_thread(self) -> bool:
        if self._thread is None and not self._refused:
            self._ending = False
            self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None
                self._refused = True
        return self._thread is not None

    def _work(self) -> None:
        try:
            while self._await_something():
                self._write_until(None)
        finally:
            with self._changed:
                self._leave()

    def _await_something(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            if not self._waiting:
                # While nobody can put anything in: it would wait for a thread that is gone.
                self._leave()
            return bool(self._waiting)

    def _leave(self) -> None:
        if self._thread is threading.current_thread():
            self._thread = None
            self._changed.notify_all()

    def _write_until(self, end: float | None) -> None:
        """Write what waits, until that moment at most; None: however long it takes."""
        if not self._writing.acquire(blocking=False):
            # Whoever writes comes to it.
            return
        try:
            while self._next() and (end is None or self._can_go_on(end - time.monotonic())):
                self._go_on(None if end is None else _CHUNK)
        finally:
            self._writing.release()

    def _next(self) -> bool:
        """Begin the next text unless one is begun; tell whether there is any."""
        with self._changed:
            while self._waiting and not self._begun:
                make, length = self._waiting.popleft()
                self._length -= length
                if text := make():
                    self._begun = self._torn + _encoded(text)
                    self._torn = b""
            return bool(self._begun)

    def _can_go_on(self, seconds: float | None) -> bool:
        """Wait until standard error takes something; None: however long that takes."""
        descriptor = _descriptor()
        if descriptor is None:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(None if seconds is None else max(0, int(seconds * 1000))))

    def _go_on(self, most: int | None) -> None:
        descriptor = _descriptor()
        try:
            if descriptor is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            written = os.write(descriptor, self._begun[:most])
        except BlockingIOError:
            # Somebody else has made it non-blocking.
            if most is None:
                self._can_go_on(None)
        except OSError:
            # Closed, or its disk is full, perhaps only now: what is never read is no line, but
            # a line that has begun is to end before the next one does.
            line, newline, _ = self._begun.partition(b"\n")
            self._torn = line + newline if self._is_within_a_line else b""
            self._begun = b""
        else:
            self._is_within_a_line = self._begun[written - 1 : written] != b"\n"
            self._begun = self._begun[written:]


def _descriptor() -> int | None:
    """The descriptor of standard error, or None if it has none."""
    try:
        return None if sys.stderr is None else sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _encoded(text: str) -> bytes:
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace")


def _write_directly(text: str) -> None:
    if sys.stderr is not None and text:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()
