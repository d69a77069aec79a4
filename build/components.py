"""What dockersave-static is made of, for ``--licenses``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ALWAYS = {
    "certifi": "certificate authorities, for hosts without any",
    "pyinstaller": "its bootloader; the exception covers programs built with it",
    "staticx": "its fix for name services; the exception covers programs built with it",
}
"""Distributions on PyPI of which something is inside beside modules, and what."""

LIBC = ("/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6")
"""The library that the stage after PyInstaller adds, where Debian keeps it."""

COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*\w)")
"""How Debian's copyright files point to texts that many of them would contain."""


def licenses(packed: Iterable[str], launcher: bool) -> str:
    """Return the licences of everything inside, after a list of what that is.

    Args:
        packed: paths of the modules and libraries that are packed.
        launcher: whether our launcher is added to them.

    Raises SystemExit, since there must not be a gap: a licence was not found.
    """
    chapters: dict[str, list[str]] = {}
    for component, text in _components(packed, launcher):
        if not text.strip():
            raise SystemExit(f"components: there is no licence text for {component}")
        chapters.setdefault(text.strip(), []).append(component)
    # Links (GPL) stand for the newest version (GPL-3).
    pointers = COMMON.findall("\n".join(chapters))
    for path in sorted({Path("/usr/share/common-licenses", name).resolve() for name in pointers}):
        chapters.setdefault(_text(path).strip(), []).append(f"{path.name}, to which others point")
    rule = "=" * 72
    parts = ["\n".join(f"- {title}" for titles in chapters.values() for title in titles) + "\n"]
    parts += ["\n".join([rule, *titles, rule, "", text, ""]) for text, titles in chapters.items()]
    return "\n".join(parts)


def _components(packed: Iterable[str], launcher: bool) -> Iterator[tuple[str, str]]:
    """Return each component's name and version, and its licence."""
    from dockersave import __version__

    yield f"dockersave {__version__}", _text(ROOT / "LICENSE")
    yield f"Python {sys.version.split()[0]}", _python()
    wheels, packages = owners([*packed, next(filter(os.path.exists, LIBC), LIBC[0])])
    for name in sorted(wheels | ALWAYS.keys()):
        wheel = metadata.distribution(name)
        part = f": {ALWAYS[name]}" if name in ALWAYS else ""
        yield f"{name} {wheel.version}{part}", _of_wheel(wheel)
    if launcher:
        zstd = Path(sys.prefix, "zstd")
        numbers = re.findall(r"define ZSTD_VERSION_\w+ +(\d+)", _text(zstd / "zstd.h"))
        text = _text(zstd / "LICENSE") + "\n" + _text(zstd / "COPYING")
        yield f"Zstandard {'.'.join(numbers)}, in the launcher", text
        zig = metadata.distribution("ziglang")
        yield f"zig {zig.version}: its runtime, in the launcher", _of_wheel(zig)
        musl = Path(str(zig.locate_file("ziglang/lib/libc/musl/COPYRIGHT")))
        yield "musl, the C library of the launcher", _text(musl)
    for package, version in packages.items():
        # What one source is made into is often several packages: libssl3t64:amd64.
        name = package.partition(":")[0]
        yield f"Debian package {name} {version}", _text(Path(f"/usr/share/doc/{name}/copyright"))


def owners(files: Iterable[str]) -> tuple[set[str], dict[str, str]]:
    """Return the wheels that files are from, and Debian's packages with their versions.

    Raises SystemExit: a file is neither's, nor Python's, nor ours.
    """
    site = Path(sysconfig.get_path("purelib"))
    imported = metadata.packages_distributions()
    wheels: set[str] = set()
    others = set()
    for path in map(Path, files):
        if path.is_relative_to(site):
            wheels.update(imported[path.relative_to(site).parts[0].partition(".")[0]])
        elif not path.is_relative_to(ROOT / "dockersave"):
            others.add(path)
    packaged = _packaged(others)
    for path in sorted(others - packaged.keys()):
        # A Python that is nobody's package; what its LICENSE.txt covers.
        stdlib = Path(sysconfig.get_path("stdlib"))
        if not path.is_relative_to(stdlib) and not path.name.startswith("libpython"):
            raise SystemExit(f"components: whose is {path}? No licence of it is known")
    names = sorted(set(packaged.values()))
    command = ["dpkg-query", "--show", "--showformat", "${Version}\n", *names]
    versions = _output(command).splitlines() if names else []
    return wheels, dict(zip(names, versions, strict=True))


def _packaged(files: Iterable[Path]) -> dict[Path, str]:
    """Return which of Debian's packages files are from: of OpenSSL, glibc, …"""
    # The links of a merged /usr are not in the package's list.
    asked = {
        root + str(path).removeprefix("/usr"): file
        for file in files
        for path in (file, file.resolve())
        for root in ("", "/usr")
    }
    found = {}
    for line in _output(["dpkg-query", "--search", *asked]).splitlines():
        package, _, path = line.partition(": ")
        if path in asked:
            found[asked[path]] = package.partition(", ")[0]
    return found


def _output(command: list[str]) -> str:
    """Return what dpkg-query says: not all that is asked for is a package's, or it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _python() -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    return _text(own if own.exists() else Path(f"/usr/share/doc/python{version}/copyright"))


def _of_wheel(wheel: metadata.Distribution) -> str:
    return "\n".join(
        _text(Path(str(wheel.locate_file(path))))
        for path in wheel.files or ()
        if path.parts[0].endswith(".dist-info")
        and path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SystemExit(f"components: a licence is not there: {error}") from None
