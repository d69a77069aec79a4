"""The memory for a large file system: it must not grow with what a layer says."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

FILES = 100_000
EACH = 120
"""The most bytes for a path with a name of 40: some 50 for its fields, and room to grow."""

PROGRAM = """
import os, resource, sys
from dockersave.rootfs.merge import Tree

class Layer:
    fd = os.open(sys.argv[1], os.O_RDONLY)
    def read(self, offset, amount):
        return os.pread(self.fd, amount, offset)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

Tree([])
before = peak()
tree = Tree([Layer()])
count = sum(1 for entry in tree.entries() if entry.member)
print(count, peak() - before)
"""


def test_a_path_takes_little_more_than_its_name(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with layer.open("wb") as out:
        for number in range(FILES):
            name = f"d{number // 1000}/file-with-a-usual-length-of-name-{number}.txt"
            out.write(tarfile.TarInfo(name).tobuf())
        out.write(bytes(1024))
    command = [sys.executable, "-c", PROGRAM, str(layer)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, taken = map(int, done.stdout.split())
    assert count == FILES + FILES // 1000
    assert taken < FILES * EACH
