"""The launcher by itself: what it hands on, damage to its file, what analysers find."""

from __future__ import annotations

import random
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.appliance.conftest import INTERPRETER, LIBRARY, SOURCES, STATIC, TARGET, WORK
from tests.appliance.hosts import leftovers


def run(binary: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(binary), *arguments],
        env={"TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
    )


def test_directory_is_private_and_unpredictable(probe: Path, tmp_path: Path) -> None:
    homes = set()
    for _ in range(3):
        program, interpreter, rpath = run(probe, tmp_path).stdout.splitlines()
        assert interpreter == f"{rpath}/{TARGET['INTERPRETER']}"
        assert program == f"{rpath}/dockersave-static"
        assert Path(rpath).parent == tmp_path
        homes.add(rpath)
    assert len(homes) == 3


@pytest.mark.parametrize("launcher", ["probe", "sanitized"])
def test_what_nothing_reads_takes_no_space(
    launcher: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    content = LIBRARY.read_bytes()
    listing = subprocess.run(["readelf", "-SW", LIBRARY], capture_output=True, text=True).stdout
    tables = re.findall(r" \.eh_frame\w* +PROGBITS +\w+ (\w+) (\w+)", listing)
    unread: set[int] = set()
    for offset, size in ((int(offset, 16), int(size, 16)) for offset, size in tables):
        unread.update(range(-(-offset // 4096), (offset + size) // 4096))
    process = subprocess.Popen(
        [str(request.getfixturevalue(launcher)), "sleep", "10"],
        env={"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (home,) = (tmp_path / name for name in leftovers(tmp_path))
        unpacked = (home / LIBRARY.name).read_bytes()
        space = (home / LIBRARY.name).stat().st_blocks * 512
    finally:
        process.terminate()
        process.communicate(timeout=20)
    differ = {
        at // 4096
        for at in range(0, len(content), 4096)
        if content[at : at + 4096] != unpacked[at : at + 4096]
    }
    assert len(unpacked) == len(content)
    assert differ == unread
    assert not any(any(unpacked[at * 4096 : (at + 1) * 4096]) for at in unread)
    assert len(unread) > 10
    assert space <= len(content) + 4096 - 4096 * len(unread)


def test_arguments(probe: Path, tmp_path: Path) -> None:
    words = ["é" * 500] * 100
    size = sum(len(word.encode()) for word in words)
    assert run(probe, tmp_path, "arguments", *words, "").stdout == f"101 {size}\n"


def damaged(binary: Path, directory: Path) -> None:
    done = run(binary, directory, "--version")
    assert done.returncode == 1
    assert done.stdout == ""
    assert (
        done.stderr == f"dockersave: {binary} is damaged: copy it anew and compare its checksum\n"
    )
    assert leftovers(directory) == []


@pytest.mark.parametrize("missing", [1, 8, 4096, 1_000_000, 6_000_000])
def test_truncated(binary: Path, tmp_path: Path, missing: int) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(binary.read_bytes()[:-missing])
    copy.chmod(0o755)
    damaged(copy, tmp_path)


def test_appended(binary: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(binary.read_bytes() + b"\0")
    copy.chmod(0o755)
    damaged(copy, tmp_path)


def test_flipped_bits(binary: Path, tmp_path: Path) -> None:
    content = bytearray(binary.read_bytes())
    launcher = (WORK / "launcher").stat().st_size
    chance = random.Random(4)
    copy = tmp_path / "copy"
    places = [len(content) - 1, len(content) - 9, len(content) - 20]
    for place in places + [chance.randrange(launcher, len(content)) for _ in range(20)]:
        content[place] ^= 1 << chance.randrange(8)
        copy.write_bytes(content)
        copy.chmod(0o755)
        damaged(copy, tmp_path)
        content[:] = binary.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 0),
        (("exit", "7"), 7),
        (("kill", "11"), 139),
        (("arguments", "a", "b"), 0),
        (("exit", "0", "x" * 100_000), 0),
    ],
)
def test_sanitizers(sanitized: Path, tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    done = run(sanitized, tmp_path, *arguments)
    crashed = "dockersave: the program crashed (Segmentation fault): "
    said = f"{crashed}its files are damaged, or this is a bug\n" if code == 139 else ""
    assert (done.returncode, done.stderr, leftovers(tmp_path)) == (code, said, [])


def test_sanitizers_on_refusals_and_damage(sanitized: Path, tmp_path: Path) -> None:
    weak = tmp_path / "weak"
    weak.mkdir()
    weak.chmod(0o777)
    for value in ("", "/none", "relative", str(weak), "/" + "x" * 5000, "/dev/null", "a:b$c"):
        done = subprocess.run(
            [str(sanitized), "exit", "3"], env={"TMPDIR": value}, cwd=tmp_path, capture_output=True
        )
        assert (done.returncode, done.stderr) == (3, b"")
    copy = tmp_path / "copy"
    copy.write_bytes(sanitized.read_bytes()[:-100])
    copy.chmod(0o755)
    damaged(copy, tmp_path)


def test_sanitizers_on_signals(sanitized: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [str(sanitized), "sleep", "20"],
        env={"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors, leftovers(tmp_path)) == (143, b"", [])


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_analyser_finds_nothing(source: Path) -> None:
    done = subprocess.run(
        [
            "gcc",
            "-fanalyzer",
            "-O2",
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Wshadow",
            "-Werror",
            INTERPRETER,
            "-isystem",
            str(STATIC / "venv" / "zstd"),
            "-c",
            "-o",
            "/dev/null",
            str(source),
        ],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
