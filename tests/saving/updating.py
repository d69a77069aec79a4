"""Two images with the same base, and saving them into directories."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dockersave.model.options import Options
from dockersave.saving.save import Saved, save
from tests.images import image, raw_layer
from tests.registry.simulator import Simulator
from tests.rootfs.layers import Item, directory, file, link, symlink, tar
from tests.rootfs.layouts import Facts, of_directory
from tests.saving.from_simulator import PLAIN

BASE = [
    directory("etc", 0o750), file("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), file("etc/a", "1"),
    Item("bin/ping", data=b"\x7fELF" * 999, mode=0o4755, owner=(5, 6), mtime=12.345678901,
         pax={"SCHILY.xattr.user.x": "y"}),
    link("bin/ping6", "bin/ping"), link("etc/z", "etc/a"), symlink("lib", "bin"),
    Item("dev/null", tarfile.CHRTYPE, device=(1, 3)), Item("run/pipe", tarfile.FIFOTYPE),
    file("empty"), file("hidden", "of the base"), directory("locked", 0o000),
    file("gone/deep/x", "x"), file("dir-then-file/x", "x"), file("file-then-dir", "x"),
]  # fmt: skip
ONE = [file("etc/b", "old"), file("hidden", "of one"), file("same", "same")]
TWO = [
    file("etc/b", "new"), file("etc/c", "more"), file(".wh.gone"), file("same", "same"),
    file("dir-then-file", "y"), directory("file-then-dir"), file("hidden", "of two"),
]  # fmt: skip


def as_directory(path: Path, **more: Any) -> Options:
    """Return what saves a directory."""
    return Options(**{"format": "rootfs", "tar": False, "tree": True, "output": path, **more})


def layered(*layers: list[Item]) -> Any:
    """Return an image of layers."""
    return image([raw_layer(tar(items)) for items in layers])


def saving(registry: Simulator, name: str, path: Path, **more: Any) -> Saved:
    """Save one of them into a directory."""
    return save(f"{registry.host}/{name}", options=as_directory(path, **more), network=PLAIN)


def fresh(registry: Simulator, name: str, path: Path, **more: Any) -> Facts:
    """Return all that can be seen of one that nothing was there before."""
    saving(registry, name, path, **more)
    return of_directory(path)


class Update(NamedTuple):
    """A directory that has the first of them, and what it must be after an update to the second."""

    path: Path
    expected: Facts


def in_place(path: Path) -> None:
    """Change a file's content, so that nothing tells but its inode."""
    kept = path.stat()
    with path.open("r+b") as out:
        out.write(b"X")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))


def attributes(path: Path) -> None:
    """Change a file's attributes."""
    os.setxattr(path, "user.mine", b"x")


def inodes(root: Path) -> dict[str, int]:
    """Return the inode of each file."""
    return {str(path.relative_to(root)): path.lstat().st_ino for path in root.rglob("*")}


def fetched(registry: Simulator, act: Callable[[], object]) -> int:
    """Return how many layers something fetches."""
    before = len(registry.of("blob"))
    act()
    return len(registry.of("blob")) - before
