"""What tests of signatures start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.signatures import maker
from tests.signatures.keyring import public


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the key of `maker`."""
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    path.write_bytes(public(maker.KIND))
    return str(path)
