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


def test_a_licence_that_is_missing_stops_the_build_with_one_line() -> None:
    component = COMPONENTS["Component"]
    with pytest.raises(SystemExit) as stop:
        COMPONENTS["licenses"](
            [component("a", "1", "pypi", "MIT"), component("b", "2", "pypi", "\n")]
        )
    assert str(stop.value) == "components: there is no licence text for b 2"
    assert "\n" not in str(stop.value)


def test_the_list_comes_before_the_texts_each_of_them_once() -> None:
    component = COMPONENTS["Component"]
    text = COMPONENTS["licenses"](
        [
            component("a", "1", "pypi", "The text."),
            component("b", "2", "pypi", "The text.\n", title="b 2: a part of it"),
        ]
    )
    listed, _, texts = text.partition("=" * 72)
    assert listed.splitlines() == ["- a 1", "- b 2: a part of it", ""]
    assert texts.count("The text.") == 1


@pytest.mark.parametrize(
    ("text", "distro"),
    [('VERSION_ID="12"\n', "debian-12"), ("ID=debian\nVERSION_CODENAME=forky\n", "debian-sid")],
)
def test_which_debian_packages_are_of(tmp_path: Path, text: str, distro: str) -> None:
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "os-release").write_text(text)
    assert COMPONENTS["_distro"](tmp_path) == distro
