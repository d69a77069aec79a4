"""The licences of this program's components."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

_PARTS = ("dockersave", "urllib3", "backports.zstd")


def texts() -> Iterator[str]:
    """The texts, one after another: those built in, or those of the installed packages."""
    bundle = getattr(sys, "_MEIPASS", None)
    if bundle:
        import lzma

        with lzma.open(os.path.join(bundle, "licenses.txt.xz"), "rt", encoding="utf-8") as file:
            yield file.read().rstrip("\n")
    else:
        yield from _installed()


def _installed() -> Iterator[str]:
    # Not in the static binary, which never gets here.
    from importlib import metadata

    for name in _PARTS:
        try:
            part = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            # A checkout is not a distribution, and newer Pythons include zstd.
            continue
        fields = dict(part.metadata.json)
        license = fields.get("license_expression") or fields.get("license") or "see below"
        yield f"{part.metadata['Name']} {part.version}: {license}\n"
        for path in part.files or ():
            if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE")):
                yield path.read_text()
    yield f"Python {sys.version.split()[0]}: PSF-2.0; see https://docs.python.org/3/license.html"
