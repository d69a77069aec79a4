"""How little memory a save takes: control groups with a limit, and the least that is enough."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
MIB = 1 << 20
PATIENCE = 60
"""Seconds after which a run that reads its own code again and again counts as failed."""


@contextlib.contextmanager
def group(limit: int) -> Iterator[Callable[[], None]]:
    """Make a control group with so many bytes of memory; give what brings a process into it.

    Raises OSError where there is no control group that may be changed.
    """
    is_v1 = V1.is_dir()
    if not is_v1:
        (V2 / "cgroup.subtree_control").write_text("+memory")
    path = Path(tempfile.mkdtemp(prefix="dockersave-test-", dir=V1 if is_v1 else V2))

    def enter() -> None:
        (path / "cgroup.procs").write_text(str(os.getpid()))

    try:
        (path / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(limit))
        yield enter
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """Remove a control group, whose last process may just be ending."""
    for _ in range(200):
        try:
            return path.rmdir()
        except OSError:
            time.sleep(0.05)
    return path.rmdir()


def run(
    command: list[str], limit: int, directory: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command in a directory with so many bytes of memory."""
    with group(limit) as enter:
        return subprocess.run(
            command,
            cwd=directory,
            env=environment,
            preexec_fn=enter,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )


def least(command: list[str], directory: Path, environment: Mapping[str, str]) -> int:
    """Return with how many MiB a command ends well, and not with one less."""

    def works(limit: int) -> bool:
        try:
            return run(command, limit * MIB, directory, environment).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    low, high = 8, 64
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high
