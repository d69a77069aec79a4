"""What dockersave-static is made of, for ``--licenses``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

WHEELS = {
    "urllib3": "HTTP",
    "backports.zstd": "zstd for Python below 3.14",
    "certifi": "certificate authorities, for hosts without any",
    "pyinstaller": "its bootloader and import hooks; the exception covers programs built with it",
    "staticx": "its fix for name services; the exception covers programs built with it",
    "zstandard": "the zstd library in the launcher",
}
"""Distribution on PyPI -> what of it is inside."""

ALWAYS = ["/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"]
"""Libraries that the stage after PyInstaller adds, where Debian keeps them."""


def licenses(libraries: Iterable[str]) -> str:
    """Return the licences of everything inside.

    Args:
        libraries: paths of the shared libraries and extension modules that are packed.
    """
    root = Path(__file__).parent.parent
    chapters = [("dockersave", (root / "LICENSE").read_text())]
    chapters.append((f"Python {sys.version.split()[0]}", _python()))
    for name, part in WHEELS.items():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        texts = [
            Path(str(found.locate_file(path))).read_text(encoding="utf-8", errors="replace")
            for path in found.files or ()
            if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))
        ]
        chapters.append((f"{name} {found.version}: {part}", "\n".join(texts)))
    chapters.append(("musl, the C library of the launcher", _musl()))
    for package, text in sorted(_debian([*libraries, *ALWAYS]).items()):
        chapters.append((f"Debian package {package}", text))
    rule = "=" * 72
    return "\n".join(f"{rule}\n{title}\n{rule}\n\n{text.strip()}\n" for title, text in chapters)


def _python() -> str:
    stdlib = Path(sysconfig.get_path("stdlib"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for path in (stdlib / "LICENSE.txt", Path(f"/usr/share/doc/python{version}/copyright")):
        if path.exists():
            return path.read_text(encoding="utf-8")
    return "PSF-2.0: https://docs.python.org/3/license.html"


def _musl() -> str:
    zig = metadata.distribution("ziglang")
    for path in zig.files or ():
        if path.match("libc/musl/COPYRIGHT"):
            return Path(str(zig.locate_file(path))).read_text(encoding="utf-8")
    return "MIT: https://git.musl-libc.org/cgit/musl/tree/COPYRIGHT"


def _debian(libraries: Iterable[str]) -> dict[str, str]:
    """Return the copyright files of the packages that libraries are from: OpenSSL, glibc, …"""
    texts = {}
    for library in libraries:
        owner = ""
        for path in dict.fromkeys((library, str(Path(library).resolve()))):
            # The links of a merged /usr are not in the package's list.
            for candidate in (path, path.removeprefix("/usr")):
                if not owner and shutil.which("dpkg-query"):
                    command = ["dpkg-query", "--search", candidate]
                    answer = subprocess.run(command, capture_output=True, text=True, check=False)
                    owner = answer.stdout.partition(":")[0]
        copyright_file = Path(f"/usr/share/doc/{owner}/copyright")
        if owner and copyright_file.exists():
            texts[owner] = copyright_file.read_text(encoding="utf-8", errors="replace")
    return texts
