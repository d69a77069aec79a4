"""What the table has no row for: other tools' archives, all platforms, foreign and no layers."""

from __future__ import annotations

import json
import random
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from dockersave import Network, Options, save
from dockersave.archive.read.verify import check_archive
from dockersave.limits import LIMITS
from tests.engines.containerd import SNAPSHOTTER, Containerd
from tests.engines.docker import Docker
from tests.engines.judge import Refused
from tests.engines.judges import Judges
from tests.engines.podman import Podman
from tests.engines.trees import built, differences
from tests.images import (
    GOOD,
    INDEXES,
    Image,
    Layer,
    Store,
    config_document,
    directory,
    empty_layer,
    file,
    foreign,
    image,
    layer,
    read,
)
from tests.images.documents import Flavor
from tests.processes import program
from tests.registry.real import Registries, Registry
from tests.registry.simulator import Simulator

PLAIN = Network(insecure=True)


@pytest.fixture(scope="module")
def verbose_image() -> Image:
    """Build an image whose config has something of everything that a v1 id depends on."""
    layers = [layer([file("a", "a\n")]), empty_layer("gzip"), layer([file("b", "b\n")])]
    config = config_document(
        [*layers, layers[1]],
        env=["A=<&>", "B=\u2028"],
        labels={"b<": "<&>\b\f\x7f", "a": "ü"},
        Volumes={"/z": {}, "/data": {}},
        ExposedPorts={"80/tcp": {}},
        Healthcheck={"Test": ["CMD", "x"], "Interval": 3_000_000_000, "Retries": 2},
        Entrypoint=["/e"],
        StopSignal="9",
        StopTimeout=0,
        OnBuild=[],
        Shell=["/bin/sh"],
        User="u",
        ArgsEscaped=True,
    )
    config |= {
        "created": "2024-01-02T03:04:05.120000Z",
        "author": "me <me@example.com>",
        "comment": "a comment",
        "container": "c" * 64,
        "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop)"], "hostname": "h"},
        "docker_version": "20.10.1",
    }
    return image([*layers, layers[1]], config=config)


def content(path: Path) -> dict[str, Any]:
    """Return an archive's files and links, documents parsed."""
    found: dict[str, Any] = {}
    with tarfile.open(path) as archive:
        for info in archive:
            if info.issym():
                found[info.name] = ("link", info.linkname)
            elif info.isreg():
                source = archive.extractfile(info)
                assert source is not None
                data = source.read()
                is_list = info.name in ("manifest.json", "repositories")
                found[info.name] = json.loads(data) if is_list else data
    return found


def real(found: dict[str, Any], path: str) -> str:
    """Return the file that a path leads to in an archive's `content`."""
    target = found[path]
    return str(target[1]).removeprefix("../") if isinstance(target, tuple) else path


def docker_of(judges: Judges) -> Docker:
    """Return the real dockerd, with nothing in it."""
    judge = judges["docker"]
    assert isinstance(judge, Docker)
    judge.forget()
    return judge


@pytest.mark.parametrize("gunzip", [True, False], ids=["gunzip", "as-served"])
@pytest.mark.parametrize("name", ["docker", "verbose"])
def test_the_legacy_format_is_what_docker_save_writes(
    name: str,
    gunzip: bool,
    registries: Registries,
    judges: Judges,
    verbose_image: Image,
    tmp_path: Path,
) -> None:
    docker = docker_of(judges)
    if docker.version >= (25,):
        pytest.skip("Docker writes it no more since version 25")
    registries.push({"verbose": verbose_image})
    reference = registries.get().reference(name)
    ours, dockers = tmp_path / "ours.tar", tmp_path / "docker.tar"
    save(reference, output=ours, options=Options(format="legacy", gunzip=gunzip), network=PLAIN)
    docker.load(ours)
    docker.docker("save", "--output", dockers, reference)
    mine, theirs = content(ours), content(dockers)
    # Docker names the link; not every engine follows it there.
    for entry in theirs["manifest.json"]:
        entry["Layers"] = [real(theirs, path) for path in entry["Layers"]]
    if not gunzip:
        for found in (mine, theirs):
            for path in [path for path in found if isinstance(found[path], bytes)]:
                found[path] = b"" if path.endswith("layer.tar") else found[path]
    assert mine == theirs


