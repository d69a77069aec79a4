"""Which parts of the static binary are rebuilt after a change: the steps only take notes."""

from __future__ import annotations

import calendar
import encodings.idna
import os
import runpy
import shutil
import subprocess
import sys
from codecs import CodecInfo
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTES = """
echo "$*" >>calls
for last; do :; done
touch -- "$last"
"""
STEPS = {"PyInstaller", "collect", "pack", "zstd.c", "main.c"}


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., set[str]]:
    """Return a function that builds in a copy of the sources, and tells which steps it took."""
    for name in ("build", "dockersave"):
        ignore = shutil.ignore_patterns("out", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("LICENSE", "Makefile", "dockersave.spec"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "build/out/static/venv").mkdir(parents=True)
    (tmp_path / "build/out/static/venv/made-from").touch()
    (tmp_path / "notes").write_text(NOTES)
    calls = tmp_path / "calls"

    def build(*words: str) -> set[str]:
        calls.write_text("")
        command = ["make", "build/out/static/own", "STATIC_PYTHON=sh notes", *words]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return {step for step in STEPS for call in calls.read_text().splitlines() if step in call}

    assert build() == STEPS
    assert build() == set()
    return build


def test_a_module_that_is_gone(built: Callable[..., set[str]], tmp_path: Path) -> None:
    (tmp_path / "dockersave" / "resolving" / "questions.py").unlink()
    assert "PyInstaller" in built()
    assert built() == set()


@pytest.mark.parametrize("name", ["LICENSE", "dockersave.spec", "build/components.py"])
def test_a_file_that_is_another(built: Callable[..., set[str]], tmp_path: Path, name: str) -> None:
    os.utime(tmp_path / name)
    assert built() == {"PyInstaller", "collect", "pack"}


def test_other_flags(built: Callable[..., set[str]], tmp_path: Path) -> None:
    assert {"zstd.c", "main.c", "pack"} <= built("LAUNCHER_CFLAGS=-O1")
    assert built("LAUNCHER_CFLAGS=-O1") == set()
    makefile = tmp_path / "build" / "static.mk"
    makefile.write_text(makefile.read_text().replace("-std=gnu11", "-std=gnu17"))
    assert {"zstd.c", "main.c", "pack"} <= built()


IMPORT = """
import dataclasses, importlib, inspect, sys
if inspect.__file__ != sys.argv[1]:
    sys.exit(inspect.__file__)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Theme:  # as Python's own _colorize has them
    colour: str = "red"
    others: dict = dataclasses.field(default_factory=dict)
if repr(Theme(colour="blue")) != "Theme(colour='blue', others={})":
    sys.exit(repr(Theme(colour="blue")))
for name in sys.argv[2:]:
    importlib.import_module(name)
import dockersave
print(dockersave.Options(platform="linux/arm64"))
"""


def test_what_is_in_the_place_of_inspect_is_all_that_dataclasses_need() -> None:
    instead = ROOT / "build" / "instead"
    sources = [path.relative_to(ROOT).with_suffix("") for path in ROOT.glob("dockersave/**/*.py")]
    modules = [".".join(path.parts) for path in sources if not path.name.startswith("__")]
    assert "dockersave.registry.connections.trust" in modules
    done = subprocess.run(
        [sys.executable, "-OO", "-c", IMPORT, str(instead / "inspect.py"), *modules],
        env={**os.environ, "PYTHONPATH": str(instead)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "linux/arm64" in done.stdout


OTHERS = """
import gettext, locale, subprocess, sys, tokenize, traceback
for module in (gettext, locale, tokenize):
    if not module.__file__.startswith(sys.argv[1]):
        sys.exit(module.__file__)
from dockersave.cli import main
main(["--jobs"])
print(subprocess.run(["echo", "Ω"], stdout=subprocess.PIPE, text=True).stdout)
try:
    exec(compile("1 / 0", sys.argv[2], "exec"))
except ZeroDivisionError:
    print(traceback.format_exc())
"""


def test_what_is_in_the_place_of_others_is_all_that_is_called(tmp_path: Path) -> None:
    instead = str(ROOT / "build" / "instead")
    (source := tmp_path / "source.py").write_text("1 / 0  # this line")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-OO", "-c", OTHERS, instead, str(source)],
        env={**os.environ, "PYTHONPATH": f"{instead}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "--jobs: expected one argument" in done.stderr
    assert "Ω" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "this line" not in done.stdout


NAMES = ["", "localhost", "a.b.", "xn--mnchen-3ya.example", "x" * 63, "x" * 64, "a..b", "."]


@pytest.mark.parametrize("name", [*NAMES, "127.0.0.1", "A_b.C", "x" * 63 + ".y"])
def test_host_names_are_encoded_as_by_the_standard_library(name: str) -> None:
    """But for those that are not in ASCII, which are refused before."""

    def outcome(codec: CodecInfo) -> object:
        try:
            return codec.encode(name)
        except UnicodeError:
            return UnicodeError

    path = ROOT / "build" / "instead" / "encodings" / "idna.py"
    ours = runpy.run_path(str(path))["getregentry"]()
    theirs = encodings.idna.getregentry()
    assert outcome(ours) == outcome(theirs)
    with pytest.raises(UnicodeError):
        ours.encode("münchen")


@pytest.mark.parametrize(
    "moment",
    [(1970, 1, 1, 0, 0, 0), (2026, 2, 28, 23, 59, 60, 6, 59, 0), (2024, 2, 31, 25, 61, 61)],
)
def test_dates_are_counted_as_by_the_standard_library(moment: tuple[int, ...]) -> None:
    ours = runpy.run_path(str(ROOT / "build" / "instead" / "calendar.py"))["timegm"]
    assert ours(moment) == calendar.timegm(moment)


@pytest.mark.parametrize(
    ("unread", "parts"),
    [
        ([], [(0, 9)]),
        ([(1, 2)], [(0, 1), (2, 7)]),
        ([(0, 1)], [(0, 0), (1, 8)]),
        ([(8, 9)], [(0, 8), (9, 0)]),
        ([(1, 2), (3, 5), (6, 7), (7, 9)], [(0, 1), (2, 1), (5, 2), (9, 0)]),
    ],
    ids=["none", "inside", "first", "last", "largest"],
)
def test_only_what_nothing_reads_is_not_written(
    unread: list[tuple[int, int]], parts: list[tuple[int, int]]
) -> None:
    """But for the smallest: a header in a tar has room for four parts."""
    written_of = runpy.run_path(str(ROOT / "build" / "stage.py"))["written_of"]
    made, found = written_of(b"\1" * 4 + b"\0\0" + b"\1" * 3, unread)
    gone = {at for begin, end in unread for at in range(begin, end)} | {4, 5}
    assert made == bytes(at not in gone for at in range(9))
    assert found == parts
