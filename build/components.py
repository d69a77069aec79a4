"""What dockersave-static is made of, for ``--licenses`` and for the SBOM of a release."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from foreign import Target

ROOT = Path(__file__).resolve().parent.parent

ALWAYS = {
    "certifi": "certificate authorities, for hosts without any",
    "pyinstaller": "its bootloader; the exception covers programs built with it",
}
"""Distributions on PyPI of which something is inside beside modules, and what."""

NATIVE = {"staticx": "its fix for name services; the exception covers programs built with it"}
"""And of which only where the program is for this machine."""

LIBC = tuple(f"{usr}/lib/{sysconfig.get_config_var('MULTIARCH')}/libc.so.6" for usr in ("", "/usr"))
"""The library that the stage after PyInstaller adds, where Debian keeps it."""

COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*\w)")
"""How Debian's copyright files point to texts that many of them would contain."""


class Component(NamedTuple):
    """Something inside.

    Args:
        name: as its source calls it.
        version: empty if it states none.
        kind: where it is from, as package URLs have it: ``pypi``, ``deb/debian`` or ``generic``.
        text: its licence.
        expression: the same in SPDX's short form, if it states that.
        title: how it is listed; by default its name and version.
        qualifiers: which of several, as package URLs have it: ``arch=amd64&distro=debian-12``.
    """

    name: str
    version: str
    kind: str
    text: str
    expression: str = ""
    title: str = ""
    qualifiers: str = ""


def licenses(components: Iterable[Component], root: Path = Path("/")) -> str:
    """Return the licences of everything inside, after a list of what that is.

    Args:
        components: what is inside.
        root: where the texts are that others point to.

    Raises SystemExit, since there must not be a gap: a licence was not found.
    """
    chapters: dict[str, list[str]] = {}
    for each in components:
        title = each.title or f"{each.name} {each.version}"
        if not each.text.strip():
            raise SystemExit(f"components: there is no licence text for {title}")
        chapters.setdefault(each.text.strip(), []).append(title)
    # Links (GPL) stand for the newest version (GPL-3).
    pointers = COMMON.findall("\n".join(chapters))
    common = root / "usr" / "share" / "common-licenses"
    for path in sorted({(common / name).resolve() for name in pointers}):
        chapters.setdefault(_text(path).strip(), []).append(f"{path.name}, to which others point")
    rule = "=" * 72
    parts = ["\n".join(f"- {title}" for titles in chapters.values() for title in titles) + "\n"]
    parts += ["\n".join([rule, *titles, rule, "", text, ""]) for text, titles in chapters.items()]
    return "\n".join(parts)


def to_json(components: Iterable[Component]) -> str:
    """Return the components for `sbom.py`, with package URLs.

    Source: https://github.com/package-url/purl-spec, PURL-SPECIFICATION.rst.
    """
    listed = []
    for each in components:
        version = each.version and f"@{quote(each.version, safe='')}"
        purl = f"pkg:{each.kind}/{quote(each.name.lower(), safe='')}{version}"
        purl += each.qualifiers and f"?{each.qualifiers}"
        listed.append({**each._asdict(), "purl": purl})
    return json.dumps(listed, indent=1) + "\n"


def inside(
    packed: Iterable[str], launcher: bool, target: Target | None = None
) -> Iterator[Component]:
    """Return everything inside.

    Args:
        packed: paths of the modules and libraries that are packed.
        launcher: whether our launcher is added to them.
        target: the machine that they are for, if not this one.
    """
    from dockersave import __version__

    root = target.sysroot if target else Path("/")
    ours = _text(ROOT / "LICENSE")
    yield Component("dockersave", __version__, "generic", ours, "Apache-2.0")
    yield Component("Python", sys.version.split()[0], "generic", _python(root))
    files = [*packed] if target else [*packed, next(filter(os.path.exists, LIBC), LIBC[0])]
    parts = ALWAYS if target else ALWAYS | NATIVE
    wheels, packages = owners(files, target)
    for name in sorted(wheels | parts.keys()):
        wheel = _of_wheel(name)
        title = f"{name} {wheel.version}: {parts[name]}" if name in parts else ""
        yield wheel._replace(title=title)
    if launcher:
        compiler = metadata.distribution("ziglang")
        zstd = Path(str(compiler.locate_file("../../../zstd")))
        numbers = re.findall(r"define ZSTD_VERSION_\w+ +(\d+)", _text(zstd / "zstd.h"))
        text = _text(zstd / "LICENSE") + "\n" + _text(zstd / "COPYING")
        version = ".".join(numbers)
        title = f"Zstandard {version}, in the launcher"
        yield Component("zstd", version, "generic", text, title=title)
        zig = _of_wheel("ziglang")
        yield zig._replace(title=f"zig {zig.version}: its runtime, in the launcher")
        musl = _text(Path(str(compiler.locate_file("ziglang/lib/libc/musl/COPYRIGHT"))))
        yield Component("musl", "", "generic", musl, title="musl, the C library of the launcher")
    for package, version in packages.items():
        # What one source is made into is often several packages: libssl3t64:amd64.
        name, _, arch = package.partition(":")
        text = _text(root / f"usr/share/doc/{name}/copyright")
        title = f"Debian package {name} {version}"
        qualifiers = f"arch={arch}&distro={_distro(root)}"
        yield Component(name, version, "deb/debian", text, title=title, qualifiers=qualifiers)


