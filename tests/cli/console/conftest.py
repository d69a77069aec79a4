"""Fixtures for what a run shows."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.cli.console.screen import Clock, Terminal


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Terminal]:
    def make(columns: int) -> Terminal:
        made = Terminal(columns)
        monkeypatch.setattr(sys, "stderr", made)
        return made

    return make
