"""A request to a registry with all that belongs to it, and its response."""

from __future__ import annotations

import time

from ..errors import NetworkError
from ..values import dataclass
from .connections import redirects
from .connections.transport import Response


@dataclass(slots=True)
class Answered:
    """A response with an unread body, and its URL."""

    response: Response
    url: str

    @property
    def host(self) -> str:
        """Who answered."""
        return redirects.host_of(self.url)


class Exchange:
    """A request with all its redirects and repetitions.

    Args:
        timeout: seconds after which no further request is sent; requests under way have their own.
    """

    def __init__(self, timeout: float) -> None:
        self._until = time.monotonic() + timeout
        self._timeout = timeout
        self._was_renewed = False

    def check(self, name: str) -> None:
        """Check that there is time for one more request.

        Args:
            name: the server.

        Raises:
            NetworkError: there is none.
        """
        if time.monotonic() > self._until:
            raise NetworkError(
                f"{name}: no answer within {self._timeout:g} seconds, redirects included",
                transient=True,
            )

    @property
    def can_renew(self) -> bool:
        """Whether a new signed URL may still be requested: once."""
        return not self._was_renewed

    def renew(self) -> None:
        """Note that a new signed URL is requested, or that nobody can give one."""
        self._was_renewed = True
