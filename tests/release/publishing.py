"""A release made of a commit of these sources, somewhere else."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMITTED = 1_767_323_045  # 2026-01-02T03:04:05Z
PERSON = {"NAME": "A Tester", "EMAIL": "tester@example.org", "DATE": f"{COMMITTED} +0100"}


def git(folder: Path, *words: str) -> str:
    """Run git as somebody whose settings do not matter, and return what it prints."""
    person = {f"GIT_{of}_{key}": PERSON[key] for of in ("AUTHOR", "COMMITTER") for key in PERSON}
    nothing = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    command = ["git", "-c", "init.defaultBranch=main", *words]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **person, **nothing},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def checkout(folder: Path) -> Path:
    """Make a repository whose only commit is what lies in this one, committed or not."""
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split(
        "\0"
    ):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all of it")
    return folder


def publish(
    sources: Path,
    binaries: Mapping[str, Path],
    env: Mapping[str, str] | None = None,
    around: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run what `make release` runs once the binaries are built.

    Parameters:
        sources: a repository.
        binaries: architecture -> binary.
        env: variables on top of the environment.
        around: a command that runs it.
    """
    words = [f"{arch}={path}" for arch, path in binaries.items()]
    # Of the repository, which may be below another one.
    ceiling = {"GIT_CEILING_DIRECTORIES": str(sources.parent)}
    return subprocess.run(
        [*around, sys.executable, "build/release.py", *words],
        cwd=sources,
        env={**os.environ, **ceiling, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def stand_ins(folder: Path, *architectures: str) -> dict[str, Path]:
    """Make files in the place of binaries, with what their builds leave beside them."""
    components = script("components")
    component = components["Component"]
    listed = [
        component("dockersave", "1", "generic", "A text.", "Apache-2.0"),
        component("certifi", "2", "pypi", "Another text."),
        component("libssl3", "1:3~a+b", "deb/debian", "Another text.", qualifiers="arch=amd64"),
        component("musl", "", "generic", "A third."),
    ]
    made = {arch: folder / f"stand-in-{arch}" for arch in architectures}
    for arch, path in made.items():
        path.write_text(f"#!/bin/sh\necho stand-in for {arch}\n")
        Path(f"{path}.components.json").write_text(components["to_json"](listed))
    return made


def script(name: str) -> dict[str, Any]:
    """Return what a module in build/ has."""
    return runpy.run_path(str(ROOT / "build" / f"{name}.py"))
