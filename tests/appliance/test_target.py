"""That what is in the binary is for the machine that it is for: its code, its pages, its years."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.conftest import ROOT, STATIC_PYTHON, TARGET, WORK
from tests.appliance.hosts import BareHost
from tests.images import Store, big_image
from tests.registry.real import Registries
from tests.registry.simulator import Simulator

TOOLS = ROOT / "build" / "out" / "sysroots" / TARGET["SUITE"] / "tools"

NEXT_CENTURY = 4_102_444_800
"""2100-01-01, when a count of seconds takes more than 32 bits."""

OLD_TIMES = {
    *("clock_gettime", "fstat", "fstat64", "fstatat", "fstatat64", "futimens", "gettimeofday"),
    *("gmtime", "gmtime_r", "localtime", "localtime_r", "lstat", "lstat64", "mktime", "nanosleep"),
    *("select", "stat", "stat64", "time", "utimensat", "utimes"),
}
"""Functions of the C library that on machines of 32 bits count seconds with as many."""


def contents() -> Iterator[tuple[str, bytes]]:
    """Return the code that is packed, and what packs it."""
    yield "launcher", (WORK / "launcher").read_bytes()
    with tarfile.open(WORK / "files.tar") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            code = file.read() if file else b""
            if code.startswith(b"\x7fELF"):
                yield member.name, code


def is_64(code: bytes) -> bool:
    return code[4] == 2


def alignments(code: bytes) -> list[int]:
    """Return how the segments are aligned that are loaded. Source: elf(5), Elf64_Phdr."""
    kind, where, sizes = ("<II6Q", ("<Q", 32), 54) if is_64(code) else ("<8I", ("<I", 28), 42)
    (begin,) = struct.unpack_from(where[0], code, where[1])
    size, count = struct.unpack_from("<HH", code, sizes)
    headers = [struct.unpack_from(kind, code, begin + i * size) for i in range(count)]
    return [header[7] for header in headers if header[0] == 1]


def test_all_code_is_for_one_machine() -> None:
    machines = {name: (code[4], code[18:20]) for name, code in contents()}
    assert TARGET["INTERPRETER"] in machines
    assert set(machines.values()) == {machines["launcher"]}


def test_pages_of_the_largest_size() -> None:
    """The kernel refuses what is aligned for smaller ones."""
    for name, code in contents():
        assert alignments(code), name
        assert min(alignments(code)) >= int(TARGET["PAGE"]), name


HOLES = """
import io, os, runpy, sys
from elftools.elf.elffile import ELFFile
unread_in = runpy.run_path("build/stage.py")["unread_in"]
count = 0
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        content = file.read()
    elf = ELFFile(io.BytesIO(content))
    read = bytearray(content.translate(bytes([0]) + bytes([1]) * 255))
    for segment in elf.iter_segments("PT_LOAD"):
        start, size = segment["p_offset"], segment["p_filesz"]
        read[start : start + size] = bytes([1]) * size
    for section in elf.iter_sections():
        if section.name.startswith(".eh_frame"):
            start, size = section["sh_offset"], section["sh_size"]
            read[start : start + size] = bytes(size)
    for begin, end in unread_in((True, content)):
        count += 1
        if any(read[begin:end]):
            sys.exit(f"{path}: {begin} to {end} is read")
print(count)
"""


def test_what_a_program_reads_is_no_hole(tmp_path: Path) -> None:
    """Whoever reads a hole in a mapped file is killed where the file system is full."""
    paths = []
    for number, (_, code) in enumerate(contents()):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(code)
    done = subprocess.run(
        [STATIC_PYTHON, "-c", HOLES, *paths], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 10


COLUMNS = """
import marshal, sys, zipfile
library = zipfile.ZipFile(sys.argv[1])
codes = [marshal.loads(library.read(name)[16:]) for name in library.namelist()]
places = [place for code in codes for place in code.co_positions()]
print(len({line for line, _, _, _ in places}) > 100, {column for _, _, column, _ in places})
"""


def test_bytecode_knows_its_lines_but_not_their_columns(tmp_path: Path) -> None:
    """They would be a quarter of it, and show a part of a source line where there is none."""
    with tarfile.open(WORK / "files.tar") as archive:
        archive.extract("base_library.zip", tmp_path, filter="data")
    python = TOOLS / "usr" / "bin" / "python3" if TARGET["EMULATOR"] else STATIC_PYTHON
    command = [str(python), "-c", COLUMNS, str(tmp_path / "base_library.zip")]
    assert subprocess.check_output(command, text=True) == "True {None}\n"


def tool(name: str) -> str:
    """Return a tool that knows the target's files."""
    own = TOOLS / TARGET["TRIPLET"] / name
    found = str(own) if own.exists() else shutil.which(name)
    assert found, f"{name} is missing"
    return found


def dumped(code: bytes, directory: Path, *options: str) -> list[str]:
    """Return what objdump says of code."""
    file = directory / "code"
    file.write_bytes(code)
    command = [tool("objdump"), *options, str(file)]
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()


# The bootloader carries the name of the program; the module for zstd is a wheel's on this machine.
COMPILED = [
    "launcher",
    "dockersave-static",
    *(["libnssfix", "_zstd"] if TARGET["EMULATOR"] else []),
]


@pytest.mark.parametrize("part", COMPILED)
def test_what_we_compile_runs_on_every_processor_of_the_kind(part: str, tmp_path: Path) -> None:
    """Read from the instructions: what a file says of itself is not always so."""
    (code,) = (code for name, code in contents() if Path(name).name.startswith(part))
    lines = dumped(code, tmp_path, "--disassemble", "--no-show-raw-insn")
    assert len(lines) > 10
    assert [line for line in lines if re.search(TARGET["ABOVE_BASELINE"], line)] == []


def test_no_code_counts_seconds_with_32_bits(tmp_path: Path) -> None:
    """On machines of 64 bits the same functions count with 64."""
    asked = set()
    for name, code in contents():
        imported = {line.split()[-1] for line in dumped(code, tmp_path, "-T") if "*UND*" in line}
        asked |= imported
        assert is_64(code) or not imported & OLD_TIMES, name
    assert asked & {"clock_gettime", "__clock_gettime64"}, "they are looked at"


def test_files_of_the_next_century(bare: BareHost, registries: Registries) -> None:
    registry = registries.get()
    words = ["--insecure", "-o", "/a.tar", registry.reference("docker")]
    assert bare.run(*words).returncode == 0
    for path in bare.root.iterdir():
        os.utime(path, (NEXT_CENTURY, NEXT_CENTURY))
    again = bare.run(*words)
    assert again.returncode == 0, again.stderr
    os.utime(bare.root / "a.tar", (NEXT_CENTURY, NEXT_CENTURY))
    checked = bare.run("--verify", "/a.tar")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_layer_above_2_gib(bare: BareHost) -> None:
    """More than a number of 32 bits with a sign holds."""
    image = big_image(1, (1 << 31) + 1)
    with Simulator(Store.of({"big": image})) as server:
        words = ["--insecure", "-o", "/a.tar", f"{server.host}/big"]
        done = bare.run(*words, timeout=900)
        assert done.returncode == 0, done.stderr
    assert (bare.root / "a.tar").stat().st_size > 1 << 31
    checked = bare.run("--verify", "/a.tar", timeout=900)
    assert checked.returncode == 0, checked.stderr
