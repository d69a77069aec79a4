"""Whatever the input, only documented errors are raised, in bounded time and memory.

`make test` tries some inputs for each parser, `make test-long` six thousand, and lets a
coverage-guided fuzzer have its turn where there is one.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.targets import TARGETS

QUICK = 60
LONG = 6_000
SECONDS = 2.0
"""The processor time that one input may take."""
MEMORY = 64 << 20
"""Bytes that one input may add to the process."""
GUIDED_SECONDS = 15


def run(name: str, count: int) -> int:
    """Try a target with so many inputs; return how many there were."""
    target = TARGETS[name]
    tried = most = 0

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=count == QUICK,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def check(value: object) -> None:
        nonlocal tried, most
        tried += 1
        before, begun = peak(), time.process_time()
        target.check(value)
        assert time.process_time() - begun < SECONDS
        # Not what hypothesis takes itself.
        most = max(most, peak() - before)

    check()
    assert most < MEMORY, f"{name} takes {most >> 20} MiB"
    return tried


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors(name: str) -> None:
    assert run(name, QUICK) >= QUICK


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors_at_length(name: str) -> None:
    assert len(TARGETS) * LONG >= 100_000
    assert run(name, LONG) >= LONG


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_notices_what_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fuzzer that catches everything would find nothing."""
    target = TARGETS[name]

    @settings(max_examples=20, database=None, derandomize=True, deadline=None)
    @given(target.inputs)
    def check(value: object) -> None:
        with pytest.raises(ZeroDivisionError):
            target.check(value)

    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    module, _, function = target.under_test.rpartition(".")
    monkeypatch.setattr(f"{module}.{function}", broken)
    check()


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None and not os.environ.get("CI"),
    reason="make test-long installs atheris",
)
def test_guided_by_coverage(name: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", name, f"-max_total_time={GUIDED_SECONDS}"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
