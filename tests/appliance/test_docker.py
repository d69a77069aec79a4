"""The image `FROM scratch` of `--help boot` in a real dockerd: the binary alone, as process 1."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.hosts import example
from tests.engines.docker import Docker
from tests.processes import scratch
from tests.registry.real import Registries

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def docker(binary: Path) -> Iterator[Docker]:
    """Run dockerd, with the guide's image in it."""
    folder = scratch("appliance-docker")
    engine = Docker(folder)
    context = folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(example("dockerfile"))
    shutil.copy(binary, context / "dockersave-static")
    engine.docker("build", "--quiet", "--tag", "dockersave", context)
    yield engine
    engine.close()
    shutil.rmtree(folder, ignore_errors=True)


OPTIONS: dict[str, list[str]] = {
    "as it is": [],
    "read-only": ["--read-only"],
    "read-only with a temporary file system": ["--read-only", "--tmpfs", "/tmp"],
    "an unknown user": ["--user", "12345:12345"],
    "without privileges": ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
}


@pytest.mark.parametrize("options", OPTIONS)
def test_main_job(docker: Docker, registries: Registries, tmp_path: Path, options: str) -> None:
    tmp_path.chmod(0o777)
    reference = registries.get().reference("docker")
    words = ["run", "--rm", "--network", "host", *OPTIONS[options], "-v", f"{tmp_path}:/images"]
    docker.docker(*words, "dockersave", "--insecure", reference)
    assert [path.name for path in tmp_path.iterdir()] == ["docker-latest.tar"]


def test_main_job_over_tls(docker: Docker, registries: Registries, tmp_path: Path) -> None:
    """With nothing but the certificate of the registry's authority."""
    reference = registries.get(tls=True).reference("docker")
    words = ["run", "--rm", "--network", "host", "-v", f"{registries.ca_file}:/ca.pem:ro"]
    digest = docker.docker(*words, "dockersave", "--ca-file", "/ca.pem", "--sha", reference)
    assert digest.startswith("sha256:")


def test_stop(docker: Docker) -> None:
    words = ["run", "--detach", "--network", "host", "dockersave"]
    container = docker.docker(*words, "--wait", "60", "127.0.0.1:1/x").strip()
    time.sleep(2)
    docker.docker("stop", "--time", "20", container)
    assert docker.docker("inspect", "--format", "{{.State.ExitCode}}", container).strip() == "143"
    assert docker.docker("diff", container).strip() == ""
    docker.docker("rm", container)
