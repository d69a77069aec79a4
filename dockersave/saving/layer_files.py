"""Unpacked layers in files."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..values import dataclass


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A layer in a file.

    Args:
        file: its descriptor.
    """

    file: int

    def read(self, offset: int, amount: int) -> bytes:
        """Up to `amount` bytes; fewer only at the end."""
        return os.pread(self.file, amount, offset)


class LaterLayer:
    """A layer that is fetched when it is needed.

    Args:
        fetch: fetches it.
    """

    def __init__(self, fetch: Callable[[], LayerFile]) -> None:
        self._fetch = fetch
        self._layer: LayerFile | None = None

    def read(self, offset: int, amount: int) -> bytes:
        """Up to `amount` bytes; fewer only at the end."""
        return os.pread(self.file, amount, offset)

    @property
    def file(self) -> int:
        """Its descriptor."""
        if self._layer is None:
            self._layer = self._fetch()
        return self._layer.file
