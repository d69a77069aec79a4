"""What `--licenses` of the static binary is made from: no part without an owner."""

from __future__ import annotations

import os
import runpy
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

COMPONENTS = runpy.run_path(str(Path(__file__).parent.parent / "build" / "components.py"))
Owners = Callable[[list[str]], tuple[set[str], dict[str, str]]]


@pytest.fixture
def owners() -> Owners:
    function: Owners = COMPONENTS["owners"]
    return function


def test_whose_files_are(owners: Owners) -> None:
    libc = next(filter(os.path.exists, COMPONENTS["LIBC"]))
    wheels, packages = owners([urllib3.__file__, libc, f"{sysconfig.get_path('stdlib')}/ssl.py"])
    assert wheels == {"urllib3"}
    assert packages["libc6:amd64"].startswith("2.")


def test_a_stranger_stops_the_build_with_one_line(owners: Owners, tmp_path: Path) -> None:
    stranger = tmp_path / "libstrange.so.1"
    stranger.touch()
    with pytest.raises(SystemExit) as stop:
        owners([str(stranger)])
    assert str(stranger) in str(stop.value)
    assert "\n" not in str(stop.value)


def test_texts_that_others_point_to() -> None:
    text = "On Debian, see /usr/share/common-licenses/LGPL-2.1.\n`/usr/share/common-licenses/GPL'"
    assert COMPONENTS["COMMON"].findall(text) == ["LGPL-2.1", "GPL"]