def test_checks_what_docker_save_wrote(
    judges: Judges, plain_registry: Registry, tmp_path: Path
) -> None:
    docker, path = docker_of(judges), tmp_path / "a.tar"
    names = [plain_registry.reference(name) for name in ("docker", "oci", "one-layer")]
    save(*names, output=path, network=PLAIN)
    docker.load(path)
    docker.docker("save", "--output", path, *names)
    report = check_archive(path)
    assert not report.faults
    assert {name for found in report.images for name in found.names} == set(names)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_checks_what_podman_save_wrote(
    form: str, judges: Judges, plain_registry: Registry, tmp_path: Path
) -> None:
    podman, path = judges["podman"], tmp_path / "a.tar"
    assert isinstance(podman, Podman)
    podman.forget()
    names = [plain_registry.reference(name) for name in ("docker", "one-layer")]
    save(*names, output=path, network=PLAIN)
    podman.load(path)
    written = tmp_path / "written"
    several = ["--multi-image-archive"] if form == "docker-archive" else []
    podman.podman(
        "save", "--quiet", *several, "--format", form, "--output", written,
        *(names if several else names[:1]),
    )  # fmt: skip
    report = check_archive(written)
    assert not report.faults
    assert len(report.images) == (2 if several else 1)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("name", ["docker", "oci"])
