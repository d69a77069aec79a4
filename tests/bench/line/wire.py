"""The line itself: one wire, and for each connection what comes down and what goes up."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from tests.bench.line.shape import Event, Shape

_LATE = 0.010  # seconds: what a timer that rang late may make up for
_SLICE = 16 * 1024  # bytes that a connection sends before it is the next one's turn, at most
_AHEAD = 1 << 20  # bytes read from the server before they may be sent
_SILENCE = 0.2  # seconds on top of a round trip after which Linux starts slowly again (RFC 2861)
_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT) (\S+) HTTP/1")
_RANGE = re.compile(rb"\r\nrange: *bytes=([0-9-]+)", re.IGNORECASE)


class Line:
    """What the connections have in common: the wire, the log, the dice."""

    def __init__(self, shape: Shape, port: int, log: Callable[[Event], None]) -> None:
        self.shape, self.port, self.log = shape, port, log
        self.loop = asyncio.get_running_loop()
        self.dice = random.Random(shape.seed)
        self.count = 0
        self.open: set[asyncio.Transport] = set()
        top = min([rate for rate in (shape.shared, shape.each) if rate] or [125e6])
        self.slice = int(max(1460, min(_SLICE, top * 0.005)))
        self.widest = max(4 * shape.window, 2 * top * shape.rtt, 65536)
        self._waiting: deque[Down] = deque()
        self._free = 0.0
        self._armed = False

    def cut(self) -> None:
        """End all connections."""
        for transport in list(self.open):
            transport.abort()

    def offer(self, down: Down) -> None:
        """Queue a connection that has something to send, unless it stands in the queue."""
        if not down.queued:
            down.queued = True
            self._waiting.append(down)
            self._arm()

    def _arm(self) -> None:
        if self._waiting and not self._armed:
            self._armed = True
            self.loop.call_at(max(self.loop.time(), self._free), self._turn)

    def _turn(self) -> None:
        self._armed = False
        now = self.loop.time()
        while self._waiting and self._free <= now:
            down = self._waiting.popleft()
            down.queued = False
            count = min(down.ready(), self.slice)
            if count <= 0 or down.wait(now):
                continue
            self._free = _after(self._free, now, count, self.shape.shared)
            down.free = _after(down.free, now, count, self.shape.each)
            down.send(count, max(now, self._free))
            self.offer(down)
        self._arm()


def _after(free: float, now: float, count: int, rate: float) -> float:
    return max(free, now - _LATE) + (count / rate if rate else 0.0)


class Down(asyncio.Protocol):
    """What comes down one connection; the protocol of the connection to the server."""

    def __init__(self, line: Line, near: Near) -> None:
        self.line, self.near = line, near
        self.queued = False
        self.free = 0.0
        self.server: asyncio.Transport | None = None
        self.closed = False
        self.total = 0
        self._data = bytearray()
        self._flying: deque[bytes] = deque()  # an empty one is the end
        self._held: deque[bytes] = deque()
        self._ended = self._alarm = self._choked = False
        self._unacknowledged = 0
        self._window = float(line.shape.window or "inf")
        self._last = 0.0
        reset = line.shape.reset
        self._limit = line.dice.uniform(*reset) if reset else float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server = cast(asyncio.Transport, transport)
        self.line.open.add(self.server)
        if self.closed:  # the client did not wait for that
            self.server.abort()
        self.near.connected()

    def data_received(self, data: bytes) -> None:
        quiet = not self._data and not self._unacknowledged
        if quiet and self._last and self._now() - self._last > self.line.shape.rtt + _SILENCE:
            self._window = min(self._window, self.line.shape.window or self._window)
        self._data += data
        self._throttle()
        self.line.offer(self)

    def eof_received(self) -> bool:
        self._end()
        return True  # what the client still sends may go up

    def connection_lost(self, error: Exception | None) -> None:
        if self.server:
            self.line.open.discard(self.server)
        self._end()

    def ready(self) -> int:
        """Bytes that may be sent as far as the windows go."""
        return 0 if self.closed else int(min(len(self._data), self._window - self._unacknowledged))

    def wait(self, now: float) -> bool:
        """Whether the connection's own cap holds it back; it comes again by itself then."""
        if self.free <= now:
            return False
        if not self._alarm:
            self._alarm = True
            self.line.loop.call_at(self.free, self._wake)
        return True

    def send(self, count: int, departs: float) -> None:
        data = bytes(self._data[:count])
        del self._data[:count]
        self._throttle()
        self._unacknowledged += count
        self._fly(data, departs)
        if self._ended and not self._data:
            self._fly(b"", departs)

    def resume(self) -> None:
        """Hand over what the client did not read."""
        while self._held and not self.near.paused:
            self._deliver(self._held.popleft())

    def close(self) -> None:
        """The client has left."""
        self.closed = True
        self._data.clear()
        if self.server:
            self.line.loop.call_later(self.line.shape.rtt / 2, self.server.abort)

    def _now(self) -> float:
        return self.line.loop.time()

    def _throttle(self) -> None:
        choke = len(self._data) > (_AHEAD // 2 if self._choked else _AHEAD)
        if choke != self._choked and self.server and not self.server.is_closing():
            self._choked = choke
            (self.server.pause_reading if choke else self.server.resume_reading)()

    def _wake(self) -> None:
        self._alarm = False
        self.line.offer(self)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            if not self._data:
                self._fly(b"", self._now())

    def _fly(self, data: bytes, departs: float) -> None:
        self._flying.append(data)
        self.line.loop.call_at(departs + self.line.shape.rtt / 2, self._arrive)

    def _arrive(self) -> None:
        self._held.append(self._flying.popleft())
        self.resume()

    def _deliver(self, data: bytes) -> None:
        if self.closed:
            return
        if not data:
            self.near.transport.close()
            return
        self._last = self._now()
        self.total += len(data)
        self.near.deliver(data)
        self.line.loop.call_later(self.line.shape.rtt / 2, self._acknowledge, len(data))
        if self.total >= self._limit:
            self.near.reset()

    def _acknowledge(self, count: int) -> None:
        if self._unacknowledged * 2 >= self._window:
            self._window = min(self._window + count, self.line.widest)
        self._unacknowledged -= count
        if self._data:
            self.line.offer(self)


class Near(asyncio.Protocol):
    """The client's end of one connection, and what goes up."""

    transport: asyncio.Transport

    def __init__(self, line: Line) -> None:
        self.line = line
        self.paused = False
        self.down = Down(line, self)
        line.count += 1
        self._number = line.count
        self._rising: deque[bytes] = deque()  # an empty one is the end
        self._due: list[bytes] = []
        self._request = ""
        self._first = self._last = 0.0
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._since = self.line.loop.time()
        self.line.open.add(self.transport)
        self._say("open")
        self._dialling = self.line.loop.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            await self.line.loop.create_connection(lambda: self.down, "127.0.0.1", self.line.port)
        except OSError:
            self.transport.abort()

    def connected(self) -> None:
        """The server can be written to; what has waited for that goes first."""
        due, self._due = self._due, []
        for data in due:
            self._pass(data)

    def data_received(self, data: bytes) -> None:
        self._read(data)
        self._rise(data)

    def eof_received(self) -> bool:
        self._rise(b"")
        return True

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.down.resume()

    def connection_lost(self, error: Exception | None) -> None:
        self.line.open.discard(self.transport)
        self._answered()
        self._say("close", size=self.down.total)
        self.down.close()

    def deliver(self, data: bytes) -> None:
        self._last = self.line.loop.time()
        self._first = self._first or self._last
        self._size += len(data)
        self.transport.write(data)

    def reset(self) -> None:
        self._answered()
        self._say("reset", size=self.down.total)
        self.down.closed = True
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _rise(self, data: bytes) -> None:
        # Nothing arrives before the handshake would be over.
        shape = self.line.shape
        self._rising.append(data)
        due = max(self.line.loop.time(), self._since + shape.rtt) + shape.rtt / 2
        self.line.loop.call_at(due, lambda: self._pass(self._rising.popleft()))

    def _pass(self, data: bytes) -> None:
        server = self.down.server
        if server is None:
            self._due.append(data)
        elif not server.is_closing():
            server.write(data) if data else server.write_eof()

    def _read(self, data: bytes) -> None:
        if found := _REQUEST.match(data):
            self._answered()
            wanted = _RANGE.search(data)
            self._request = b" ".join(
                [*found.groups(), *(wanted.groups() if wanted else ())]
            ).decode("latin-1")
            self._say("request", self._request)

    def _answered(self) -> None:
        if self._request:
            at = self._last or self.line.loop.time()
            self.line.log(Event(at, "answer", self._number, self._request, self._size, self._first))
        self._request, self._first, self._last, self._size = "", 0.0, 0.0, 0

    def _say(self, kind: str, what: str = "", size: int = 0) -> None:
        self.line.log(Event(self.line.loop.time(), kind, self._number, what, size))
