"""The same input still gives the archive that version 1.0.0 wrote, byte for byte.

`bytes-1.0.0.json` was made by the code of 1.0.0. Layers in it are uncompressed, or were unpacked,
because compression differs between versions of zlib. To see what changed: `tar tvf` of both.

Compression of whole archives is in `tests/archive/write/test_compressors.py`: in 1.0.0 only xz.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archive.resolved_images import archive
from tests.images import Document, Flavor, attestation, foreign, image, index, layer
from tests.images.layers import file
from tests.images.samples import sample_image

KNOWN: dict[str, str] = json.loads(Path(__file__).with_name("bytes-1.0.0.json").read_text())


def _one(platform: str = "linux/amd64", seed: int = 0) -> Document:
    return sample_image(platform, "oci", ("none",), seed)


def _packed(platform: str = "linux/amd64", flavor: Flavor = "oci") -> Document:
    return sample_image(platform, flavor, ("gzip", "none"))


def _foreign() -> Document:
    near = layer([file("near", "near\n")], "none")
    far = layer([file("far", "far\n")], "none")
    return image([near, foreign(far, "https://foreign.invalid/far.tar")])


def _several() -> Document:
    images = [_one("linux/amd64"), _one("linux/arm64")]
    return index([*images, *map(attestation, images)], "oci")


IMAGES: dict[str, Callable[[], Document]] = {
    "docker": lambda: sample_image(compressions=("none",)),
    "oci": _one,
    "foreign": _foreign,
    "several": _several,
}
FLAVORS: tuple[Flavor, ...] = ("docker", "oci")
NAMES = {
    "by its tag": "ghcr.io/org/app:1.2",
    "of Docker Hub": "debian",
    "by its digest": "debian@{digest}",
}


def archives(folder: Path) -> dict[str, str]:
    """The digests of all kinds of archives, by what they are."""
    made = {}
    path = folder / "x.tar"

    def put(title: str, *documents: Document, **options: object) -> None:
        archive(path, *documents, **options)  # type: ignore[arg-type]
        made[title] = hashlib.sha256(path.read_bytes()).hexdigest()

    for form in ("docker", "oci", "legacy"):
        for name, build in IMAGES.items():
            document = build()
            for title, reference in NAMES.items():
                names = [reference.format(digest=document.digest)]
                put(f"{form}, {name}, {title}", document, form=form, names=names)
        pair = (_one(seed=1), _one(seed=2))
        put(f"{form}, two images", *pair, form=form, names=["a/b:1", "c.io/d:2"])
        put(f"{form}, with foreign layers", _foreign(), form=form, foreign=True)
        tagged = [NAMES["by its tag"]]
        for flavor in FLAVORS:
            packed = _packed(flavor=flavor)
            put(f"{form}, {flavor}, unpacked", packed, form=form, names=tagged, gunzip=True)
        if form != "legacy":
            put(f"{form}, all platforms", _several(), form=form, platform="all")
            put(
                f"{form}, all platforms, unpacked",
                index([_packed("linux/amd64"), _packed("linux/arm64")], "oci"),
                form=form,
                names=tagged,
                platform="all",
                gunzip=True,
            )
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of what is written today."""
    return archives(tmp_path_factory.mktemp("bytes"))


def test_all_of_them_are_known(made: dict[str, str]) -> None:
    assert set(made) == set(KNOWN)


@pytest.mark.parametrize("title", KNOWN)
def test_the_bytes_are_those_of_version_1_0_0(title: str, made: dict[str, str]) -> None:
    assert made[title] == KNOWN[title]
