"""What `make reproducible` says about two builds that are not the same."""

from __future__ import annotations

import io
import marshal
import subprocess
import sys
import tarfile
from pathlib import Path

COMPARE = Path(__file__).parent.parent / "build" / "compare.py"


def program(modules: dict[str, bytes]) -> bytes:
    """Return a program of PyInstaller's, as far as it matters here."""
    table, content = [], b""
    for name, code in modules.items():
        table.append((name, (0, 12 + len(content), len(code))))
        content += code
    place = (12 + len(content)).to_bytes(4, "big")
    return b"\x7fELF PYZ\0MAGI" + place + content + marshal.dumps(table) + b"the rest"


def built(output: Path, launcher: bytes, files: dict[str, bytes]) -> Path:
    """Make what a build leaves in a directory."""
    output.mkdir(parents=True)
    (output / "launcher").write_bytes(launcher)
    with tarfile.open(output / "files.tar", "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return output


def compare(one: Path, other: Path) -> list[str]:
    """Return the names that it prints."""
    command = [sys.executable, str(COMPARE), str(one), str(other)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line.removeprefix("reproducible: differs: ") for line in done.stdout.splitlines()]


def test_names_what_differs(tmp_path: Path) -> None:
    same = {"libc.so.6": b"code"}
    a = {"dockersave.model.manifests": b"1", "dockersave.model.image": b"22", "gone": b"3"}
    b = {"dockersave.model.manifests": b"1", "dockersave.model.image": b"2?", "new": b"4"}
    first = built(tmp_path / "a", b"L", {**same, "dockersave-static": program(a), "x": b"x"})
    second = built(tmp_path / "b", b"l", {**same, "dockersave-static": program(b), "x": b"y"})
    assert compare(first, second) == [
        *("dockersave-static", "launcher"),
        *("module dockersave.model.image", "module gone", "module new", "x"),
    ]
    assert compare(first, first) == []
