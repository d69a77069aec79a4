"""What tests of saves are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.registry.simulator import Simulator
from tests.saving.from_simulator import serving
from tests.saving.updating import BASE, ONE, TWO, layered


@pytest.fixture
def registry() -> Iterator[Simulator]:
    """Serve two images with the same base."""
    with serving(one=layered(BASE, ONE), two=layered(BASE, TWO), base=layered(BASE)) as served:
        yield served
