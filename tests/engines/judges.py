"""All judges by name, started when they are asked for."""

from __future__ import annotations

import shutil

from tests.engines.containerd import ContainerdOverlayfs
from tests.engines.judge import Judge
from tests.engines.matrix import JUDGES
from tests.processes import scratch

OVERLAYFS = "containerd overlayfs"
_ALL = {**JUDGES, OVERLAYFS: ContainerdOverlayfs}
"""The last one takes the same archives as the other containerd."""


class Judges:
    """Starts judges when they are asked for, and ends them all."""

    def __init__(self) -> None:
        self.folder = scratch("engines")
        self._running: dict[str, Judge] = {}

    def __getitem__(self, name: str) -> Judge:
        if name not in self._running:
            folder = self.folder / name
            folder.mkdir()
            self._running[name] = _ALL[name](folder)
        return self._running[name]

    def close(self) -> None:
        """End all of them, and remove what they stored."""
        for judge in self._running.values():
            judge.close()
        shutil.rmtree(self.folder, ignore_errors=True)
