"""Mirrors: asked before the registry, for as long as they answer.

What they deliver is checked by its digest. They never decide what a tag means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..errors import CancelledError, DockersaveError, NetworkError, NotFoundError
from ..trace import Trace
from .endpoint import Endpoint

T = TypeVar("T")

_STRIKES = 2
"""Failures in a row after which a mirror is no longer used."""


class Mirrors:
    """The mirrors of one registry, for one run.

    Args:
        endpoints: the mirrors, in the order in which they are asked.
        say: gets a topic, and a line about it for the user.
        trace: gets a line whenever one is skipped.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], say: Callable[[str, str], None], trace: Trace
    ) -> None:
        self._endpoints = endpoints
        self._say = say
        self._trace = trace
        self._strikes: dict[Endpoint, int] = {}
        self._asked: set[tuple[str, str, int]] = set()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._endpoints)

    def usable(self) -> Iterator[Endpoint]:
        """Those that have not failed too often."""
        return (each for each in self._endpoints if self._strikes.get(each, 0) < _STRIKES)

    def first(self, action: Callable[[Endpoint], T], home: Endpoint) -> T:
        """The result of the first endpoint that succeeds: the mirrors, then the registry.

        Args:
            action: gets an endpoint.
            home: the registry's.

        Raises:
            DockersaveError: all failed; the registry's error.
        """
        for mirror in self.usable():
            try:
                result = action(mirror)
            except CancelledError:
                raise
            except DockersaveError as error:
                if not isinstance(error, NotFoundError):
                    self._strikes[mirror] = self._strikes.get(mirror, 0) + 1
                self._say(mirror.name, f"{error.said}; continuing without the mirror")
                self._trace.say("mirror", f"{mirror.name} is skipped: {error.marked}")
            else:
                self._strikes.pop(mirror, None)
                return result
        return action(home)

    def ask_once(self, mirror: Endpoint, digest: str, start: int) -> None:
        """Note that a mirror is asked for a blob from a position on.

        Raises:
            NetworkError: it was before, and brought no bytes, or wrong ones.
        """
        asked = (mirror.base, digest, start)
        if asked in self._asked:
            raise NetworkError(f"{mirror.name}: did not deliver {digest}")
        self._asked.add(asked)
