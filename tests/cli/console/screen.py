"""A terminal that is emulated, a clock that stands still, and transfers as a test sets them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

import pyte

from dockersave import Platform, Reference, Saved, SavedImage

MB = 1_000_000


@dataclass
class Layer:
    """A transfer whose state a test sets."""

    name: str
    size: int
    present: int = 0
    reused: int = 0
    done: bool = False

    @property
    def digest(self) -> str:
        return f"sha256:{self.name * 64}"[:71]

    def finish(self) -> None:
        self.present, self.done = self.size, True


class Clock:
    """A clock that advances when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A terminal: what is written to it appears on a screen of `columns` × `lines`."""

    def __init__(self, columns: int, lines: int = 16) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self.frames: list[str] = []

    encoding = "utf-8"

    def write(self, text: str) -> int:
        self.frames.append(text)
        # What a terminal's line discipline does.
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    @property
    def shown(self) -> list[str]:
        """The lines on the screen, without those that are empty at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n").split("\n")

    @property
    def size(self) -> os.terminal_size:
        return os.terminal_size((self.screen.columns, self.screen.lines))


def saved() -> Saved:
    """The result of a save."""
    reference = Reference.parse("debian:12")
    platform = Platform("linux", "arm", "v7")
    image = SavedImage(reference, "sha256:" + "0" * 64, platform, (platform,))
    return Saved(("debian.tar",), (image,), 50 * MB, 30 * MB, 20 * MB, False)
