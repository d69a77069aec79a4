"""Says in what two builds of dockersave-static differ: python build/compare.py DIRECTORY ANOTHER.

The directories are those in build/out where the parts of a build are: `static`, `static-arm64`.
"""

from __future__ import annotations

import marshal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

PROGRAM = "dockersave-static"


def contents(directory: Path) -> dict[str, bytes]:
    """Return all that a build put together: the launcher, files, and the modules in the program."""
    parts = {"launcher": (directory / "launcher").read_bytes()}
    with tarfile.open(directory / "files.tar") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content:
                parts[member.name] = content.read()
    parts.update((f"module {name}", code) for name, code in modules(parts[PROGRAM]))
    return parts


def modules(program: bytes) -> Iterator[tuple[str, bytes]]:
    """Return the modules in a program of PyInstaller's.

    Source: PyInstaller/archive/writers.py, ZlibArchiveWriter: "PYZ" and a zero, Python's number,
    where the table of contents begins, which is what marshal makes of (name, (kind, begin, size)).
    """
    archive = program[program.index(b"PYZ\0") :]
    for name, (_, begin, size) in marshal.loads(archive[int.from_bytes(archive[8:12]) :]):
        yield name, archive[begin : begin + size]


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Return the names of what is not in both builds, or not the same."""
    return sorted(name for name in one | other if one.get(name) != other.get(name))


if __name__ == "__main__":
    for difference in differences(*(contents(Path(directory)) for directory in sys.argv[1:])):
        print("reproducible: differs:", difference)
