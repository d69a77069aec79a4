"""Sample images are what they say: valid, the same every time, and cheap where they are big."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.images import (
    GOOD,
    INDEXES,
    bomb_layer,
    chunks,
    digest_of,
    random_layer,
    read,
    sample_image,
)
from tests.images.layers import unpack


@pytest.mark.parametrize("name", GOOD)
def test_everything_in_an_image_is_what_its_descriptor_says(name: str) -> None:
    image = GOOD[name]()
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    described = [manifest["config"], *manifest["layers"]]
    blobs = {blob.digest: read(blob.data) for blob in image.blobs}
    assert {entry["digest"] for entry in described} == set(blobs)
    for entry in described:
        assert digest_of(blobs[entry["digest"]]) == entry["digest"]
        assert len(blobs[entry["digest"]]) == entry["size"]
    assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]
    for layer in image.layers:
        tar = unpack(layer)
        assert (digest_of(tar), len(tar)) == (layer.diff_id, layer.unpacked)
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            assert archive.getnames() == [entry.path for entry in layer.entries]


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_describes_its_children(name: str) -> None:
    index = INDEXES[name]()
    described = json.loads(index.manifest)["manifests"]
    assert [entry["digest"] for entry in described] == [child.digest for child in index.children]
    assert all(entry["platform"]["os"] for entry in described if "platform" in entry)


def test_the_same_bytes_in_another_process() -> None:
    program = (
        "from tests.images import *; print(*(d[n]().digest for d in (GOOD, INDEXES) for n in d))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [d[name]().digest for d in (GOOD, INDEXES) for name in d]


def test_the_file_system_that_the_layers_make() -> None:
    tree = sample_image().rootfs
    assert tree["etc/os-release"].data.endswith(b"VARIANT=changed\n")  # type: ignore[union-attr]
    assert "var/cache/new" in tree
    assert not {"var/cache/old", "var/obsolete"} & set(tree)
    assert not any(".wh." in path for path in tree)


def test_an_empty_layer_is_in_there_twice() -> None:
    image = sample_image()
    assert len(image.layers) == 5
    assert len(image.blobs) == 1 + 4


def test_a_big_layer_takes_no_memory() -> None:
    tracemalloc.start()
    layer = random_layer(100 << 20, seed=77)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert layer.size > 100 << 20
    assert peak < 16 << 20


@given(st.integers(0, 3 << 20), st.integers(0, 3 << 20))
def test_a_range_of_computed_bytes_is_part_of_all_of_them(one: int, other: int) -> None:
    layer = random_layer((2 << 20) + 12345, seed=3)
    whole = read(layer.data)
    start, stop = sorted(min(at, layer.size) for at in (one, other))
    assert b"".join(chunks(layer.data, start, stop)) == whole[start:stop]


def test_no_block_of_noise_is_like_another() -> None:
    whole = read(random_layer(5 << 20, seed=3).data)[512:]
    assert (
        len(
            {
                hashlib.sha256(whole[at : at + (1 << 20)]).digest()
                for at in range(0, 5 << 20, 1 << 20)
            }
        )
        == 5
    )


def test_a_bomb_is_small_until_it_is_unpacked() -> None:
    bomb = bomb_layer(64 << 20)
    assert bomb.size < 100_000
    assert bomb.unpacked > 64 << 20
    assert digest_of(unpack(bomb)) == bomb.diff_id
