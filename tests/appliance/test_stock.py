"""The usual recipe, PyInstaller and staticx to the letter: what LAUNCHER=stock makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.appliance.conftest import WORK
from tests.registry.real import Registries


@pytest.mark.long
def test_main_job(registries: Registries, tmp_path: Path) -> None:
    registry = registries.get(tls=True)
    words = ["-o", "a.tar", "--gunzip", "--ca-file", str(registry.ca_file)]
    environment = {"TMPDIR": str(tmp_path), "LD_LIBRARY_PATH": "/none"}
    command = [str(WORK / "stock"), *words, registry.reference("zstd")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
