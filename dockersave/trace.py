"""What a run does, line by line: every request and every costly decision.

It answers questions such as "why was this layer fetched twice?". It contains no secrets: no
headers, no bodies, and no URL queries, which hold signatures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from .spelling import as_python


class Trace:
    """Where the lines go, if anywhere. Thread-safe.

    Args:
        write: takes one line; None for nowhere.
    """

    __slots__ = ("_begun", "_conceal", "_spell", "_write", "on")

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write
        self._begun = time.monotonic()
        self._conceal: list[Callable[[str], str]] = []
        self._spell: Callable[[str], str] = getattr(write, "spell", as_python)
        self.on = write is not None
        """Whether anybody listens: check it before formatting costly lines."""

    @classmethod
    def of(cls, write: Callable[[str], object] | None) -> Trace:
        """The trace of a run.

        Args:
            write: as above; None for the logger `dockersave`, if the application has imported
                `logging` and set that logger to DEBUG.
        """
        logging = sys.modules.get("logging")
        if write is None and logging is not None:
            logger = logging.getLogger("dockersave")
            if logger.isEnabledFor(logging.DEBUG):
                write = logger.debug
        if write is None:
            return cls()
        return cls(write)

    def hide(self, conceal: Callable[[str], str]) -> None:
        """Pass every line through this first. It removes secrets."""
        if self.on:
            self._conceal.append(conceal)

    def say(self, topic: str, text: str) -> None:
        """Write a line.

        Args:
            topic: the subject, in one word: `request`, `retry`, `lease`.
            text: what happened.
        """
        if self._write is not None:
            text = self._spell(text)
            for conceal in self._conceal:
                text = conceal(text)
            # Lines repeat what servers send, and terminals obey control characters.
            text = "".join(char if char.isprintable() else "?" for char in text)
            self._write(f"{time.monotonic() - self._begun:8.3f} {topic}: {text}")


SILENT = Trace()
"""The trace if none was given."""