def owners(files: Iterable[str], target: Target | None = None) -> tuple[set[str], dict[str, str]]:
    """Return the wheels that files are from, and Debian's packages with their versions.

    Raises SystemExit: a file is neither's, nor Python's, nor ours.
    """
    sites = {Path(str(wheel.locate_file(""))) for wheel in metadata.distributions()}
    imported = metadata.packages_distributions()
    # What is compiled for the target is of a wheel that has modules, too, or ours.
    ours = (ROOT / "dockersave", *((target.built,) if target else ()))
    wheels: set[str] = set()
    others = set()
    for path in map(Path, files):
        site = next(filter(path.is_relative_to, sites), None)
        if site:
            wheels.update(imported[path.relative_to(site).parts[0].partition(".")[0]])
        elif not any(map(path.is_relative_to, ours)):
            others.add(target.path_of(path) if target else path)
    root = target.sysroot if target else Path("/")
    packaged = _packaged(others, root)
    for path in sorted(others - packaged.keys()):
        # A Python that is nobody's package; what its LICENSE.txt covers.
        stdlib = Path(sysconfig.get_path("stdlib"))
        if not path.is_relative_to(stdlib) and not path.name.startswith("libpython"):
            raise SystemExit(f"components: whose is {path}? No licence of it is known")
    names = sorted(set(packaged.values()))
    command = [*_query(root), "--show", "--showformat", "${Version}\n", *names]
    versions = _output(command).splitlines() if names else []
    return wheels, dict(zip(names, versions, strict=True))


def _packaged(files: Iterable[Path], root: Path) -> dict[Path, str]:
    """Return which of Debian's packages files are from: of OpenSSL, glibc, …"""
    # The links of a merged /usr are not in the package's list.
    asked = {
        usr + f"/{path.relative_to(root)}".removeprefix("/usr"): file
        for file in files
        for path in (file, file.resolve())
        for usr in ("", "/usr")
    }
    found = {}
    for line in _output([*_query(root), "--search", *asked]).splitlines():
        package, _, path = line.partition(": ")
        if path in asked:
            found[asked[path]] = package.partition(", ")[0]
    return found


def _query(root: Path) -> list[str]:
    return ["dpkg-query", "--admindir", str(root / "var" / "lib" / "dpkg")]


def _output(command: list[str]) -> str:
    """Return what dpkg-query says: not all that is asked for is a package's, or it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _distro(root: Path) -> str:
    """Return which Debian a root directory has; until its release one has no number."""
    found = re.search(r'^VERSION_ID="?([\d.]+)', _text(root / "usr/lib/os-release"), re.MULTILINE)
    return f"debian-{found[1] if found else 'sid'}"


def _python(root: Path) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    documents = root / "usr" / "share" / "doc"
    places = [
        Path(sysconfig.get_path("stdlib"), "LICENSE.txt"),
        documents / f"python{version}" / "copyright",
        documents / f"libpython{version}" / "copyright",
    ]
    return _text(next(filter(Path.exists, places), places[-1]))


def _of_wheel(name: str) -> Component:
    wheel = metadata.distribution(name)
    text = "\n".join(
        _text(Path(str(wheel.locate_file(path))))
        for path in wheel.files or ()
        if path.parts[0].endswith(".dist-info")
        and path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))
    )
    expression = str(wheel.metadata.json.get("license_expression", ""))
    return Component(name, wheel.version, "pypi", text, expression)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SystemExit(f"components: a licence is not there: {error}") from None
