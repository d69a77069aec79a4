"""Odd layers: what is in them, and nothing odd beside it."""

from __future__ import annotations

import tarfile

from tests.rootfs.layers import CAPABILITY, Item, directory, file, link, symlink

OPAQUE = ".wh..wh..opq"
ACL = "".join(
    ("\x02\0\0\0", "\x01\0\x06\0" + 4 * "\0", "\x02\0\x04\0\x07\0\0\0"),
) + "".join(f"{tag}\0{perm}\0" + 4 * "\0" for tag, perm in ("\x04\x04", "\x10\x04", "\x20\x04"))
"""`user::rw-,user:7:r--,group::r--,mask::r--,other::r--` (include/uapi/linux/posix_acl_xattr.h)."""


def _xattr(name: str, key: str, value: str) -> Item:
    return Item(name, data=b"x", pax={f"SCHILY.xattr.{key}": value})


UNDESCRIBED = "times of directories that no layer describes"
UNMENTIONED = "times of directories that the layer does not mention"

LAYERS: dict[str, list[list[Item]]] = {
    "types, modes, owners, targets": [
        [
            directory("d", 0o1777),
            Item("d/setuid", data=b"x", mode=0o6755, owner=(7, 4_000_000)),
            Item("locked", tarfile.DIRTYPE, mode=0o000, owner=(8, 9)),
            file("locked/inside", "x"),
            Item("link", tarfile.SYMTYPE, target="../out", owner=(3, 4)),
            Item("pipe", tarfile.FIFOTYPE, mode=0o600),
            Item("null", tarfile.CHRTYPE, mode=0o666, owner=(1, 2), device=(1, 3)),
            Item("disk", tarfile.BLKTYPE, mode=0o640, device=(259, 1000)),
        ]
    ],
    "names: long, not ASCII, `./x`, `/x`": [
        [
            file("ünïcode " + "x" * 200, "long"),
            *(directory("./d"), file("./d//x"), file("/y"), symlink("to", "z/" * 150)),
        ]
    ],
    "GNU tar's headers": [
        [
            Item("x" * 200, data=b"x", owner=(5_000_000, 6_000_000)),
            *(file("y"), link("z" * 200, "y"), symlink("to", "z/" * 150)),
            Item("new", mtime=1 << 33),
        ]
    ],
    "GNU tar's headers, names that are not UTF-8": [
        [file("\udcff", "x"), link("\udcfe", "\udcff")]
    ],
    "sparse files": [
        [
            Item(
                "a",
                data=b"abcde",
                pax={
                    "GNU.sparse.size": "12",
                    "GNU.sparse.numblocks": "2",
                    "GNU.sparse.map": "0,3,10,2",
                },
            )
        ]
    ],
    "times": [
        [Item("new", mtime=1_600_000_000), Item("link", tarfile.SYMTYPE, target="x", mtime=5)]
    ],
    "times with nanoseconds": [[Item("a", mtime=12.123456789)]],
    "times before 1970": [[Item("a", mtime=-1000)]],
    "`security.capability`": [[_xattr("a", "security.capability", CAPABILITY)]],
    "`user.*` attributes": [[_xattr("a", "user.a", "b")]],
    "`trusted.*` attributes": [[_xattr("a", "trusted.a", "b")]],
    "access control lists": [[_xattr("a", "system.posix_acl_access", ACL)]],
    "hard links in a layer": [
        [file("a", "1"), link("b", "a"), symlink("s", "x"), link("t", "s")],
    ],
    "a hard link with attributes of its own": [
        [
            Item("a", mode=0o600, owner=(1, 2)),
            Item("b", tarfile.LNKTYPE, target="a", mode=0o640, owner=(3, 4), mtime=5),
        ],
    ],
    "a hard link to a lower file": [[file("a", "1")], [link("b", "a")]],
    "one of several names replaced, removed": [
        [file("a", "1"), link("b", "a"), link("c", "a"), link("d", "a")],
        [file("a", "2"), file(".wh.b")],
    ],
    "files replaced, of any type": [
        [file("a", "1"), symlink("s", "x"), file("f", "f"), Item("p", tarfile.FIFOTYPE)],
        [file("a", "2", 0o600), file("s", "s"), symlink("f", "y"), file("p", "p")],
    ],
    "a file above a directory, and the reverse": [
        [file("f"), directory("d"), file("d/x")],
        [directory("f"), file("f/y"), file("d", "d")],
    ],
    "a directory above a directory": [
        [Item("d", tarfile.DIRTYPE, mode=0o755, mtime=5), file("d/x")],
        [Item("d", tarfile.DIRTYPE, mode=0o700, owner=(1, 2), mtime=7)],
    ],
    "a directory above a link to one": [
        [directory("usr"), directory("usr/lib"), file("usr/lib/a"), symlink("lib", "usr/lib")],
        [directory("lib"), file("lib/b")],
    ],
    "a file through a link of the same layer": [
        [
            *(directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib")),
            *(symlink("l", "/lib"), file("lib/a"), file("l/b"), link("c", "l/a")),
        ]
    ],
    "a file through a lower link": [
        [directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib")],
        [file("lib/b", "b")],
    ],
    "a whiteout through a lower link": [
        [directory("usr"), directory("usr/lib"), file("usr/lib/a"), symlink("lib", "usr/lib")],
        [file("lib/.wh.a")],
    ],
    "links out of the root": [
        [symlink("up", "../../../.."), symlink("abs", "/"), directory("d")],
        [file("up/d/x", "x"), file("abs/d/y", "y")],
    ],
    "whiteouts": [
        [directory("a"), file("a/x"), directory("b"), file("b/x"), file("c"), symlink("s", "a")],
        [file("a/.wh.x"), file(".wh.b"), file(".wh.c"), file(".wh.s"), file(".wh.nothing")],
    ],
    "opaque directories": [
        [directory("a"), file("a/x"), directory("a/b"), file("a/b/old")],
        [directory("a"), file(f"a/{OPAQUE}"), file("a/z")],
    ],
    "an opaque marker after what its layer has there": [
        [directory("a"), directory("a/b"), directory("a/b/c"), file("a/b/c/old"), file("a/b/old")],
        [
            *(directory("a"), directory("a/b"), directory("a/b/c"), file("a/b/c/new")),
            *(file(f"a/b/c/{OPAQUE}"), file(f"a/{OPAQUE}")),
        ],
    ],
    "a whiteout, then the same name": [
        [directory("a"), file("a/old"), file("b", "old")],
        [file(".wh.a"), directory("a"), file("a/new"), file(".wh.b"), file("b", "new")],
    ],
    "a name, then its whiteout in the same layer": [
        [directory("a"), file("a/old"), file("b", "old")],
        [directory("a"), file("a/new"), file("b", "new"), file(".wh.a"), file(".wh.b")],
    ],
    "other names with `.wh..wh.`": [[file("a"), file(".wh..wh.aufs"), file(".wh..wh.orph")]],
    "directories that no layer describes": [[file("a/b/x")]],
    "times of directories": [
        [
            Item("d", tarfile.DIRTYPE, mtime=5),
            *(file("d/x"), Item("e", tarfile.DIRTYPE, mtime=6), file("e/x")),
        ],
        [Item("d", tarfile.DIRTYPE, mtime=7), file("d/x", "new")],
    ],
    UNMENTIONED: [
        [Item("d", tarfile.DIRTYPE, mtime=5), file("d/x")],
        [file("d/x", "new"), file("d/y")],
    ],
    UNDESCRIBED: [[file("a/b/x")]],
    "times of directories with a whiteout": [
        [Item("d", tarfile.DIRTYPE, mtime=5), file("d/x"), file("d/y")],
        [Item("d", tarfile.DIRTYPE, mtime=7), file("d/.wh.x")],
    ],
}
"""Layers, bottom first, by what is odd about them."""
