"""Debian packages that a lock names, each checked by its hash, unpacked into a directory.

    sysroot.py fetch LOCK PACKAGES         download what is not in the directory PACKAGES yet
    sysroot.py unpack LOCK PACKAGES ROOT   and unpack it: nothing of it is run

ROOT gets dpkg's database, too, so that `dpkg-query` tells what is in it. Packages are fetched from
where apt fetches this machine's, or from DEBIAN_MIRROR.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIMEOUT = 60
"""Of a server that says nothing, seconds."""


def read_lock(lock: Path) -> dict[str, str]:
    """Return the packages in a lock: their paths on a mirror, and their SHA-256.

    Raises SystemExit if a line is none of `sha256sum`'s.
    """
    packages = {}
    for number, line in enumerate(lock.read_text().splitlines(), 1):
        digest, _, path = line.partition("  ")
        if len(digest) != 64 or not path.endswith(".deb"):
            raise SystemExit(f"sysroot: {lock}, line {number}: no hash and path of a package")
        packages[path] = digest
    return packages


@functools.cache
def mirror() -> str:
    """Return the directory on a server that has `debian` in it.

    Raises SystemExit if apt does not know one.
    """
    given = os.environ.get("DEBIAN_MIRROR")
    if not given:
        command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except FileNotFoundError:
            answer = ""
        mirrors = (line.rstrip("/") for line in answer.splitlines())
        given = next((line for line in mirrors if line.endswith("/debian")), None)
    if not given:
        raise SystemExit("sysroot: apt has no mirror of Debian's; name one: DEBIAN_MIRROR=")
    return given.rstrip("/").removesuffix("/debian")


def file_of(path: str, packages: Path) -> Path:
    """Return where a package is kept, as apt names it."""
    return packages / urllib.parse.unquote(path).rpartition("/")[2]


def fetch(path: str, digest: str, file: Path) -> None:
    """Download a package, unless it is there, and check it.

    Raises SystemExit: it cannot be had, or is not the one that was locked.
    """
    if not file.exists():
        url = f"{mirror()}/{path}"
        part = file.with_name(f"{file.name}.part")
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, part.open("wb") as output:
                shutil.copyfileobj(answer, output)
        except (OSError, ValueError) as error:
            advice = ""
            if isinstance(error, urllib.error.HTTPError) and error.code == 404:
                advice = " (superseded? `make lock`, or DEBIAN_MIRROR= with old packages)"
            raise SystemExit(f"sysroot: {url}: {error}{advice}") from None
        part.replace(file)
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != digest:
        raise SystemExit(f"sysroot: {file} has SHA-256 {found}, not {digest} as locked: remove it")


def fetch_all(lock: Path, packages: Path) -> list[Path]:
    """Download what a lock names, and return the files. Raises SystemExit as `fetch` does."""
    wanted = read_lock(lock)
    packages.mkdir(parents=True, exist_ok=True)
    files = [file_of(path, packages) for path in wanted]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fetch, wanted.keys(), wanted.values(), files))
    return files


def merge_usr(root: Path) -> None:
    """Have a package's /lib in /usr/lib, as in any Debian, and as the packages have it since 13."""
    for name in ("lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")


def unpack(file: Path, root: Path) -> None:
    """Unpack a package, and take note of it in dpkg's database."""
    database = root / "var" / "lib" / "dpkg"
    (database / "info").mkdir(parents=True, exist_ok=True)
    fields = subprocess.run(
        ["dpkg-deb", "--field", file], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    name = next(line for line in fields.splitlines() if line.startswith("Package: "))
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as content:
        listed = subprocess.run(
            ["tar", "-xpv", "--no-same-owner", "--keep-directory-symlink", "--directory", root],
            stdin=content.stdout,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    if content.returncode:
        raise SystemExit(f"sysroot: {file} could not be unpacked")
    files = [f"/{path.removeprefix('./')}\n" for path in listed.splitlines() if path[-1] != "/"]
    (database / "info" / f"{name.split()[1]}.list").write_text("".join(files))
    with (database / "status").open("a") as status:
        status.write(f"Status: install ok installed\n{fields}\n")


def main(arguments: list[str]) -> int:
    match arguments:
        case ["fetch", lock, packages]:
            fetch_all(Path(lock), Path(packages))
        case ["unpack", lock, packages, root]:
            files = fetch_all(Path(lock), Path(packages))
            shutil.rmtree(root, ignore_errors=True)
            merge_usr(Path(root))
            for file in files:
                unpack(file, Path(root))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
