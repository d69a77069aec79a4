"""Fixtures for what goes wrong."""

from __future__ import annotations

import pytest

from dockersave import retry_policy


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between two tries: how long they are is tested elsewhere."""
    monkeypatch.setattr(retry_policy, "_FIRST_PAUSE", 0.01)
