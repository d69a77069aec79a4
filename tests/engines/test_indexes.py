"""Layers of zstd:chunked as a real podman pushes them: a part of an image takes few of them."""

from __future__ import annotations

from pathlib import Path

from dockersave import Network, Options, save
from tests.engines.judges import Judges
from tests.engines.podman import Podman
from tests.images import Store, image, raw_layer
from tests.registry.real import Registries
from tests.registry.simulator import Simulator
from tests.rootfs.layers import directory, file, link, member, symlink

PLAIN = Network(insecure=True)
LAYERS = [
    [
        directory("usr"),
        file("usr/a", "chunked"),
        file("usr/b", b"large" * 9000),
        link("c", "usr/a"),
    ],
    [directory("app"), file("app/x", "new" * 5000), file("usr/.wh.b"), symlink("s", "usr")],
    [directory("ü"), file("ü/y", "y"), file(".wh.c")],
]


def test_podmans_indexes_tell_what_is_needed(
    judges: Judges, registries: Registries, tmp_path: Path
) -> None:
    podman, archive = judges["podman"], tmp_path / "archive.tar"
    assert isinstance(podman, Podman)
    # Podman 4 drops what a tar is padded with behind its end, and leaves the diff_id as it was.
    tars = [b"".join(map(member, items)) + bytes(1024) for items in LAYERS]
    with Simulator(Store.of({"parts": image(list(map(raw_layer, tars)))})) as served:
        save(f"{served.host}/parts", output=archive, network=PLAIN)
    podman.forget()
    (name,) = podman.load(archive)
    pushed = registries.get().reference("chunked-by-podman")
    push = ("push", "--quiet", "--tls-verify=false", "--compression-format", "zstd:chunked")
    podman.podman(*push, name, pushed)
    sizes = {}
    for part in ("usr", "app", "ü", "."):
        made, whole = tmp_path / "made.tar", tmp_path / "whole.tar"
        options = Options(format="rootfs", only=[part], output=made)
        sizes[part] = save(pushed, options=options, network=PLAIN).fetched
        save(options=Options(format="rootfs", only=[part], output=whole, from_archive=archive))
        assert made.read_bytes() == whole.read_bytes()
    # The attributes of `usr` are in the first layer; the second one removes a file from it.
    assert sizes["."] == sizes["usr"] + sizes["app"] + sizes["ü"]
    assert all(sizes.values())
