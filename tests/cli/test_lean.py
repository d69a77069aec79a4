"""What a run does not use is not imported."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from dockersave.cli.lean import import_urllib3
import_urllib3()
from dockersave.registry import client
left_out = {"importlib.metadata", "zipfile", "backports.zstd", "compression.zstd"}
print(*sorted(left_out & {*sys.modules}))
from dockersave.compression import zstd
import importlib.metadata
print(zstd().decompress(zstd().compress(b"layers")), importlib.metadata.version("urllib3")[0])
"""


def test_what_urllib3_alone_would_import_is_left_out_and_there_for_others() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["", "b'layers' 2"]
