"""How little memory a save takes: control groups with a limit, and the least with which it ends well."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup/memory")
"""Of cgroup v1, as on the machines where this is measured."""
MIB = 1 << 20


@contextlib.contextmanager
def group(limit: int) -> Iterator[Callable[[], None]]:
    """Make a control group with so many bytes of memory; give what brings a process into it.

    Raises OSError where cgroup v1 is not mounted or may not be changed.
    """
    path = Path(tempfile.mkdtemp(prefix="dockersave-test-", dir=GROUPS))
    try:
        (path / "memory.limit_in_bytes").write_text(str(limit))
        with contextlib.suppress(OSError):  # where swap is counted
            (path / "memory.memsw.limit_in_bytes").write_text(str(limit))
        yield lambda: (path / "cgroup.procs").write_text(str(os.getpid())) and None
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Remove a control group, whose last process may just be ending."""
    for _ in range(100):
        try:
            path.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            return
    path.rmdir()


def run(
    command: list[str], limit: int, directory: Path, environment: dict[str, str]
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
            timeout=300,
        )


def least(works: Callable[[int], bool], most: int = 96) -> int:
    """Return with how many MiB it works, and not with one less."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle * MIB) else (middle, high)
    return high
