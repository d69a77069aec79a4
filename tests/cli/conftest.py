"""What runs the command."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Runner, environment
from tests.pace import without_progress


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    """Return what runs the command in an empty directory."""

    def runs(
        *arguments: str | bytes, env: Mapping[str, str] | None = None, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        settings.setdefault("stdin", subprocess.DEVNULL)
        settings.setdefault("stdout", subprocess.PIPE)
        done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=environment(tmp_path, env),
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            timeout=300,
            check=False,
            **settings,
        )
        done.stderr = without_progress(done.stderr)
        return done

    return runs
