"""File systems of odd layers: what `--format rootfs` makes of them, and what the engines make.

Where an engine makes something else, it is stated here, and the specification says who is right.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dockersave import Network, Options, save
from tests.engines.judge import Refused
from tests.engines.judges import Judges
from tests.engines.trees import differences, of_folder
from tests.images import Store, image, raw_layer
from tests.registry.simulator import Simulator
from tests.rootfs.layers import Item, directory, file, link, symlink, tar
from tests.rootfs.test_umoci import CASES

PLAIN = Network(insecure=True)
ENGINES = ("docker", "podman", "containerd", "umoci")
OPAQUE = ".wh..wh..opq"
SAME = ("hard links over layers", "each over each", "links on the way")

LAYERS: dict[str, list[list[Item]]] = {
    **{name: CASES[name] for name in SAME},
    "whiteouts": [
        [directory("a"), file("a/x"), file("a/y"), directory("b"), file("b/x"), file("c")],
        [file("a/z"), file(f"a/{OPAQUE}"), file(".wh.b"), file(".wh.c"), file("c", "new")],
    ],
    "deep opaque": [
        [directory("a"), directory("a/b"), directory("a/b/c"), file("a/b/c/old"), file("a/b/old")],
        [
            *(directory("a"), directory("a/b"), directory("a/b/c"), file("a/b/c/new")),
            *(file(f"a/b/c/{OPAQUE}"), file(f"a/{OPAQUE}")),
        ],
    ],
    "whiteout and the same name": [
        [file("a/old"), file("b", "old")],
        [file(".wh.a"), directory("a"), file("a/new"), file(".wh.b"), file("b", "new")],
    ],
    "the same name, then its whiteout": [
        [file("a/old"), file("b", "old")],
        [directory("a"), file("a/new"), file("b", "new"), file(".wh.a"), file(".wh.b")],
    ],
    "a directory above a link": [
        [directory("usr"), directory("usr/lib"), file("usr/lib/a"), symlink("lib", "usr/lib")],
        [directory("lib"), file("lib/b")],
    ],
    "a file through a lower link": [
        [directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib")],
        [file("lib/b", "b")],
    ],
    "a hard link to a lower file": [
        [file("a", "1")],
        [link("b", "a")],
    ],
}
"""Layers, bottom first."""

_LOWER = "links inside the new layer's directory only, which has no lower files"
_AFTER = "removes what the same layer has put there, against the specification, and then misses it"

OTHERWISE: dict[tuple[str, str], str] = {
    ("hard links over layers", "containerd"): _LOWER,
    ("links on the way", "containerd"): _LOWER,
    ("a hard link to a lower file", "containerd"): _LOWER,
    ("a file through a lower link", "containerd"): "hides the link behind a new directory",
    ("whiteout and the same name", "containerd"): "shows the lower files again",
    ("the same name, then its whiteout", "docker"): _AFTER,
    ("the same name, then its whiteout", "podman"): _AFTER,
    ("the same name, then its whiteout", "containerd"): _AFTER,
}
"""Engines that make something else of layers, or refuse them, and what they do.

What is made here is what the specification says and all others make (OCI image specification,
layer.md, "Whiteouts": they "MUST only apply to resources in lower/parent layers").
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", LAYERS)
def test_engines_make_the_same(name: str, engine: str, judges: Judges, tmp_path: Path) -> None:
    # Docker puts an /etc into every container.
    first, *others = LAYERS[name]
    layers = [raw_layer(tar(items)) for items in ([directory("etc"), *first], *others)]
    archive, ours = tmp_path / "archive.tar", tmp_path / "ours"
    with Simulator(Store.of({"odd": image(layers, flavor="oci")})) as registry:
        reference = f"{registry.host}/odd"
        save(reference, output=archive, network=PLAIN)
        options = Options(format="rootfs", tar=False, tree=True, output=ours)
        save(reference, options=options, network=PLAIN)
    try:
        ((_, theirs),) = judges[engine].load_and_export(archive)
        found = differences(of_folder(ours), theirs)
    except Refused as refusal:
        found = [f"refused: {refusal}"]
    assert bool(found) == ((name, engine) in OTHERWISE), found
