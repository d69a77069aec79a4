"""What runs the command."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Runner, environment


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    """Return what runs the command in an empty directory."""

    def runs(
        *arguments: str | bytes, env: Mapping[str, str] | None = None, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        settings.setdefault("stdin", subprocess.DEVNULL)
        settings.setdefault("stdout", subprocess.PIPE)
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=environment(tmp_path, env),
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
            **settings,
        )

    return runs
