"""Runs a command where another machine's programs run, too: emulated.py EMULATOR PROGRAM COMMAND...

Linux hands them to an emulator (binfmt_misc) in a user namespace of their own, so nothing on this
machine changes, and nobody else notices. It opens the emulator at once, so it is found in every
root directory. The network is another one, too, with a loopback device, since a namespace of users
has no say in that of others.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

NEW_MOUNTS, NEW_USERS, NEW_PROCESSES, NEW_NETWORK = 0x20000, 0x10000000, 0x20000000, 0x40000000
"""From Linux's sched.h."""
MASK = b"\xff" * 7 + b"\0" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
"""What of the beginning of a program tells for which machine it is; position-independent or not."""
REGISTER = Path("/proc/sys/fs/binfmt_misc/register")


class UnableError(Exception):
    """This kernel or this machine cannot do it."""


def check(what: str, result: int) -> None:
    """Raise UnableError if a function of the C library failed."""
    if result != 0:
        raise UnableError(f"{what}: {os.strerror(ctypes.get_errno())}")


def map_users(process: int) -> None:
    """Let a process have the same users in its namespace as there are here, or only its own."""
    everybody = "0 0 4294967295"
    for kind, own in (("uid", os.getuid()), ("gid", os.getgid())):
        if os.getuid() != 0 and kind == "gid":
            Path(f"/proc/{process}/setgroups").write_text("deny")
        text = everybody if os.getuid() == 0 else f"0 {own} 1"
        Path(f"/proc/{process}/{kind}_map").write_text(text)


def entry(emulator: str, program: bytes) -> str:
    """Return what registers an emulator for programs like this one.

    Source: Linux, Documentation/admin-guide/binfmt-misc.rst. P: it is told how it was called; O and
    F: it gets the program open, and is open itself; C: nobody gains rights by it.
    """
    magic, mask = ("".join(f"\\x{byte:02x}" for byte in code) for code in (program, MASK))
    return f":{Path(emulator).name}:M::{magic}:{mask}:{emulator}:POCF"


def prepare(emulator: str, program: bytes) -> None:
    """Make the kernel run programs like this one. Raises UnableError."""
    libc = ctypes.CDLL(None, use_errno=True)
    check("mount /proc", libc.mount(b"proc", b"/proc", b"proc", 0, None))
    mounted = libc.mount(b"none", bytes(REGISTER.parent), b"binfmt_misc", 0, None)
    check("binfmt_misc in a user namespace, which needs Linux 6.7 or later", mounted)
    REGISTER.write_text(entry(emulator, program))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def run(emulator: str, program: Path, command: list[str]) -> int:
    """Run a command where programs like `program` run. Raises UnableError."""
    found = shutil.which(emulator)
    if found is None:
        raise UnableError(f"{emulator} is not installed (qemu-user-static)")
    with program.open("rb") as file:
        code = file.read(len(MASK))
    libc = ctypes.CDLL(None, use_errno=True)
    told, tell = os.pipe()
    mapped, mapping = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        os.close(mapped)
        if os.read(told, 1):
            map_users(child)
            os.write(mapping, b"m")
        os.close(mapping)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(told)
    os.close(mapping)
    spaces = NEW_USERS | NEW_MOUNTS | NEW_PROCESSES | NEW_NETWORK
    check("new namespaces", libc.unshare(spaces))
    os.write(tell, b"u")
    if not os.read(mapped, 1):
        raise UnableError("no users in the new namespace")
    os.setuid(0)
    first = os.fork()
    if first:
        return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    prepare(found, code)
    # This is process 1, whose end is that of all others.
    return subprocess.run(command, check=False).returncode


def main(arguments: list[str]) -> int:
    emulator, program, *command = arguments
    try:
        return run(emulator, Path(program), command)
    except (UnableError, OSError) as error:
        print(f"emulated: cannot run {program} here: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]) & 0xFF)
