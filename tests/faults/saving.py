"""Saving from a simulator: in this process, which is quick, or with the command."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dockersave.cancellation import Cancellation
from dockersave.errors import DockersaveError
from dockersave.model.options import Network, Options
from dockersave.saving.save import Saved, save
from tests.pace import until, without_progress
from tests.registry.simulator import Simulator

ROOT = Path(__file__).parents[2]

BLOBS = ("blob", "storage")
"""The kinds of request that layers are fetched with."""


def network(registry: Simulator, **wishes: Any) -> Network:
    """How a simulator is reached, without waiting long for anything."""
    trust: dict[str, Any] = (
        {"skip_tls_verify": True} if registry.scheme == "https" else {"insecure": True}
    )
    return Network(**{"timeout": 5.0, **trust, **wishes})


def saved(
    registry: Simulator,
    output: Path,
    image: str = "sample",
    *,
    options: Options | None = None,
    cancellation: Cancellation | None = None,
    **wishes: Any,
) -> Saved:
    """Save an image in this process; no thread may be left of it, whatever comes of it."""
    before = set(threading.enumerate())
    try:
        return save(
            f"{registry.host}/{image}",
            output=output,
            options=options,
            network=network(registry, **wishes),
            cancellation=cancellation,
        )
    finally:
        settle(registry)
        # One that connects ahead is told to stop, and ends a moment later.
        until(lambda: not _left(before), 20)


def _left(before: set[threading.Thread]) -> list[str]:
    """Names of the threads of a save that are still there; the simulator's own are none."""
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    return [name for name in left if not name.endswith(("-connection", "-accept"))]


def refused(registry: Simulator, output: Path, image: str = "sample", **wishes: Any) -> int:
    """Save an image, which must fail as a user wants it to: one line and an exit code."""
    with pytest.raises(DockersaveError) as caught:
        saved(registry, output, image, **wishes)
    failure = caught.value
    assert failure.message
    assert "\n" not in str(failure)
    assert failure.exit_code in (3, 4, 5, 6, 7, 130)
    return failure.exit_code


def settle(registry: Simulator) -> None:
    """Wait until the simulator has counted what it has sent."""
    end = time.monotonic() + 60
    while any(request.ended is None for request in registry.of(*BLOBS)):
        if time.monotonic() > end:
            return
        time.sleep(0.01)


def sha256(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetched(registry: Simulator) -> int:
    """How many bytes of layers the simulator has sent."""
    return sum(request.sent for request in registry.of(*BLOBS))


def command(registry: Simulator, *arguments: str, image: str | None = "sample") -> list[str]:
    """The command line that saves an image from a simulator."""
    trust = "--skip-tls-verify" if registry.scheme == "https" else "--insecure"
    images = [f"{registry.host}/{image}"] if image else []
    return [sys.executable, "-m", "dockersave", trust, *arguments, *images]


def environment(**more: str) -> dict[str, str]:
    """An environment in which the command is found from any directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "*", **more}


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did."""

    code: int
    out: bytes
    err: str
    seconds: float

    @property
    def error(self) -> list[str]:
        """The lines about what failed: the failure, and the hint."""
        lines = self.err.splitlines()
        starts = [at for at, line in enumerate(lines) if line.startswith("dockersave: error:")]
        return lines[starts[0] :] if starts else []


def run(
    registry: Simulator,
    *arguments: str,
    cwd: Path,
    image: str | None = "sample",
    timeout: float = 300,
    prefix: Sequence[str] = (),
) -> Result:
    """Run the command to its end."""
    begun = time.monotonic()
    done = subprocess.run(
        [*prefix, *command(registry, *arguments, image=image)],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    seconds = time.monotonic() - begun
    settle(registry)
    return Result(done.returncode, done.stdout, without_progress(done.stderr.decode()), seconds)


def start(
    registry: Simulator, *arguments: str, cwd: Path, image: str = "sample", **options: Any
) -> subprocess.Popen[bytes]:
    """Start the command."""
    return subprocess.Popen(
        command(registry, *arguments, image=image),
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        **{"stdout": subprocess.PIPE, **options},
    )
