"""Images by name: what the tests save, what the engines load, what the demo shows."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from tests.images.documents import (
    OCI_EMPTY,
    Document,
    Flavor,
    Image,
    artifact,
    attestation,
    config_document,
    image,
    index,
    schema1,
)
from tests.images.layers import (
    Compression,
    Layer,
    bomb_layer,
    directory,
    empty_layer,
    file,
    foreign,
    hardlink,
    layer,
    opaque,
    random_layer,
    raw_layer,
    symlink,
    whiteout,
)

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386")
HOSTS = (*PLATFORMS, "linux/ppc64le", "linux/riscv64", "linux/s390x")
"""Whatever these tests may run on."""

LABELS = {"org.opencontainers.image.title": "sample", "quotes": 'a "b" \\ ü'}
ENV = ("PATH=/usr/local/bin:/usr/bin:/bin", "GREETING=hello world", "EMPTY=")
CMD = ("/bin/hello", "--name", "two words")

_OS_RELEASE = 'NAME="Sample"\nID=sample\nVERSION_ID="1"\n'
_DEEP = [
    "usr/share" + "".join(f"/directory-{n:02}" for n in range(depth)) for depth in range(1, 13)
]
"""Directories inside one another, until a path is too long for a plain tar header."""


def _base(platform: str, compression: Compression) -> Layer:
    return layer(
        [
            *(directory(path) for path in ("bin", "etc", "home", "root", "usr", "usr/bin")),
            directory("tmp", 0o1777),
            directory("usr/share"),
            directory("var"),
            file("bin/hello", "#!/bin/sh\necho hello\n", 0o755),
            file("etc/hostname.sample", "sample\n"),
            file("etc/os-release", _OS_RELEASE),
            file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            file("etc/platform", platform + "\n"),
            file("etc/shadow", "root:*:19000::::::\n", 0o640, (0, 42)),
            symlink("usr/bin/greet", "../../bin/hello"),
            hardlink("usr/bin/hello", "bin/hello", 0o755),
        ],
        compression,
    )


def _application(compression: Compression, seed: int) -> Layer:
    return layer(
        [
            directory("srv"),
            directory("srv/app", 0o750),
            file("srv/app/data.bin", random_content(300_000, seed), 0o600, (1000, 1000)),
            file("srv/app/text.txt", "All work and no play makes Jack a dull boy.\n" * 3000),
            file("srv/app/ünïcode – name.txt", "ü\n"),
            file("srv/app/empty", b""),
            file("usr/bin/privileged", "#!/bin/sh\n", 0o4755),
            *(directory(path) for path in _DEEP),
            file(f"{_DEEP[-1]}/deep.txt", "deep\n"),
            directory("var/cache"),
            file("var/cache/old", "old\n"),
            file("var/obsolete", "gone in the next layer\n"),
        ],
        compression,
    )


def _changes(compression: Compression) -> Layer:
    return layer(
        [
            file("etc/os-release", _OS_RELEASE + "VARIANT=changed\n"),
            whiteout("var/obsolete"),
            directory("var/cache"),
            opaque("var/cache"),
            file("var/cache/new", "new\n"),
        ],
        compression,
    )


@lru_cache(maxsize=16)
def random_content(size: int, seed: int = 0) -> bytes:
    """Return `size` bytes of noise that follow from `seed`."""
    return random.Random(seed).randbytes(size)


@lru_cache(maxsize=64)
def sample_image(
    platform: str = "linux/amd64",
    flavor: Flavor = "docker",
    compressions: tuple[Compression, ...] = ("gzip",),
    seed: int = 0,
) -> Image:
    """Build an image with a real root file system, in five layers, one of them twice and empty.

    Parameters:
        platform: `os/architecture[/variant]`; the file `/etc/platform` says it too.
        flavor: of the media types.
        compressions: of the layers, taken in turn.
        seed: of the random content.
    """
    turn = [compressions[n % len(compressions)] for n in range(4)]
    empty = empty_layer("gzip" if "gzip" in compressions else compressions[0])
    layers = [
        _base(platform, turn[0]),
        empty,
        _application(turn[1], seed),
        empty,
        _changes(turn[2]),
    ]
    config = config_document(layers, platform, env=ENV, cmd=CMD, labels=LABELS)
    return image(layers, platform, flavor, config=config)


def sample_index(
    flavor: Flavor = "docker", platforms: tuple[str, ...] = PLATFORMS, attested: bool = False
) -> Document:
    """Build an index of one sample image per platform, with attestations if wanted."""
    images = [sample_image(platform, flavor) for platform in platforms]
    return index([*images, *map(attestation, images)] if attested else images, flavor)


def many_layers(count: int = 127, size: int = 2_000, flavor: Flavor = "docker") -> Image:
    """Build an image of `count` layers with one file of `size` bytes each (Docker's limit: 127)."""
    names = (f"layer-{number:04}" for number in range(count))
    layers = [layer([file(name, random_content(size, hash_of(name)))]) for name in names]
    return image(layers, flavor=flavor)


def hash_of(name: str) -> int:
    """Return a seed that follows from a name, the same in every process."""
    return int.from_bytes(name.encode(), "big") % 1_000_003


def large_config(size: int = 1 << 20, flavor: Flavor = "docker") -> Image:
    """Build an image whose config has at least `size` bytes."""
    layers = [_base("linux/amd64", "gzip")]
    return image(
        layers, flavor=flavor, config=config_document(layers, labels={"padding": "x" * size})
    )


def nested_index() -> Document:
    """Build an index whose images are in an index of their own."""
    return index([index([sample_image(p, "oci")], "oci") for p in PLATFORMS[:2]], "oci")


def _helm() -> Image:
    return artifact(
        "application/vnd.cncf.helm.config.v1+json",
        {"apiVersion": "v2", "name": "chart", "version": "0.1.0"},
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        b"a chart",
    )


def _wasm() -> Image:
    return artifact(
        "application/vnd.wasm.config.v0+json",
        {"architecture": "wasm", "os": "wasip1"},
        "application/wasm",
        b"\0asm\1\0\0\0",
    )


def _foreign() -> Image:
    far = foreign(layer([file("far", "away\n")]), "https://foreign.invalid/far.tar.gz")
    return image([_base("linux/amd64", "gzip"), far])


def _list_config() -> Image:
    return image([_base("linux/amd64", "gzip")], config=["no", "object"])


def _two_faces() -> Document:
    one = sample_image()
    return image(one.layers, top={"manifests": [one.descriptor()]})


def _wrong_diff_id() -> Image:
    layers = [_base("linux/amd64", "gzip")]
    document = config_document(layers) | {
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}
    }
    return image(layers, config=document)


