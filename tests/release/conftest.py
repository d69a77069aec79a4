"""A release of stand-ins for two architectures, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.conftest import judges, pytest_collection_modifyitems
from tests.release.publishing import checkout, publish, stand_ins

__all__ = ["judges", "pytest_collection_modifyitems"]


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return what stands for the binaries."""
    return stand_ins(tmp_path_factory.mktemp("binaries"), "amd64", "armhf")


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory, binaries: dict[str, Path]) -> Path:
    """Return the directory with the release."""
    sources = checkout(tmp_path_factory.mktemp("sources"))
    done = publish(sources, binaries)
    assert not done.stderr
    return sources / "dist"
