"""A Debian package of the static binary, with its man pages and completions.

Source: Debian Policy Manual 4.6, chapters 5 (control files) and 12 (documentation).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

CONTROL = """\
Package: dockersave
Version: {version}
Architecture: {arch}
Maintainer: {maintainer}
Installed-Size: {size}
Section: utils
Priority: optional
Multi-Arch: foreign
Description: save container images from a registry without Docker
 Saves container images from a registry straight into a tar file that Docker,
 podman, containerd and skopeo load. It needs no daemon and no root, continues
 after an interruption, and verifies all that it writes.
 .
 This is the static binary. It needs no Python, and unpacks itself at each
 start, into a temporary directory that it removes when it ends.
"""

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: dockersave
Comment: The program has other components inside, each under its own licence:
 Python, OpenSSL, the C library and others. "dockersave --licenses" prints all
 of them.

Files: *
Copyright: {year} the authors of dockersave
License: Apache-2.0

License: Apache-2.0
 On Debian systems, the text of this licence is in
 /usr/share/common-licenses/Apache-2.0.
"""

CHANGELOG = """\
dockersave ({version}) stable; urgency=medium

  * Version {version}: see CHANGELOG.md in the sources.

 -- {maintainer}  {date}
"""

OVERRIDES = """\
# It is for hosts whose libraries are too old, or that have none.
dockersave: statically-linked-binary [usr/bin/dockersave]
dockersave: embedded-library zlib [usr/bin/dockersave]
"""

PLACES = {
    "bash-completion/": "bash-completion/",
    "fish/": "fish/",
    "man/": "man/",
    # Where Debian's own zsh looks.
    "zsh/site-functions/": "zsh/vendor-completions/",
}
"""Where files below PREFIX/share (`manual.py`) go in Debian's."""


@dataclass(frozen=True)
class Facts:
    """What all packages of a release have in common.

    Args:
        version: this project's.
        maintainer: name and address.
        epoch: the time of the release, in seconds since 1970.
    """

    version: str
    maintainer: str
    epoch: int

    @property
    def debian_version(self) -> str:
        """The version as Debian sorts it: 1.0rc1 is before 1.0."""
        return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", self.version)


def build(output: Path, arch: str, binary: Path, pages: Mapping[str, str], facts: Facts) -> None:
    """Build one package.

    Args:
        output: its name.
        arch: its architecture, in Debian's names.
        binary: the static binary.
        pages: man pages and completions, as `manual.py` has them.
        facts: about the release.

    Raises subprocess.CalledProcessError: dpkg-deb failed; it has said why.
    """
    with tempfile.TemporaryDirectory() as work:
        _lay(Path(work), arch, binary, pages, facts)
        subprocess.run(
            # With several threads it compresses to other bytes.
            ["dpkg-deb", "--root-owner-group", "--threads-max=1", "--build", work, output],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(facts.epoch)},
            check=True,
            stdout=subprocess.DEVNULL,
        )


def _lay(root: Path, arch: str, binary: Path, pages: Mapping[str, str], facts: Facts) -> None:
    """Write the package's files, and those about it, below a directory."""
    time = datetime.fromtimestamp(facts.epoch, UTC)
    fields = {
        "version": facts.debian_version,
        "arch": arch,
        "maintainer": facts.maintainer,
        "date": format_datetime(time),
        "year": time.year,
    }
    files = {"usr/bin/dockersave": binary.read_bytes()}
    for name, text in pages.items():
        start = next(start for start in PLACES if name.startswith(start))
        files[f"usr/share/{name.replace(start, PLACES[start], 1)}"] = text.encode()
    documents = "usr/share/doc/dockersave"
    files[f"{documents}/copyright"] = COPYRIGHT.format(**fields).encode()
    files[f"{documents}/changelog"] = CHANGELOG.format(**fields).encode()
    files["usr/share/lintian/overrides/dockersave"] = OVERRIDES.encode()
    sums = []
    for name, content in files.items():
        if "/man/" in name or name.endswith("/changelog"):
            name, content = f"{name}.gz", gzip.compress(content, 9, mtime=0)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if name.startswith("usr/bin/") else 0o644)
        sums.append(f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {name}\n")
    # In KiB; whatever is no file counts as one (Debian Policy Manual, 5.6.20).
    sizes = (path.stat().st_size if path.is_file() else 1 for path in root.rglob("*"))
    size = sum(-(-size // 1024) for size in sizes)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(CONTROL.format(**fields, size=size), encoding="utf-8")
    (root / "DEBIAN/md5sums").write_text("".join(sums), encoding="utf-8")
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (facts.epoch, facts.epoch))
