"""How to watch a run.

`Progress` is the interface. It is always called from the thread that called `save`. The command
line implements it in `console.Console` (messages only), `plain.Plain`, `bar.Bar` and
`jsonlines.JsonLines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Transfer(Protocol):
    """A blob that is being fetched, for display. Sizes in bytes."""

    @property
    def digest(self) -> str:
        """Its digest."""

    @property
    def size(self) -> int:
        """Its size."""

    @property
    def present(self) -> int:
        """How much of it has arrived."""

    @property
    def reused(self) -> int:
        """How much of that was reused instead of fetched in this run."""

    @property
    def done(self) -> bool:
        """Whether it has arrived and is verified."""


class Progress:
    """Shows nothing. Subclasses override the methods they need.

    Exceptions from these methods are not caught: they end the run.
    """

    def phase(self, name: str) -> None:
        """The run has reached a phase that may take a while and is not a transfer.

        Args:
            name: `resolving`, `checking` or `publishing`.
        """

    def start(self, transfers: Sequence[Transfer]) -> None:
        """These blobs are being fetched now.

        Called again when there are more: for a directory after the archive, or for a download after
        an existing archive was read.
        """

    def tick(self) -> None:
        """Update the display.

        Called about twenty times a second, and whenever something is finished.
        """

    def finish(self) -> None:
        """The run is over, successful or not. Called exactly once."""
