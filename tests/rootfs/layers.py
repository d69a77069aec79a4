"""Layers for these tests: tars in memory, made with the standard library."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dockersave.rootfs.content import whole
from dockersave.rootfs.merge import Tree

MTIME = 1_600_000_000
CAPABILITY = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
"""CAP_NET_RAW, permitted, as the kernel keeps it (include/uapi/linux/capability.h, revision 2)."""


@dataclass(frozen=True)
class Item:
    """A member of a layer.

    Parameters:
        name: as it is stated.
        type: of `tarfile`.
        data: of a file.
        target: of a link.
        mode, owner, mtime: its attributes.
        pax: records of its extended header.
        device: major and minor number.
    """

    name: str
    type: bytes = tarfile.REGTYPE
    data: bytes = b""
    target: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime: float = MTIME
    pax: Mapping[str, str] = field(default_factory=dict)
    device: tuple[int, int] = (0, 0)


def file(name: str, data: bytes | str = b"", mode: int = 0o644) -> Item:
    """Describe a file."""
    return Item(name, data=data.encode() if isinstance(data, str) else data, mode=mode)


def directory(name: str, mode: int = 0o755) -> Item:
    """Describe a directory."""
    return Item(name, tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> Item:
    """Describe a symbolic link."""
    return Item(name, tarfile.SYMTYPE, target=target, mode=0o777)


def link(name: str, target: str) -> Item:
    """Describe a hard link."""
    return Item(name, tarfile.LNKTYPE, target=target)


def tar(items: Iterable[Item], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Write a layer."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for item in items:
            archive.addfile(_info(item), io.BytesIO(item.data))
    return made.getvalue()


def member(item: Item) -> bytes:
    """Write one member, without the end of a tar."""
    return _info(item).tobuf(tarfile.PAX_FORMAT) + padded(item.data)


def padded(data: bytes) -> bytes:
    """Fill up the last block."""
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _info(item: Item) -> tarfile.TarInfo:
    info = tarfile.TarInfo(item.name)
    info.type, info.size, info.linkname = item.type, len(item.data), item.target
    info.mode, info.mtime = item.mode, item.mtime
    info.uid, info.gid = item.owner
    info.devmajor, info.devminor = item.device
    info.pax_headers = dict(item.pax)
    return info


@dataclass(frozen=True)
class Bytes:
    """A layer in memory, as `Content`."""

    data: bytes

    def read(self, offset: int, amount: int) -> bytes:
        """Return some of its bytes."""
        return self.data[offset : offset + amount]


def merged(*layers: Iterable[Item]) -> Tree:
    """Merge layers."""
    return Tree([Bytes(tar(items)) for items in layers])


def seen(tree: Tree, layers: Iterable[Iterable[Item]]) -> dict[str, tuple[str, object]]:
    """Return what a merged file system has at each path: the kind, and the content or target."""
    contents = [tar(items) for items in layers]
    found: dict[str, tuple[str, object]] = {}
    for entry in tree.entries():
        path, member = entry.path.decode(), entry.member
        kind = chr(member.kind)
        if entry.same:
            found[path] = ("link", entry.same.decode())
        elif kind == "0":
            found[path] = ("file", b"".join(whole(Bytes(contents[entry.layer]), member)).decode())
        else:
            found[path] = (kind, member.target.decode())
    return found
