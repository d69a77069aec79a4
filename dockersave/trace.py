"""What a run does, line by line: every request, and every decision that costs something.

With it, "why was this layer fetched twice?" is answered by reading. There is no secret in it: no
headers, no bodies, and no queries of URLs, which is where signatures are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Trace:
    """Where the lines go; nowhere unless somebody asked for them. May be used by any thread.

    Args:
        write: takes one line; None where nobody wants any.
    """

    __slots__ = ("_begun", "_conceal", "_write", "on")

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write
        self._begun = time.monotonic()
        self._conceal: list[Callable[[str], str]] = []
        self.on = write is not None
        """Whether anybody listens: what is costly to put into words asks first."""

    @classmethod
    def of(cls, write: Callable[[str], object] | None) -> Trace:
        """The trace of a run.

        Args:
            write: as above; None for the logger `dockersave`, if the application logs at all and
                wants to know that much. `logging` is not imported for that.
        """
        logging = sys.modules.get("logging")
        if write is None and logging is not None:
            logger = logging.getLogger("dockersave")
            if logger.isEnabledFor(logging.DEBUG):
                write = logger.debug
        if write is None:
            return cls()
        from .spelling import spelled_for

        return cls(spelled_for(write))

    def hide(self, conceal: Callable[[str], str]) -> None:
        """Have every line go through this first: it leaves out what must not be shown."""
        if self.on:
            self._conceal.append(conceal)

    def say(self, topic: str, text: str) -> None:
        """Write a line.

        Args:
            topic: what it is about, in one word: `request`, `retry`, `lease`.
            text: what happened, without any secret.
        """
        if self._write is not None:
            for conceal in self._conceal:
                text = conceal(text)
            # What servers say is repeated here; a terminal obeys control characters.
            text = "".join(char if char.isprintable() else "?" for char in text)
            self._write(f"{time.monotonic() - self._begun:8.3f} {topic}: {text}")


SILENT = Trace()
"""For whom no trace was given."""
