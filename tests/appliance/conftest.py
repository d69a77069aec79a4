"""The static binary, and a launcher that carries a probe in the program's place."""

from __future__ import annotations

import os
import runpy
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliance.hosts import BareHost
from tests.processes import program

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "build" / "out" / "static"
STATIC_PYTHON = STATIC / "venv" / "bin" / "python"

ARCH = os.environ.get("ARCH", "amd64")
TARGET: dict[str, str] = runpy.run_path(str(ROOT / "build" / "foreign.py"))["read_target"](ARCH)
"""What the binary is for: `make test-appliance ARCH=` says it."""

SUFFIX = f"-{ARCH}" if TARGET["EMULATOR"] else ""
WORK = STATIC.with_name(f"static{SUFFIX}")
INTERPRETER = f'-DINTERPRETER="{TARGET["INTERPRETER"]}"'
"""What static.mk defines; the launcher's sources say nothing of machines."""

SOURCES = sorted((ROOT / "build" / "launcher").glob("[!z]*.c"))
"""The launcher's own, without the zstd library."""

LIBRARY = Path(program("bash"))
"""Files next to the probe, so that its tables can be left out."""


CONTROL_GROUPS = "an engine may not set up control groups in a namespace of users"
NOT_EMULATED = {
    "test_bare.py::test_refused_threads": "the emulator itself needs threads",
    "test_docker.py::": CONTROL_GROUPS,
    "test_launcher.py::test_sanitizers[arguments2-139]": "the emulator reports the fault, too",
    "test_limits.py::test_few_descriptors[3]": "the emulator needs more descriptors",
    "test_limits.py::test_no_other_process_may_be_started": "a thread of the emulator's is one",
    "test_limits.py::test_one_other_process_may_be_started": "a thread of the emulator's is one",
    "test_release.py::test_the_image_runs_in_docker": CONTROL_GROUPS,
    "test_signals.py::test_other_signals_end_it_cleanly[34]": "the emulator keeps it for itself",
    "test_signals.py::test_other_signals_end_it_cleanly[64]": "the emulator keeps it for itself",
}
"""Beginnings of tests that fail only under an emulator, and why. That they do is tested, too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, and what an emulator cannot do."""
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker("appliance")
        name = f"{item.path.relative_to(here)}::{item.name}"
        for beginning, reason in NOT_EMULATED.items():
            if TARGET["EMULATOR"] and name.startswith(beginning):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(scope="session")
def binary() -> Path:
    """Return the binary that `make dockersave-static` made, or the one in DOCKERSAVE_STATIC."""
    path = Path(os.environ.get("DOCKERSAVE_STATIC", ROOT / f"dockersave-static{SUFFIX}")).resolve()
    if not path.exists():
        pytest.exit(f"{path} is missing: make dockersave-static", pytest.ExitCode.USAGE_ERROR)
    return path


@pytest.fixture
def bare(tmp_path: Path, binary: Path) -> BareHost:
    """Return a root file system with nothing but the binary."""
    return BareHost(tmp_path / "root", binary)


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Return a function that packs the probe behind a launcher."""
    work = tmp_path_factory.mktemp("probe")
    probe = work / "dockersave-static"
    source = Path(__file__).with_name("probe.c")
    compiler = ["gcc"]
    if TARGET["EMULATOR"]:
        compiler = [str(STATIC_PYTHON), "-m", "ziglang", "cc", "-target", TARGET["LAUNCHER_TARGET"]]
    subprocess.run(
        [*compiler, "-static", "-O1", "-Wall", str(source), "-o", str(probe)], check=True
    )
    with tarfile.open(work / "files.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(probe, arcname=probe.name)
        archive.add(LIBRARY, arcname=LIBRARY.name)

    def packed(launcher: Path) -> Path:
        output = launcher.with_name(f"{launcher.name}-with-probe")
        stage = [str(STATIC_PYTHON), str(ROOT / "build" / "stage.py"), "pack"]
        subprocess.run([*stage, str(launcher), str(work / "files.tar"), str(output)], check=True)
        return output

    return packed


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory, pack: Callable[[Path], Path]) -> Path:
    """Return the launcher with sanitizers for addresses and undefined behaviour, and the probe."""
    launcher = tmp_path_factory.mktemp("sanitized") / "launcher"
    subprocess.run(
        [
            "gcc",
            "-g",
            "-O1",
            "-std=gnu11",
            INTERPRETER,
            "-no-pie",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
            "-isystem",
            str(STATIC / "venv" / "zstd"),
            *map(str, SOURCES),
            str(STATIC / "zstd.o"),
            "-o",
            str(launcher),
        ],
        check=True,
    )
    return pack(launcher)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory, pack: Callable[[Path], Path]) -> Path:
    """Return the launcher as it is shipped, carrying the probe."""
    launcher = tmp_path_factory.mktemp("launcher") / "launcher"
    launcher.write_bytes((WORK / "launcher").read_bytes())
    launcher.parent.chmod(0o755)  # other users run it, too
    return pack(launcher)
