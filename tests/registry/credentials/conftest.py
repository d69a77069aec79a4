"""Fixtures for credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.registry.credentials.finder import Finder


@pytest.fixture
def finder(home: Path) -> Finder:
    return Finder(home)
