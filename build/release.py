"""Fills dist/ with what is published of a version: `make release`.

    release.py                     only says whether it could
    release.py ARCH=BINARY...      does it; each binary as its build left it

The version is the package's. The time, the maintainer and the revision are those of the last
commit, so the same commit and binaries give the same bytes, whenever, wherever and by whomever.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import debian  # noqa: E402
import image  # noqa: E402
import manual  # noqa: E402
import sbom  # noqa: E402
from flit_core import buildapi  # noqa: E402

from dockersave import DockersaveError, __version__  # noqa: E402

TOOLS = {"git": "git", "dpkg-deb": "dpkg"}
"""Commands, and the Debian packages that have them."""


def facts() -> tuple[debian.Facts, str]:
    """Return what the last commit says, and which one that is.

    Raises SystemExit, with one line: something is missing, or there are changes since then.
    """
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            raise SystemExit(f"release: {tool} is missing (Debian package {package})")
    epoch, revision, maintainer = _git("log", "-1", "--format=%ct%n%H%n%an <%ae>").splitlines()
    changed = _git("status", "--porcelain").splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise SystemExit(f"release: not committed: {changed[0][3:]}{more}")
    return debian.Facts(__version__, maintainer, int(epoch)), revision


def fill(dist: Path, binaries: Mapping[str, Path], about: debian.Facts, revision: str) -> None:
    """Put everything into a directory.

    Args:
        dist: the directory, empty.
        binaries: architecture, in Debian's names -> the static binary.
        about: what the packages have in common.
        revision: the commit.
    """
    version = about.version
    created = datetime.fromtimestamp(about.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    os.environ["SOURCE_DATE_EPOCH"] = str(about.epoch)
    os.chdir(ROOT)
    buildapi.build_sdist(str(dist))
    buildapi.build_wheel(str(dist))
    pages = manual.texts()
    pack(pages, dist / f"dockersave-{version}-share.tar", about.epoch)
    for arch, binary in binaries.items():
        name = f"dockersave-static-{arch}"
        shutil.copyfile(binary, dist / name)
        (dist / name).chmod(0o755)
        document = sbom.spdx(binary, name, version, created)
        (dist / f"{name}.spdx.json").write_text(document, encoding="utf-8")
        package = dist / f"dockersave_{about.debian_version}_{arch}.deb"
        debian.build(package, arch, binary, pages, about)
    labels = {
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.title": "dockersave",
        "org.opencontainers.image.version": version,
    }
    image.write(dist / "dockersave-image.tar", binaries, version, created, labels)
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(dist.iterdir())
    ]
    (dist / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def pack(pages: Mapping[str, str], output: Path, epoch: int) -> None:
    """Write man pages and completions into a tar, in `share/`, the same on every machine."""
    with tarfile.open(output, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in pages.items():
            body = text.encode()
            entry = tarfile.TarInfo(f"share/{name}")
            entry.size, entry.mtime = len(body), epoch
            archive.addfile(entry, io.BytesIO(body))


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        (*_, reason) = done.stderr.strip().splitlines() or ["git failed"]
        raise SystemExit(f"release: needs the date and state of a commit: {reason}")
    return done.stdout


def main(words: list[str]) -> int:
    """Check, and if binaries are named, publish."""
    os.umask(0o022)
    about, revision = facts()
    binaries = {arch: Path(path).resolve() for arch, _, path in (w.partition("=") for w in words)}
    if not binaries:
        return 0
    dist, new = ROOT / "dist", ROOT / "build" / "out" / "release"
    for folder in (new, new.with_suffix(".old")):
        shutil.rmtree(folder, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        fill(new, binaries, about, revision)
    except (OSError, DockersaveError) as error:
        raise SystemExit(f"release: {error}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"release: {error.cmd[0]} failed: {error.returncode}") from None
    if dist.exists():
        dist.rename(new.with_suffix(".old"))
    new.rename(dist)
    shutil.rmtree(new.with_suffix(".old"), ignore_errors=True)
    for path in sorted(dist.iterdir()):
        print(f"dist/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
