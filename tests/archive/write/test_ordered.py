"""Output in order."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from dockersave.archive.write.ordered import StandardOutput


def test_a_pipe_that_another_process_made_non_blocking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader is late: what the pipe does not take yet is not an error."""
    body = os.urandom(300_000)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    came = bytearray()

    def read() -> None:
        while data := os.read(reader, 65_536):
            came.extend(data)

    late = threading.Timer(0.1, read)
    with open(reader, "rb"), open(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        output = StandardOutput()
        output.open()
        late.start()
        try:
            output.write(body)
        finally:
            stdout.close()
            late.join()
    assert came == body
