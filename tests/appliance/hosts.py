"""Hosts as bare as they come: root directories with nothing in them but what a test puts there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

COMMAND = "dockersave-static"
NAME_PATTERN = "dockersave-" + "?" * 16
"""What the launcher's private directory is called."""


def leftovers(directory: Path) -> list[str]:
    """Return the private directories under a directory, however deep."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob(NAME_PATTERN))


class BareHost:
    """A root file system with the binary alone."""

    def __init__(self, root: Path, binary: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)
        shutil.copy(binary, root / COMMAND)

    def write(self, path: str, content: str) -> None:
        """Put a file into the root file system."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def run(
        self,
        *arguments: str,
        prepare: str = "",
        environment: Mapping[str, str] | None = None,
        namespaces: Sequence[str] = ("--mount", "--propagation", "private"),
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run the binary with this root.

        Args:
            arguments: for the binary.
            prepare: shell commands that run before, in namespaces of their own; `$R` is the root.
            environment: the only variables that the binary sees.
            namespaces: options for `unshare`.
            timeout: seconds.
        """
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        script = f'set -e\nR={self.root}\n{prepare}\nexec chroot "$R" "$@"'
        # chroot runs what is inside, so the environment is emptied before.
        command = ["unshare", *namespaces, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        command += [*variables, "sh", "-c", script, "sh", f"/{COMMAND}", *arguments]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
