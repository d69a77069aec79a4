"""Who has the blobs, and what goes wrong there: servers on lines of their own, and files."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dockersave.errors import CancelledError, NetworkError
from dockersave.transfer.throttle import Stream
from tests.simulation.machine import Machine, Thread

Say = Callable[[str], None]
_DISK = (0.0, 0.01, 0.1)
"""Seconds that the disk takes; none where the file is in memory."""
PROGRESS = 32
"""Bytes of an answer that are progress; fewer are not, unless nothing more was wanted."""


@dataclass(slots=True)
class Server:
    """A registry, and the line to it. Probabilities are of each request.

    Parameters:
        latency: seconds to the first byte; up to twice as many.
        rate: bytes per second of each connection.
        shared: of all connections together.
        limit: connections that it answers at once.
        ranges: how often it honours one.
        other: sends another range than asked.
        refuses, fails: answers nothing; or that something is wrong with it.
        resets: ends the connection after some bytes; before them if `hard`.
        stalls: sends nothing any more after some bytes.
        lies: sends a wrong byte.
        more: goes on where the blob has ended.
        hard: requests may fail before anything has come.
    """

    name: str
    latency: float = 0.0
    rate: float = 1e6
    shared: float = 4e6
    limit: int = 1000
    ranges: float = 1.0
    other: float = 0.0
    refuses: float = 0.0
    fails: float = 0.0
    resets: float = 0.0
    stalls: float = 0.0
    lies: float = 0.0
    more: float = 0.0
    hard: bool = False
    is_open: int = field(default=0, init=False)
    busy_until: float = field(default=0.0, init=False)


@dataclass(eq=False, slots=True)
class Remote:
    """A blob that a server has."""

    machine: Machine
    at: Server
    content: bytes
    timeout: float
    say: Say
    is_local: bool = False
    size: int = -1

    @property
    def server(self) -> str:
        """Its name."""
        return self.at.name

    def open(self, start: int, stop: int) -> Stream:
        """Send a request.

        Raises:
            NetworkError: it is not answered as it should be.
        """
        server, dice = self.at, self.machine.dice
        self.machine.wait(server.latency * dice.uniform(1, 2))
        if server.is_open >= server.limit:
            self.say(f"{self.server}: {start}-{stop}: too many connections")
            raise NetworkError("crowded", transient=True, crowded=True, answered=True)
        if dice.random() < server.refuses:
            self.say(f"{self.server}: {start}-{stop}: refused")
            raise NetworkError("refused", transient=True, unreachable=True)
        if dice.random() < server.fails:
            self.say(f"{self.server}: {start}-{stop}: 500")
            raise NetworkError("500", transient=True, answered=True)
        ranged = dice.random() < server.ranges
        if not ranged:
            start, stop = 0, len(self.content)
        elif dice.random() < server.other and stop < len(self.content):
            start, stop = start + 1, stop + 1
        self.say(f"{self.server}: sends {start}-{stop}{'' if ranged else ', all of it'}")
        server.is_open += 1
        return RemoteStream(self, start, stop, ranged)


class RemoteStream:
    """An answer on its way."""

    def __init__(self, of: Remote, start: int, stop: int, ranged: bool) -> None:
        server, dice = of.at, of.machine.dice
        self.start, self.ranged = start, ranged
        self.is_ahead = dice.random() < 0.2
        self._of = of
        self._data = bytearray(of.content[start:stop])
        self._at = 0
        self._is_open = True
        self._reader: Thread | None = None
        self._is_interrupted = False
        self._reset = self._stall = len(self._data) + 1
        # All bytes of a whole blob may be there already; then it is not progress.
        first = 0 if server.hard else PROGRESS
        breaks = server.hard or server.ranges == 1
        if breaks and len(self._data) > first and dice.random() < server.resets:
            self._reset = dice.randrange(first, len(self._data))
        if breaks and len(self._data) > first and dice.random() < server.stalls:
            self._stall = dice.randrange(first, len(self._data))
        if self._data and dice.random() < server.lies:
            self._data[dice.randrange(len(self._data))] ^= 1
        if dice.random() < server.more and stop == len(of.content):
            self._data += b"more"

    def readinto(self, buffer: memoryview) -> int:
        """Wait for the next bytes, and take them."""
        of, server = self._of, self._of.at
        machine, dice = of.machine, of.machine.dice
        end = min(len(self._data), self._reset, self._stall)
        amount = min(len(buffer), end - self._at)
        if amount > 1 and dice.random() < 0.5:
            amount = dice.randint(1, amount)
        if self._at == end == self._stall:
            self._pause(of.timeout)
            of.say(f"{of.server}: stalled at {self.start + self._at}")
            raise NetworkError("stalled", transient=True)
        if amount:
            server.busy_until = max(machine.now, server.busy_until) + amount / server.shared
            self._pause(max(amount / server.rate, server.busy_until - machine.now))
        if self._at == self._reset:
            of.say(f"{of.server}: reset at {self.start + self._at}")
            raise NetworkError("reset", transient=True)
        buffer[:amount] = self._data[self._at : self._at + amount]
        self._at += amount
        return amount

    def _pause(self, seconds: float) -> None:
        self._reader = self._of.machine.current
        self._of.machine.wait(seconds)
        self._reader = None
        if self._is_interrupted:
            raise CancelledError("stopped")

    def interrupt(self) -> None:
        """Wake the reader."""
        self._is_interrupted = True
        if self._reader:
            self._of.machine.wake(self._reader)

    def close(self) -> None:
        """Leave the connection to others."""
        self._of.at.is_open -= self._is_open
        self._is_open = False


@dataclass(eq=False, slots=True)
class Found:
    """A blob on the disk, correct or not."""

    machine: Machine
    server: str
    content: bytes
    size: int
    vanishes: bool
    is_local: bool = True

    def open(self, start: int, stop: int) -> Stream:
        """Open the file.

        Raises:
            OSError: it has vanished.
        """
        self.machine.step_aside()
        if self.vanishes:
            raise FileNotFoundError(self.server)
        # Of a file the rest is read, whatever range was asked for.
        return FoundStream(self.machine, self.content, start)


class FoundStream:
    """An open file."""

    ranged = is_ahead = True

    def __init__(self, machine: Machine, content: bytes, start: int) -> None:
        self.start = start
        self._machine = machine
        self._content = content
        self._at = start

    def readinto(self, buffer: memoryview) -> int:
        """Read; it may take a moment."""
        self._machine.wait(self._machine.dice.choice(_DISK))
        part = self._content[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def interrupt(self) -> None:
        """A file is never waited for."""

    def close(self) -> None:
        """Nothing to do."""


def a_server(name: str, dice: random.Random, *, is_mild: bool) -> Server:
    """One that is as servers are, or as bad as they get.

    Parameters:
        is_mild: nothing happens that is a reason to give up.
    """

    def now_and_then(most: float) -> float:
        return dice.choice([0.0, 0.0, dice.uniform(0, most)])

    server = Server(
        name,
        latency=dice.choice([0.0, 0.002, 0.03, 0.2, 1.0]),
        rate=10 ** dice.uniform(3, 6),
        shared=10 ** dice.uniform(3.5, 6.5),
        limit=dice.choice([1, 2, 3, 5, 1000, 1000]),
        ranges=dice.choice([1.0, 1.0, 1.0, 0.0, 0.5]),
        resets=now_and_then(0.9),
        stalls=now_and_then(0.2),
    )
    if not is_mild:
        server.hard = dice.random() < 0.5
        server.other = now_and_then(0.2)
        server.refuses = now_and_then(0.4)
        server.fails = now_and_then(0.3)
        server.lies = now_and_then(0.2)
        server.more = now_and_then(0.1)
    return server
