"""Standard output that takes only a part at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = """from dockersave.cli.stdout import write_lines
write_lines(f"line {number}" for number in range(40_000))"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_another_process_made_non_blocking(unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen(
        [sys.executable, "-c", LINES],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writer)
    came: list[bytes] = []

    def read() -> None:
        with open(reader, "rb") as file:
            came.append(file.read())

    late = threading.Timer(1, read)
    late.start()
    _, errors = process.communicate()
    late.join()
    assert process.returncode == 0, errors
    assert came[0].decode().splitlines() == [f"line {number}" for number in range(40_000)]


LONG_LINE = """import resource, signal
from dockersave.cli.stdout import write_lines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
write_lines(["x" * 200])"""


def test_a_file_that_takes_only_a_part(tmp_path: Path) -> None:
    """Without a buffer, nothing but the number of bytes says so."""
    with (tmp_path / "answer").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", LONG_LINE],
            stdout=file,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            check=False,
        )
    assert b"standard output cannot be written: File too large" in done.stderr
