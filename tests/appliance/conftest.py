"""The static binary, and a launcher that carries a probe in the program's place."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliance.hosts import BareHost
from tests.processes import program

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "out" / "static"
STATIC_PYTHON = WORK / "venv" / "bin" / "python"

SOURCES = sorted((ROOT / "build" / "launcher").glob("[!z]*.c"))
"""The launcher's own, without the zstd library."""

INTERPRETER = '-DINTERPRETER="ld-linux-x86-64.so.2"'
"""What static.mk defines for this machine; the launcher's sources say nothing of machines."""

LIBRARY = Path(program("bash"))
"""Files next to the probe, so that its tables can be left out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("appliance")


@pytest.fixture(scope="session")
def binary() -> Path:
    """Return the binary that `make dockersave-static` made, or the one in DOCKERSAVE_STATIC."""
    path = Path(os.environ.get("DOCKERSAVE_STATIC", ROOT / "dockersave-static")).resolve()
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
    subprocess.run(["gcc", "-static", "-O1", "-Wall", str(source), "-o", str(probe)], check=True)
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
            str(WORK / "venv" / "zstd"),
            *map(str, SOURCES),
            str(WORK / "zstd.o"),
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
