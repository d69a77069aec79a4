"""What a run shows of itself while it works.

`Progress` is the interface: the engine calls it, always from the thread that called `save`.
The command line's ways to show it are `console.Console` (nothing but words), `plain.Plain`,
`bar.Bar` and `jsonlines.JsonLines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Transfer(Protocol):
    """A blob on its way, as far as anybody who looks on needs to know. Sizes in bytes."""

    @property
    def digest(self) -> str:
        """Its digest."""

    @property
    def size(self) -> int:
        """How large it is."""

    @property
    def present(self) -> int:
        """How much of it is here."""

    @property
    def reused(self) -> int:
        """How much of that did not come over the network in this run."""

    @property
    def done(self) -> bool:
        """Whether it is here and verified."""


class Progress:
    """Shows nothing; what shows something is a subclass that overrides what it needs.

    Nothing that these methods raise is caught: an exception ends the run.
    """

    def phase(self, name: str) -> None:
        """The run has come to something that may take a while and is no transfer.

        Args:
            name: `resolving`, `checking` or `publishing`.
        """

    def start(self, transfers: Sequence[Transfer]) -> None:
        """These blobs are on their way now.

        Called again when there is more to do: for a directory after the archive, or for a
        download after an existing archive has been read.
        """

    def tick(self) -> None:
        """A moment has passed.

        Called about twenty times a second, and when something is done.
        """

    def finish(self) -> None:
        """The run is over, well or not. Called once, whatever else was."""
