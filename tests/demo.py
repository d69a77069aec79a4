"""The main job for real: save an image from a small registry on loopback, and look at it.

The registry is the tests' simulator in a process of its own; the command is the installed one.
Every line with a `$` is what one would type. The exit code is 0 only if all of it is right.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.registry.simulator import spawn

REPOSITORY = "demo/hello"
ARCHIVE = "demo-hello-latest.tar"

_MODULE = f"""import sys; sys.path[:0] = {sys.path!r}
from dockersave.cli import main; sys.exit(main())"""
"""Runs this interpreter's dockersave, wherever it runs."""


class DemoError(Exception):
    """Something did not work; the message says what."""


def _type(shown: list[str], command: list[str], folder: Path) -> str:
    """Print a command as one types it, run it in the folder, print and return what it says."""
    print(f"\n  $ {shlex.join(shown)}", flush=True)
    done = subprocess.run(
        [*command, *shown[1:]],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": ""},  # what is shown is what is installed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    for line in done.stdout.splitlines():
        print(f"    {line}")
    if done.returncode:
        raise DemoError(f"{shown[0]} ended with exit code {done.returncode}")
    return done.stdout


def _check(archive: Path, architecture: str | None = None) -> str:
    """Check an archive without dockersave's help; return what it holds."""
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        members = {name: file.read() for name, file in files.items() if file is not None}
    for name, content in members.items():
        folder, _, digest = name.rpartition("/")
        if folder == "blobs/sha256" and hashlib.sha256(content).hexdigest() != digest:
            raise DemoError(f"{name} is not what its name says")
    [image] = json.loads(members["manifest.json"])
    config = json.loads(members[image["Config"]])
    if architecture not in (None, config["architecture"]):
        raise DemoError(f"wanted {architecture}, got {config['architecture']}")
    for name, diff_id in zip(image["Layers"], config["rootfs"]["diff_ids"], strict=True):
        unpacked = hashlib.sha256(gzip.decompress(members[name])).hexdigest()
        if f"sha256:{unpacked}" != diff_id:
            raise DemoError(f"{name} does not unpack to {diff_id}")
    platform = f"{config['os']}/{config['architecture']}"
    return f"{len(image['Layers'])} layers for {platform}, every digest and diff_id is right"


def demo(command: list[str]) -> None:
    """Save, verify and list a sample image.

    Parameters:
        command: that starts dockersave.

    Raises:
        DemoError: a step failed.
    """
    with (
        spawn("--sample", f"everywhere={REPOSITORY}") as host,
        tempfile.TemporaryDirectory(prefix="dockersave-demo-") as name,
    ):
        folder = Path(name)
        image = f"{host}/{REPOSITORY}"
        print(f"A registry is up on {host}; it holds {REPOSITORY} for several platforms.")
        print("It speaks plain HTTP, so the commands need --insecure; real registries do not.")
        dockersave = ["dockersave", "--insecure"]
        _type([*dockersave, "--tags", image], command, folder)
        _type([*dockersave, image], command, folder)
        print(f"    ({_check(folder / ARCHIVE)})")
        _type(["dockersave", "--verify", ARCHIVE], command, folder)
        _type(["tar", "-tvf", ARCHIVE], ["tar"], folder)
        _type([*dockersave, "--arch", "arm64", "-o", "arm64.tar", image], command, folder)
        print(f"    ({_check(folder / 'arm64.tar', 'arm64')})")
        before = (folder / ARCHIVE).read_bytes()
        _type([*dockersave, "-q", "-o", "again.tar", image], command, folder)
        if (folder / "again.tar").read_bytes() != before:
            raise DemoError("the same image gave other bytes")
        print(f"    (again.tar is identical to {ARCHIVE}, byte for byte)")
    print(
        "\nAll of it worked. `docker load -i FILE` or `podman load -i FILE` takes these archives."
    )
    print("For a real image:  make install, then  dockersave debian", flush=True)


def main() -> int:
    """Run the demo; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--command", type=Path, help="the dockersave to show (default: the module)")
    given = parser.parse_args().command
    command = [str(given.absolute())] if given else [sys.executable, "-c", _MODULE]
    try:
        demo(command)
    except (DemoError, OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
