"""The queue of messages for standard error: writers never wait for a reader.

A full pipe, a terminal stopped by Ctrl-S, a log on an unresponsive disk: each can block its writer
indefinitely. So a separate thread writes, and unwritten text waits here, within bounds. Of frames
(the state of something that changes) only the newest waits; messages wait in order, and if there
are too many, the oldest are dropped.

Standard error is shared with other processes, so it cannot be made non-blocking: that would affect
all of them.
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
"""Bytes that a writable pipe or terminal accepts without blocking: POSIX's minimum of PIPE_BUF."""


class Outbox:
    """Writes to standard error, in order. All methods are thread-safe.

    If standard error is not a real file (a test's or a caller's object), it is written to directly.
    If the system grants no thread, only as much is written at a time as is accepted without
    waiting. Nothing here fails: a missing reader must not abort a download.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Callable[[], str], int]] = deque()
        """Functions that create a text when it is written, with its length, 0 for a frame."""
        self._length = 0
        self._begun = b""
        """The rest of the text that is being written."""
        self._torn = b""
        """The end of a line that was partly written when a write failed."""
        self._is_within_a_line = False
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._refused = False

    def say(self, text: str, among: Callable[[str], str] = str) -> None:
        """Write a message.

        Args:
            text: whole lines.
            among: transforms them when they are written, such as above a frame.
        """
        self._put(lambda: among(text), len(text))

    def show(self, frame: Callable[[], str]) -> None:
        """Write a frame, replacing one that still waits.

        Args:
            frame: creates the text; called when it is written, never in parallel, and not at all if
                a newer frame comes first. It must not raise.
        """
        self._put(frame, 0)

    def flush(self, seconds: float = LIMITS.last_words) -> None:
        """Wait until everything is written, or nobody reads it, and end the thread.

        Args:
            seconds: the longest wait.
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
        # Keep the newest message, however long: it tells how the run ended.
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
                # While nobody can add anything: it would wait for a thread that is gone.
                self._leave()
            return bool(self._waiting)

    def _leave(self) -> None:
        if self._thread is threading.current_thread():
            self._thread = None
            self._changed.notify_all()

    def _write_until(self, end: float | None) -> None:
        """Write everything that waits, until this moment; None for no limit."""
        if not self._writing.acquire(blocking=False):
            # The current writer will do it.
            return
        try:
            while self._next() and (end is None or self._can_go_on(end - time.monotonic())):
                self._go_on(None if end is None else _CHUNK)
        finally:
            self._writing.release()

    def _next(self) -> bool:
        """Start the next text unless one is started; returns whether there is any."""
        with self._changed:
            while self._waiting and not self._begun:
                make, length = self._waiting.popleft()
                self._length -= length
                if text := make():
                    self._begun = self._torn + _encoded(text)
                    self._torn = b""
            return bool(self._begun)

    def _can_go_on(self, seconds: float | None) -> bool:
        """Wait until standard error is writable; None for no limit."""
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
            # Another process has made it non-blocking.
            if most is None:
                self._can_go_on(None)
        except OSError:
            # Closed, or its disk is full, perhaps temporarily: drop the text, but end a line that
            # was started before the next one.
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
