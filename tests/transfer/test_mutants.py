"""Every change to what decides in the ledger is noticed by its tests, or is none.

mutmut changes the pure files, one small thing at a time, and runs `[tool.mutmut]` of
pyproject.toml's tests. What none of them notices must be in `mutants.txt`, with the reason why it
makes no difference.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_LISTED = Path(__file__).with_name("mutants.txt")
_NOTICED = {"killed", "timeout", "suspicious", "caught by type check"}


def _listed() -> Iterator[tuple[str, str, str]]:
    """What may survive: where, the line as it is, and as it was changed."""
    place = old = ""
    for line in _LISTED.read_text().splitlines():
        if line.startswith("- "):
            old = line[2:]
        elif line.startswith("+ "):
            yield place, old, line[2:]
        elif line and not line.startswith("#"):
            place, _, reason = line.partition(": ")
            assert reason, f"{place} without a reason"


def test_what_may_survive_is_in_the_code() -> None:
    sources = {
        name: (_ROOT / f"dockersave/transfer/{name}.py").read_text()
        for name in ("accounts", "blobs", "cutting", "gauge", "ledger", "memory", "spans")
    }
    for place, old, new in _listed():
        assert old in {line.strip() for line in sources[place.partition(".")[0]].splitlines()}
        assert old != new


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_all_mutants_are_noticed(tmp_path: Path) -> None:
    for name in ("dockersave", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(_ROOT / name, tmp_path)
    run = _mutmut(tmp_path, "run")
    results = re.findall(r"^\s+(\S+): (.+)$", _mutmut(tmp_path, "results", "--all", "1"), re.M)
    assert len(results) > 500, run[-2000:]
    left = [name for name, result in results if result not in _NOTICED]
    known = set(_listed())
    unknown = {name: diff for name in left if (diff := _diff(tmp_path, name)) not in known}
    assert not unknown, "\n\n".join(
        f"{diff[0]}:\n- {diff[1]}\n+ {diff[2]}" for diff in unknown.values()
    )


def _diff(folder: Path, name: str) -> tuple[str, str, str]:
    """Where a mutant is, the line as it is, and as it was changed."""
    shown = _mutmut(folder, "show", name).splitlines()
    changed = [line for line in shown if re.match(r"[-+](?![-+])", line)]
    old = " ".join(line[1:].strip() for line in changed if line[0] == "-")
    new = " ".join(line[1:].strip() for line in changed if line[0] == "+")
    place = re.sub(r"__mutmut_\d+$", "", name).removeprefix("dockersave.transfer.")
    return place.replace("xǁ", "").replace("ǁ", ".").replace(".x_", "."), old, new


def _mutmut(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "mutmut", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
