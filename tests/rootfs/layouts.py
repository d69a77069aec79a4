"""Images of handmade layers as OCI layouts, and what umoci makes of them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dockersave.rootfs.content import whole
from dockersave.rootfs.merge import Tree
from tests.images import image, raw_layer, read
from tests.processes import program
from tests.rootfs.layers import Bytes, Item, tar

KINDS = {"0": stat.S_IFREG, "5": stat.S_IFDIR, "2": stat.S_IFLNK, "6": stat.S_IFIFO,
         "3": stat.S_IFCHR, "4": stat.S_IFBLK}  # fmt: skip


class Refused(Exception):
    """umoci does not unpack it."""


def layout(folder: Path, layers: Sequence[bytes]) -> None:
    """Write an OCI layout of an image with these layers, called `latest`."""
    made = image([raw_layer(data) for data in layers], flavor="oci")
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for blob in made.blobs:
        (blobs / blob.digest.partition(":")[2]).write_bytes(read(blob.data))
    (blobs / made.digest.partition(":")[2]).write_bytes(made.manifest)
    name = {"org.opencontainers.image.ref.name": "latest"}
    index = {"schemaVersion": 2, "manifests": [{**made.descriptor(), "annotations": name}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def by_umoci(folder: Path, layers: Sequence[bytes]) -> Path:
    """Unpack layers with umoci and return the root directory.

    Raises:
        Refused: it does not.
    """
    layout(folder / "layout", layers)
    image_name, bundle = f"{folder}/layout:latest", f"{folder}/bundle"
    command = [program("umoci"), "unpack", "--image", image_name, bundle]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr)
    return folder / "bundle" / "rootfs"


Facts = dict[str, tuple[object, ...]]
"""Of each path: type and mode, owner, time, content or target or device, attributes, and the
first path of the same file."""


def of_directory(root: Path) -> Facts:
    """Return all that can be seen of a directory's content."""
    found: Facts = {}
    first: dict[int, str] = {}
    for path in _walk(root):
        status = path.lstat()
        name = os.fsdecode(path.relative_to(root))
        content: object = b""
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
            content = os.major(status.st_rdev), os.minor(status.st_rdev)
        xattrs = {
            each: os.getxattr(path, each, follow_symlinks=False)
            for each in os.listxattr(path, follow_symlinks=False)
            if each != "security.selinux"
        }
        is_directory = stat.S_ISDIR(status.st_mode)
        same = "" if is_directory else first.setdefault(status.st_ino, name)
        found[name] = (
            status.st_mode, (status.st_uid, status.st_gid), status.st_mtime_ns, content, xattrs,
            same if same != name else "",
        )  # fmt: skip
    return found


def _walk(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir(), key=lambda each: os.fsencode(each.name)):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def of_tree(tree: Tree, layers: Sequence[bytes]) -> Facts:
    """Return the same of a merged file system."""
    found: Facts = {}
    for entry in tree.entries():
        member, kind = entry.member, chr(entry.member.kind)
        content: object = b""
        if kind == "0":
            content = b"".join(whole(Bytes(layers[entry.layer]), member))
        elif kind == "2":
            content = os.fsdecode(member.target)
        elif kind in "34":
            content = member.device
        mode = KINDS[kind] | (0o777 if kind == "2" else member.mode)
        if entry.path:
            found[os.fsdecode(entry.path)] = (
                mode, (member.uid, member.gid), member.mtime, content,
                {os.fsdecode(key): value for key, value in member.xattrs.items()},
                os.fsdecode(entry.same),
            )  # fmt: skip
    return found


def merged_facts(layers: Iterable[Iterable[Item]]) -> tuple[Facts, list[bytes]]:
    """Merge layers, and return what they make, and the layers as tars."""
    tars = [tar(items) for items in layers]
    return of_tree(Tree([Bytes(data) for data in tars]), tars), tars
