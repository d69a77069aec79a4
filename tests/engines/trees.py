"""File systems: as an engine made them, as a tar has them, and as they were built."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from tests.images import Entry, Image, Layer, digest_of


@dataclass(frozen=True, slots=True)
class Node:
    """A file as it can be compared.

    Parameters:
        kind: `file`, `directory` or `symlink`.
        mode: permission bits; 0 for symbolic links, which have none.
        owner: user and group id.
        content: digest of a file's bytes, or a symbolic link's target.
    """

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str = ""


Tree: TypeAlias = Mapping[str, Node]

_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.LNKTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
}


def built(image: Image) -> Tree:
    """Return the file system that an image was built from."""
    entries = image.rootfs
    tree: dict[str, Node] = {}
    for path, entry in entries.items():
        if entry.type == tarfile.LNKTYPE:
            entry = replace(entries[entry.target], path=path)
        content = entry.target if entry.type == tarfile.SYMTYPE else ""
        if entry.type == tarfile.REGTYPE:
            content = digest_of(entry.data)
        mode = 0 if entry.type == tarfile.SYMTYPE else entry.mode
        tree[path] = Node(_KINDS[entry.type], mode, entry.owner, content)
    return tree


def of_folder(root: Path) -> Tree:
    """Return the file system under a directory."""
    tree: dict[str, Node] = {}
    for parent, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(parent, name)
            status = path.lstat()
            content, kind, mode = "", "directory", stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                kind, content, mode = "symlink", os.readlink(path), 0
            elif stat.S_ISREG(status.st_mode):
                kind, content = "file", digest_of(path)
            owner = (status.st_uid, status.st_gid)
            tree[str(path.relative_to(root))] = Node(kind, mode, owner, content)
    return tree


def of_layers(layers: Iterable[Path]) -> Tree:
    """Return the file system that uncompressed layers make."""
    made = (Layer("", "", 0, b"", entries=tuple(_entries(path))) for path in layers)
    return built(Image("", b"", layers=tuple(made)))


def of_tar(path: Path) -> Tree:
    """Return the file system in one tar."""
    return of_layers([path])


def _entries(path: Path) -> Iterable[Entry]:
    with tarfile.open(path) as archive:
        for member in archive:
            data = b""
            if member.isreg():
                source = archive.extractfile(member)
                assert source is not None
                data = source.read()
            yield Entry(
                member.name,
                data,
                tarfile.DIRTYPE if member.isdir() else member.type,
                stat.S_IMODE(member.mode),
                member.linkname,
                (member.uid, member.gid),
            )


def differences(expected: Tree, found: Tree) -> list[str]:
    """Say in words where two file systems differ.

    Files that are only in `found` do not count if an engine puts them into every container.
    """
    lines = [
        f"{path}: built {expected[path]}, found {found.get(path)}"
        for path in expected
        if found.get(path) != expected[path]
    ]
    more = {path for path in found if path not in expected and not _is_of_the_engine(path)}
    return lines + [f"{path}: not built, found {found[path]}" for path in sorted(more)]


def _is_of_the_engine(path: str) -> bool:
    top = path.split("/")[0]
    etc = {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}
    return path in etc or top in {".dockerenv", "dev", "proc", "sys"}
