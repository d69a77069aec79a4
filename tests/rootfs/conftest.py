"""Where tests of stages write."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Return the name of a directory; no descriptor may stay open."""
    # What earlier tests have left to the collector is closed at any time.
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield tmp_path / "root"
    assert len(os.listdir("/proc/self/fd")) <= before
