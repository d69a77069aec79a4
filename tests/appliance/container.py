"""The build in every engine: `make test-container`, and no other run, since it takes minutes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.engines.docker import Docker
from tests.processes import scratch

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "build" / "out" / "container"
BASE = "localhost/dockersave-standin:1"
ENGINES = ("docker", "podman", "buildah")


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Return variables with which engines have stores of their own, the stand-in in them."""
    folder = scratch("container")
    docker = Docker(folder)
    store = folder / "storage.conf"
    store.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
    )
    variables = {
        "DOCKER_HOST": f"unix://{docker.socket}",
        "CONTAINERS_STORAGE_CONF": str(store),
        "BASE_IMAGE": BASE,
    }
    for engine in ("docker", "podman"):  # buildah has podman's store
        run([engine, "import", os.environ["STANDIN"], BASE], variables)
    yield variables
    docker.close()
    shutil.rmtree(folder)


def run(command: list[str], variables: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


@pytest.mark.timeout(1800)
def test_the_same_bytes_from_every_engine(environment: dict[str, str]) -> None:
    made = {}
    for engine in ENGINES:
        run(["sh", "build/container.sh", str(OUTPUT)], {**environment, "ENGINE": engine})
        names = ("dockersave-static", "dockersave-static.components.json")
        made[engine] = tuple((OUTPUT / name).read_bytes() for name in names)
        # Nothing is left of it.
        images = run([engine, "images", "--all", "--quiet", "--no-trunc"], environment)
        assert len(images.split()) == 1, engine
    assert len(set(made.values())) == 1