GOOD: dict[str, Callable[[], Image]] = {
    "docker": sample_image,
    "oci": lambda: sample_image(flavor="oci"),
    "plain": lambda: sample_image(compressions=("none",)),
    "oci-plain": lambda: sample_image(flavor="oci", compressions=("none",)),
    "zstd": lambda: sample_image(flavor="oci", compressions=("zstd",)),
    "mixed": lambda: sample_image(flavor="oci", compressions=("gzip", "zstd", "none")),
    "one-layer": lambda: image([_base("linux/amd64", "gzip")]),
    "many-layers": many_layers,
    "large-config": large_config,
}
"""Images for this host that every engine with the right decompressors loads."""

INDEXES: dict[str, Callable[[], Document]] = {
    "multi": sample_index,
    "oci-multi": lambda: sample_index("oci", attested=True),
    "nested": nested_index,
    "everywhere": lambda: sample_index("oci", HOSTS, attested=True),
    "no-variant": lambda: sample_index("docker", ("linux/amd64", "linux/arm64", "linux/arm")),
    "arm-only": lambda: sample_index("oci", ("linux/arm/v5", "linux/arm/v6", "linux/arm/v7")),
}
"""Indexes of several platforms."""

ODD: dict[str, Callable[[], Document]] = {
    "foreign": _foreign,
    "helm": _helm,
    "wasm": _wasm,
    "artifact": lambda: artifact(OCI_EMPTY, {}, "application/vnd.example.thing", b"a thing"),
    "schema1": lambda: schema1("schema1", "latest", [_base("linux/amd64", "gzip")]),
    "list-config": _list_config,
    "two-faces": _two_faces,
    "wrong-diff-id": _wrong_diff_id,
    "not-a-tar": lambda: image([raw_layer(b"no tar, but a blob all the same")]),
    "not-gzip": lambda: image([_mislabelled()]),
    "bomb": lambda: image([bomb_layer(256 << 20)]),
}
"""Images to be refused, or that need an option, but are served faithfully."""


def _mislabelled() -> Layer:
    plain = layer([file("plain", "plain\n")], "none")
    return replace(plain, media_type=plain.media_type + "+gzip")


@lru_cache(maxsize=8)
def big_image(layers: int, size: int, seed: int = 0) -> Image:
    """Build an image with `layers` random layers of `size` bytes each, without keeping it in
    memory."""
    parts = [random_layer(size, seed * 10_000 + number) for number in range(layers)]
    return image(parts, flavor="oci")
