"""Hosts as bare as they come: root directories with nothing in them but what a test puts there."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.documents import blocks
from tests.processes import program

ROOT = Path(__file__).parents[2]

COMMAND = "dockersave-static"
NAME_PATTERN = "dockersave-" + "?" * 16
"""What the launcher's private directory is called."""


def leftovers(directory: Path) -> list[str]:
    """Return the private directories under a directory, however deep."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob(NAME_PATTERN))


def executed(process: int) -> str:
    """Return the file that a process runs; under an emulator, what that emulates.

    Raises OSError if the process has ended.
    """
    running = os.readlink(f"/proc/{process}/exe")
    if not os.path.basename(running).startswith("qemu-"):
        return running
    # It is empty for a moment before the emulator runs.
    words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    return os.fsdecode(words[1]) if len(words) > 1 else running


def program_of(launcher: int) -> int | None:
    """Return the process in which a launcher runs the program, once it does."""
    try:
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        own = executed(launcher)
    except OSError:
        return None
    for child in children:
        try:
            running = executed(int(child))
        except OSError:
            continue
        if running != own and "dockersave-" in running:
            return int(child)
    return None


def example(language: str, containing: str = "") -> str:
    """Return the only code block of a language in the guide to booting that contains a text."""
    guide = ROOT / "dockersave" / "help" / "boot.md"
    (found,) = (block for block in blocks(guide, language) if containing in block)
    return found


def megabytes(binary: Path) -> int:
    """Return what the binary says that it unpacks to, rounded up."""
    (unpacked,) = struct.unpack("<Q", binary.read_bytes()[-32:-24])
    return int(unpacked) // 1_000_000 + 1


def temporary_space(binary: Path, directory: Path) -> int:
    """Return the bytes that a save takes in TMPDIR, which is to be an empty directory.

    Raises TimeoutError if not everything is there after 20 s.
    """
    words = ["127.0.0.1:1/x", "--wait", "20", "--quiet"]
    environment = {"TMPDIR": str(directory)}
    run = subprocess.Popen(
        [str(binary), *words],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        # Nothing is ever removed while it runs.
        deadline = time.monotonic() + 20
        before, space = -1, 0
        while not any(directory.rglob("_ssl*.so")) or space != before:
            if time.monotonic() > deadline:
                raise TimeoutError("not everything was unpacked in time")
            time.sleep(0.5)
            before = space
            space = sum(path.lstat().st_blocks * 512 for path in directory.rglob("*"))
        return space
    finally:
        run.terminate()
        run.wait(20)


class BareHost:
    """A root file system with nothing but the binary."""

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

    def add_program(self, name: str) -> None:
        """Put a program of this machine's into /bin, and its libraries where it looks for them."""
        found = program(name)
        ldd = subprocess.run(["ldd", found], capture_output=True, text=True, check=True)
        files = {path: path for path in re.findall(r"(/\S+) \(0x", ldd.stdout)}
        for source, path in {found: f"/bin/{name}", **files}.items():
            target = self.root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    def start(
        self,
        *arguments: str,
        prepare: str = "",
        environment: Mapping[str, str] | None = None,
        namespaces: Sequence[str] = ("--mount", "--propagation", "private"),
        network: int | None = None,
        command: Sequence[str] = (f"/{COMMAND}",),
    ) -> subprocess.Popen[str]:
        """Start the binary with this root.

        Args:
            arguments: for the binary.
            prepare: shell commands that run before, in namespaces of their own; `$R` is the root.
            environment: the only variables that the binary sees.
            namespaces: options for `unshare`.
            network: a process whose network it has.
            command: what is started in the binary's place.
        """
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        script = f'set -e\nR={self.root}\n{prepare}\nexec chroot "$R" "$@"'
        # chroot runs what is inside, so the environment is emptied before.
        words = ["nsenter", f"--net=/proc/{network}/ns/net"] if network else []
        words += ["unshare", *namespaces, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        words += [*variables, "sh", "-c", script, "sh", *command, *arguments]
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        )

    def run(
        self, *arguments: str, timeout: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the binary as `start` does, and wait for its end, at most `timeout` seconds."""
        process = self.start(*arguments, **options)
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