def test_checks_what_skopeo_wrote(
    name: str, form: str, plain_registry: Registry, judges: Judges, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar"
    places = [f"docker://{plain_registry.reference(name)}", f"{form}:{path}:sample:latest"]
    command = [program("skopeo"), "copy", "--quiet", "--src-tls-verify=false", *places]
    subprocess.run(command, check=True)
    report = check_archive(path)
    assert not report.faults
    assert len(report.images) == 1


@pytest.mark.parametrize("gunzip", [False, True], ids=["as-served", "gunzip"])
@pytest.mark.parametrize("form", ["docker", "oci"])
@pytest.mark.parametrize("name", ["oci-multi", "multi", "nested"])
def test_all_platforms_load(
    name: str, form: str, gunzip: bool, plain_registry: Registry, judges: Judges, tmp_path: Path
) -> None:
    path, reference = tmp_path / "a.tar", plain_registry.reference(name)
    options = Options(platform="all", format=form, gunzip=gunzip)
    (saved,) = save(reference, output=path, options=options, network=PLAIN).images
    if not gunzip:
        assert saved.digest == INDEXES[name]().digest
    containerd = judges["containerd"]
    assert isinstance(containerd, Containerd)
    containerd.forget()
    containerd.ctr("images", "import", "--all-platforms", *SNAPSHOTTER, path)
    assert saved.digest in containerd.ctr("images", "ls", f"name=={reference}")
    if name != "nested":  # skopeo does not accept an index as an image
        command = [program("skopeo"), "copy", "--quiet", "--all", f"oci-archive:{path}"]
        subprocess.run([*command, f"dir:{tmp_path}/copy"], check=True)
        copied = json.loads((tmp_path / "copy" / "manifest.json").read_text())
        assert len(copied["manifests"]) == len(INDEXES[name]().children)


@contextmanager
def elsewhere(far: Layer) -> Iterator[tuple[str, list[str]]]:
    """Serve a layer at a URL; yield that, and the credentials that are sent there."""
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(self.headers.get("Authorization", ""))
            self.send_response(200)
            self.send_header("Content-Length", str(far.size))
            self.end_headers()
            self.wfile.write(read(far.data))

        def log_message(self, *arguments: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/far", sent
        server.shutdown()


@pytest.mark.parametrize("form", ["docker", "oci", "legacy"])
def test_foreign_layers(form: str, judges: Judges, tmp_path: Path) -> None:
    far = layer([file("far", "far\n")])
    engines = {"docker": "docker", "oci": "containerd", "legacy": "podman"}
    judge = judges[engines[form]]
    judge.forget()
    without, complete = tmp_path / "without.tar", tmp_path / "complete.tar"
    with elsewhere(far) as (url, sent):
        document = image([layer([directory("etc"), file("near", "near\n")]), foreign(far, url)])
        with Simulator(Store.of({"sample": document})) as registry:
            name = f"{registry.host}/sample:latest"
            network = Network(insecure=True, user="user", password="canary-password")
            said: list[str] = []
            options = Options(format=form)
            save(name, output=without, options=options, network=network, notify=said.append)
            assert any("foreign" in line for line in said)
            assert not sent
            options = Options(format=form, foreign=True)
            save(name, output=complete, options=options, network=network)
            assert set(sent) == {""}, "credentials belong to the registry"
    # Nobody serves it any more: an engine cannot fetch it.
    with pytest.raises(Refused):
        judge.load(without)
    judge.forget()
    (loaded,) = judge.load(complete)
    assert not differences(built(document), judge.export(loaded))
    if form == "docker":
        assert judge.load(without) == [loaded], "docker has the layer now"


@pytest.mark.parametrize(
    ("engine", "form"),
    [
        *(("docker", form) for form in ("docker", "legacy")),
        *(("containerd", form) for form in ("docker", "oci", "legacy")),
        *(("podman", form) for form in ("docker", "oci", "legacy")),
    ],
)
def test_an_image_without_layers(
    engine: str, form: str, registries: Registries, judges: Judges, tmp_path: Path
) -> None:
    registries.push({"no-layers": image([])})
    path, reference = tmp_path / "a.tar", registries.get().reference("no-layers")
    save(reference, output=path, options=Options(format=form), network=PLAIN)
    judge = judges[engine]
    judge.forget()
    assert judge.load(path) == [reference]
    assert judge.inspect(reference).image_id == image([]).config_digest


@pytest.mark.parametrize(
    ("engine", "suffix"),
    [
        *(("docker", suffix) for suffix in (".tar.gz", ".tar.xz")),
        *(("podman", suffix) for suffix in (".tar.gz", ".tar.zst", ".tar.xz")),
        *(("skopeo docker-archive", suffix) for suffix in (".tar.zst", ".tar.xz")),
        *(("skopeo oci-archive", suffix) for suffix in (".tar.gz", ".tar.zst", ".tar.xz")),
    ],
)
def test_a_compressed_archive_of_several_blocks(
    engine: str, suffix: str, registries: Registries, judges: Judges, tmp_path: Path
) -> None:
    """Blocks of gzip, frames of zstd with the largest window that we ask for, streams of xz."""
    noise = random.Random(1).randbytes(LIMITS.zstd_block // 16)
    block = noise + bytes(LIMITS.zstd_block - 2 * len(noise)) + noise
    document = image([layer([directory("etc"), file("etc/blocks", block * 2)], "none")])
    registries.push({"blocks": document})
    path, reference = tmp_path / f"x{suffix}", registries.get().reference("blocks")
    save(reference, output=path, network=PLAIN)
    ((_, tree),) = judges[engine].load_and_export(path)
    assert not differences(built(document), tree)


def test_two_names_for_one_image(registries: Registries, judges: Judges, tmp_path: Path) -> None:
    tags = ("latest", "other")
    for tag in tags:
        registries.push({"two-names": GOOD["docker"]()}, tag)
    names = [registries.get().reference("two-names", tag) for tag in tags]
    path = tmp_path / "a.tar"
    save(*names, names[0], output=path, network=PLAIN)
    for name in ("docker", "containerd", "podman"):
        judge = judges[name]
        judge.forget()
        assert sorted(judge.load(path)) == sorted(names)


@pytest.mark.parametrize(
    ("engine", "form"),
    [
        *(("docker", form) for form in ("docker", "legacy")),
        *(("containerd", form) for form in ("docker", "oci", "legacy")),
        # podman 4.3 takes one image of an OCI layout.
        *(("podman", form) for form in ("docker", "legacy")),
        *(("skopeo docker-archive", form) for form in ("docker", "legacy")),
    ],
)
def test_several_images_load(
    engine: str, form: str, plain_registry: Registry, judges: Judges, tmp_path: Path
) -> None:
    samples = {plain_registry.reference(name): GOOD[name]() for name in ("docker", "one-layer")}
    path = tmp_path / "a.tar"
    save(*samples, output=path, options=Options(format=form), network=PLAIN)
    judge = judges[engine]
    judge.forget()
    trees = dict(judge.load_and_export(path))
    assert sorted(trees) == sorted(samples)
    for name, built_image in samples.items():
        assert not differences(built(built_image), trees[name])


@pytest.mark.parametrize("form", ["docker", "oci", "legacy"])
@pytest.mark.parametrize("flavor", ["oci", "docker"])
def test_two_images_with_one_tag_are_told_apart(
    form: str, flavor: Flavor, judges: Judges, registries: Registries, tmp_path: Path
) -> None:
    """`debian:latest` and `org/app:latest` in one archive: each engine has both, by their names."""
    made: dict[str, Image] = {}
    for name in ("one", "org/two"):
        files = [directory("etc"), file("etc/name", f"{name} {form} {flavor}\n")]
        made[name] = image([layer(files)], flavor=flavor)
    registry = registries.get()
    registries.push(dict(made), "same")
    output = tmp_path / "bundle.tar"
    names = {name: registry.reference(name, "same") for name in made}
    save(*names.values(), output=output, options=Options(format=form), network=PLAIN)
    assert check_archive(output).is_right
    engines = ["docker", "podman", "containerd", "skopeo docker-archive"]
    if form == "oci":
        # podman takes several images of a Docker archive only.
        engines = ["containerd"]
    for engine in engines:
        trees = dict(judges[engine].load_and_export(output))
        assert set(trees) == set(names.values()), engine
        for name, built_image in made.items():
            assert not differences(built(built_image), trees[names[name]]), engine
    if form == "legacy":
        return
    for name, reference in names.items():
        target = tmp_path / name.replace("/", "-")
        source = f"oci-archive:{output}:{reference}"
        command = [program("skopeo"), "copy", "--quiet", source, f"dir:{target}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        if flavor == "docker" and done.returncode:
            # skopeo 1.9 looks for names only among manifests of the OCI's type.
            continue
        assert done.returncode == 0, done.stderr
        assert (target / "manifest.json").read_bytes() == made[name].manifest
