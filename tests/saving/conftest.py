"""What tests of saves are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.simulator import Simulator
from tests.saving.from_simulator import serving
from tests.saving.updating import BASE, ONE, TWO, Update, fresh, layered, saving


@pytest.fixture
def registry() -> Iterator[Simulator]:
    """Serve two images with the same base."""
    with serving(one=layered(BASE, ONE), two=layered(BASE, TWO), base=layered(BASE)) as served:
        yield served


@pytest.fixture
def update(registry: Simulator, tmp_path: Path) -> Update:
    """Save the first image, which an update to the second is to follow."""
    path = tmp_path / "root"
    expected = fresh(registry, "two", tmp_path / "fresh")
    saving(registry, "one", path)
    return Update(path, expected)
