"""The judges, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.judges import Judges


@pytest.fixture(scope="session")
def judges() -> Iterator[Judges]:
    """Return all judges by name."""
    running = Judges()
    yield running
    running.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in here."""
    for item in items:
        if "judges" in getattr(item, "fixturenames", ()):
            item.add_marker("engines")
