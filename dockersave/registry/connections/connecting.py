"""From a name to a connection: race the addresses of both families.

Source: RFC 8305 (Happy Eyeballs 2), sections 4 and 5. Trying one address after the other would wait
for a timeout at each dead one, such as an IPv6 address without a route.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from ...cancellation import Cancellation
from ...limits import LIMITS
from ...values import dataclass

Address: TypeAlias = tuple[Any, ...]
Target: TypeAlias = tuple[socket.AddressFamily, Address]

_DELAY = 0.25
"""Seconds from one attempt to the next: the "Connection Attempt Delay" of RFC 8305, section 8."""
_SHORTEST_DELAY = 0.1
"""The same if there are so many addresses that the timeout would end before the last; RFC 8305
recommends no less."""
_SHOWN = 3
"""Addresses that a message lists; it only counts the rest."""

CAUSES = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "the network is unreachable",
    errno.ENETDOWN: "the network is down",
    errno.EADDRNOTAVAIL: "the network is not configured",
    errno.EAFNOSUPPORT: "this host does not support such addresses",
    errno.ETIMEDOUT: "the attempt to connect timed out",
}
"""Why an address cannot be reached, in words."""


class Unreached(OSError):
    """No address of a host accepted a connection.

    Args:
        host: its name or address.
        failures: each address with its error number.
    """

    def __init__(self, host: str, failures: Sequence[tuple[str, int]]) -> None:
        super().__init__(failures[-1][1], describe(failures, host))
        self.failures = tuple(failures)

    @property
    def words(self) -> str:
        """The reason in words, with the addresses."""
        return str(self.strerror)

    @property
    def is_silent(self) -> bool:
        """Whether there was no refusal, just silence."""
        return all(number == errno.ETIMEDOUT for _, number in self.failures)

    @property
    def is_away(self) -> bool:
        """Whether an address is known to be unreachable; otherwise this host is at fault."""
        return any(number in CAUSES for _, number in self.failures)


def order(targets: Iterable[Target], preferred: socket.AddressFamily | None = None) -> list[Target]:
    """The order in which to try addresses (RFC 8305, section 4): the families alternate.

    Args:
        targets: as the resolver sorted them (RFC 6724).
        preferred: the family to start with; None for that of the first address.
    """
    families: dict[socket.AddressFamily, list[Target]] = {}
    for target in dict.fromkeys(targets):
        families.setdefault(target[0], []).append(target)
    queues = sorted(families.items(), key=lambda item: item[0] != preferred)
    lists = [queue for _, queue in queues]
    longest = max(map(len, lists), default=0)
    return [queue[index] for index in range(longest) for queue in lists if index < len(queue)]


def delay(count: int, timeout: float) -> float:
    """Seconds between the starts of two attempts.

    Args:
        count: of addresses.
        timeout: seconds for all of them.
    """
    return max(_SHORTEST_DELAY, min(_DELAY, timeout / 2 / max(count, 1)))


class Race:
    """Decides which address is tried when. It has no clock of its own.

    Args:
        count: of addresses; they are known by their index.
        now: the start time in seconds.
        timeout: seconds for all of them together.
    """

    def __init__(self, count: int, now: float, timeout: float) -> None:
        self._count = count
        self._delay = delay(count, timeout)
        self._begun = 0
        self._next = now
        self._end = now + timeout
        self.running: list[int] = []
        """Running attempts, the oldest first."""

    def due(self, now: float) -> int | None:
        """The attempt to start now, which then counts as started, or None."""
        if self._begun == self._count or now >= self._end:
            return None
        if self.running and now < self._next:
            return None
        index = self._begun
        self._begun += 1
        self._next = now + self._delay
        self.running.append(index)
        return index

    def surplus(self) -> int | None:
        """The attempt to give up because too many are running: the oldest."""
        return self.running.pop(0) if len(self.running) > LIMITS.connect_attempts else None

    def failed(self, index: int) -> None:
        """An attempt has failed: the next one need not wait."""
        self.running.remove(index)

    def wait(self, now: float) -> float | None:
        """Seconds until the next step if nothing happens; None if there is none."""
        if now >= self._end or (not self.running and self._begun == self._count):
            return None
        until = self._next if self._begun < self._count else self._end
        return max(0.0, min(until, self._end) - now)


@dataclass(frozen=True, slots=True)
class Connected:
    """A new connection.

    Args:
        sock: its socket, non-blocking.
        family: the family of its address.
        seconds: from the first packet to the answer: the round trip time.
    """

    sock: socket.socket
    family: socket.AddressFamily
    seconds: float


def connect(
    host: str,
    targets: Sequence[Target],
    timeout: float,
    cancellation: Cancellation,
    make: Callable[[socket.AddressFamily], socket.socket],
) -> Connected:
    """Connect to the address that answers first.

    Args:
        host: its name for messages.
        targets: in the order in which to try them.
        timeout: seconds for all of them together.
        cancellation: checked at every event; shutting the sockets down wakes this.
        make: creates a non-blocking socket that is shut down if the run is stopped.

    Raises:
        Unreached: no address could be connected to.
        CancelledError: the run was stopped.
    """
    race = Race(len(targets), time.monotonic(), timeout)
    sockets: dict[int, socket.socket] = {}
    begun: dict[int, float] = {}
    failures: dict[int, int] = {}
    poll = select.poll()

    def drop(index: int, number: int) -> None:
        failures[index] = number
        if sock := sockets.pop(index, None):
            with suppress(KeyError, ValueError):
                poll.unregister(sock)
            sock.close()

    try:
        while (pause := race.wait(time.monotonic())) is not None:
            cancellation.check()
            if (index := race.due(time.monotonic())) is not None:
                family, address = targets[index]
                try:
                    sock = sockets[index] = make(family)
                    begun[index] = time.monotonic()
                    number = sock.connect_ex(address)
                except OSError as error:
                    number = error.errno or errno.EIO
                if number not in {0, errno.EINPROGRESS}:
                    drop(index, number)
                    race.failed(index)
                    continue
                poll.register(sock, select.POLLOUT)
                if (oldest := race.surplus()) is not None:
                    drop(oldest, errno.ETIMEDOUT)
                continue
            # Do not rely on the system to wake this when an unconnected socket is shut down.
            ready = {fd for fd, _ in poll.poll(1000 * min(pause, LIMITS.stop / 2))}
            cancellation.check()
            for index in [each for each in race.running if sockets[each].fileno() in ready]:
                number = sockets[index].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not number and _is_connected(sockets[index]):
                    seconds = time.monotonic() - begun[index]
                    return Connected(sockets.pop(index), targets[index][0], seconds)
                drop(index, number or errno.ECONNRESET)
                race.failed(index)
    finally:
        for sock in sockets.values():
            sock.close()
    for index in range(len(targets)):
        failures.setdefault(index, errno.ETIMEDOUT)
    addresses = [str(address[0]) for _, address in targets]
    raise Unreached(host, [(addresses[index], failures[index]) for index in sorted(failures)])


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def describe(failures: Sequence[tuple[str, int]], host: str = "") -> str:
    """The errors of a host's addresses, in one line.

    Args:
        failures: each address with an error number.
        host: already named in the message: its address is not repeated.
    """
    if len(failures) == 1 and failures[0][0] == host.strip("[]"):
        return _words(failures[0][1])
    causes: dict[str, list[str]] = {}
    for address, number in failures:
        causes.setdefault(_words(number), []).append(address)
    return ", ".join(f"{words} ({_listed(there)})" for words, there in causes.items())


def _words(number: int) -> str:
    return CAUSES.get(number) or os.strerror(number).lower()


def _listed(addresses: Sequence[str]) -> str:
    if len(addresses) > _SHOWN + 1:
        return f"{', '.join(addresses[:_SHOWN])} and {len(addresses) - _SHOWN} more"
    *most, last = addresses
    return f"{', '.join(most)} and {last}" if most else last


def is_loopback_name(host: str) -> bool:
    """Whether a name always means this host (RFC 6761, section 6.3)."""
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def resolve(
    host: str, port: int, timeout: float | None, cancellation: Cancellation
) -> list[Target]:
    """The addresses of a host.

    The resolver cannot be interrupted, so it runs in its own thread, which is abandoned when the
    run is stopped. `localhost` needs neither resolver nor `/etc/hosts`.

    Raises:
        OSError: there are none, or the resolver did not answer in time.
        CancelledError: the run was stopped.
    """
    if is_loopback_name(host):
        return [
            (socket.AF_INET, ("127.0.0.1", port)),
            (socket.AF_INET6, ("::1", port, 0, 0)),
        ]
    with suppress(socket.gaierror, UnicodeError):
        return _addresses(host, port, socket.AI_NUMERICHOST)
    # A signal handler may cancel while this very thread waits, which a `threading.Event` forbids.
    done: SimpleQueue[None] = SimpleQueue()
    found: list[Target] = []
    failures: list[OSError] = []

    def work() -> None:
        try:
            found.extend(_addresses(host, port, 0))
        except OSError as error:
            failures.append(error)
        except UnicodeError:
            failures.append(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        done.put(None)

    try:
        threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
    except RuntimeError:  # no more threads (seccomp, limits): without interruption then
        work()
    in_time = False
    with cancellation.interrupting(lambda: done.put(None)), suppress(Empty):
        done.get(timeout=timeout)
        in_time = True
    cancellation.check()
    if failures:
        raise failures[0]
    if not in_time:
        # The resolver's own error: with more name servers it waits longer.
        raise socket.gaierror(socket.EAI_AGAIN, "the name was not resolved in time")
    return found


def _addresses(host: str, port: int, flags: int) -> list[Target]:
    answers = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
    return [(family, address) for family, _, _, _, address in answers]
