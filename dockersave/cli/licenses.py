"""The licences of what this program is made of."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import metadata

_PARTS = ("dockersave", "urllib3", "backports.zstd")


def texts() -> Iterator[str]:
    """The texts, one after another: those that were built in, else those of what is installed."""
    bundle = getattr(sys, "_MEIPASS", None)
    if bundle:
        with open(os.path.join(bundle, "licenses.txt"), encoding="utf-8") as file:
            yield file.read().rstrip("\n")
        return
    for name in _PARTS:
        try:
            part = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            # A checkout is no distribution, and a new Python has zstd itself.
            continue
        yield f"{part.metadata['Name']} {part.version}: {_license(part)}\n"
        for path in part.files or ():
            if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE")):
                yield path.read_text()
    yield f"Python {sys.version.split()[0]}: PSF-2.0; see https://docs.python.org/3/license.html"


def _license(part: metadata.Distribution) -> str:
    fields = dict(part.metadata.json)
    return str(fields.get("license_expression") or fields.get("license") or "see below")
