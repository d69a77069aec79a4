"""The clock of a file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dockersave.rootfs import clock


@pytest.mark.parametrize(("times", "expected"), [([5, 5, 5, 6], 5), ([5, 6], 5), ([5] * 9, 0)])
def test_a_time_is_over_when_the_clock_goes_on(
    times: list[int], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(times)
    monkeypatch.setattr(clock, "_TICKS", 8)
    monkeypatch.setattr(clock, "now", lambda *file: next(left))
    assert clock.past(0, "mark") == expected


def test_what_is_changed_later_has_a_later_time(tmp_path: Path) -> None:
    (tmp_path / "mark").touch()
    (tmp_path / "before").touch()
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        over = clock.past(folder, "mark")
    finally:
        os.close(folder)
    (tmp_path / "after").touch()
    assert (tmp_path / "before").stat().st_ctime_ns <= over
    assert (tmp_path / "after").stat().st_ctime_ns > over
