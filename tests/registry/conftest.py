"""Fixtures for what talks to registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.registry.canary import canary

__all__ = ["canary", "home"]

_ELSEWHERE = (
    *("DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"),
    *("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of a user without logins or proxies."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return folder
