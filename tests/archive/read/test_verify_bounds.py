"""Archives that would take too much, that cannot be read, or that other tools wrote."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dockersave.archive.read.verify import check_archive
from dockersave.cancellation import Cancellation
from dockersave.errors import CancelledError, UsageError
from dockersave.limits import LIMITS
from dockersave.progress import Progress, Transfer
from tests.archive.handmade_tars import Raw, members_of, tar
from tests.archive.read.reports import check, faults
from tests.archive.resolved_images import archive
from tests.compressors import COMPRESSORS
from tests.images import (
    GOOD,
    ODD,
    big_image,
    config_document,
    file,
    image,
    layer,
    read,
)

NEAR = layer([file("near", "near\n")])


def test_indexes_that_hold_one_another_many_times(tmp_path: Path) -> None:
    """2 ^ 20 ways lead down, and each index is read once."""
    members, digest = {}, ""
    size, kind = 0, "application/vnd.oci.image.index.v1+json"
    for _ in range(4):
        child = {"mediaType": kind, "digest": digest, "size": size}
        body = json.dumps(
            {"schemaVersion": 2, "mediaType": kind, "manifests": [child] * 9000 if digest else []}
        ).encode()
        digest, size = f"sha256:{hashlib.sha256(body).hexdigest()}", len(body)
        members[digest] = Raw(f"blobs/{digest.replace(':', '/')}", body)
    top = {"schemaVersion": 2, "manifests": [{"mediaType": kind, "digest": digest, "size": size}]}
    data = tar(
        *members.values(),
        Raw("index.json", json.dumps(top).encode()),
        Raw("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    )
    check(data, tmp_path)


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(LIMITS, archive_members=100)
    monkeypatch.setattr("dockersave.archive.read.inventory.LIMITS", limits)
    (fault,) = faults(check(tar(*(Raw(f"{number}", b"") for number in range(101))), tmp_path))
    assert "more than 100 members" in fault


def test_a_decompression_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = archive(tmp_path / "bomb.tar", ODD["bomb"]())
    assert path.stat().st_size < 2 << 20
    assert _peak(path) < 40 << 20
    twice = tmp_path / "bomb.tar.xz"
    twice.write_bytes(lzma.compress(tar(Raw("zeros", bytes(64 << 20))), preset=0))
    assert _peak(twice) < 40 << 20


def test_a_large_archive_takes_no_memory(tmp_path: Path) -> None:
    path = archive(tmp_path / "big.tar", big_image(4, 20 << 20))
    assert _peak(path) < 40 << 20


def _peak(path: Path) -> int:
    """Return the peak of a checking process's memory, in bytes."""
    program = (
        "import re, sys; from dockersave.archive.read.verify import check_archive;"
        "check_archive(sys.argv[1]);"
        "print(int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]) * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, check=True, text=True
    )
    return int(done.stdout)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        check_archive(tmp_path / "missing.tar")


def test_devices_and_sockets_are_not_read(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # Its name must be short.
        listener.bind(name := os.path.relpath(tmp_path / "socket"))
        for path in ("/dev/zero", "/dev/null", name):
            with pytest.raises(UsageError, match="neither a file, a directory nor a pipe"):
                check_archive(path)


def test_a_named_pipe(samples: dict[str, Path], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = samples["docker"].read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    assert not faults(check_archive(pipe))
    writer.join()


@pytest.mark.parametrize("kind", ["", "gzip"])
def test_zeros_without_end_behind_an_archive(
    kind: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    data = samples["docker"].read_bytes()
    path = tmp_path / "a.tar"
    path.write_bytes(COMPRESSORS[kind](data) if kind else data)
    assert not faults(check_archive(path))
    with path.open("ab") as file:
        file.truncate(1 << 40)
    (fault,) = faults(check_archive(path))
    assert "more than" in fault


def test_it_can_be_stopped(samples: dict[str, Path]) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        check_archive(samples["docker"], cancellation=cancellation)


def test_progress(samples: dict[str, Path]) -> None:
    watched: list[Transfer] = []

    class Watcher(Progress):
        def start(self, transfers: Sequence[Transfer]) -> None:
            watched.extend(transfers)

    check_archive(samples["docker"], progress=Watcher())
    (transfer,) = watched
    size = samples["docker"].stat().st_size
    assert (transfer.present, transfer.size, transfer.done) == (size, size, True)


def test_the_failure_names_the_member(tmp_path: Path) -> None:
    report = check(tar(Raw("manifest.json", b"x"), Raw("../a", b"x")), tmp_path)
    failure = report.failure()
    assert failure.exit_code == 6
    assert str(tmp_path / "archive.tar") in str(failure)
    assert "../a" in str(failure) or "manifest.json" in str(failure)


def test_what_is_still_being_saved_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.part"
    path.write_bytes(tar(Raw("manifest.json", b"x")))
    failure = check_archive(path).failure()
    assert f"{path} is incomplete" in failure.message
    assert failure.hint == "save it again, which continues"


def test_an_image_only_engines_before_docker_1_10_know(tmp_path: Path) -> None:
    built = GOOD["docker"]()
    members = members_of(archive(tmp_path / "a.tar", built, form="legacy"))
    kept = [each for each in members if each.path != "manifest.json"]
    report = check(tar(*kept), tmp_path)
    assert not faults(report)
    assert report.formats == ("legacy",)
    assert [found.names for found in report.images] == [("sample:latest",)]
    gone = next(each for each in kept if each.path.endswith("layer.tar"))
    lines = faults(check(tar(*(each for each in kept if each != gone)), tmp_path))
    assert any(gone.path in line for line in lines)


def test_configs_of_8_mib_of_lists_take_little_memory(tmp_path: Path) -> None:
    """No registry gets such an image into an archive of ours, but others may write one."""
    config = config_document([NEAR])
    config["padding"] = [[]] * 2_000_000
    entry = [{"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": ["sample:latest"]}]
    path = tmp_path / "a.tar"
    path.write_bytes(
        tar(
            Raw("config.json", json.dumps(config).encode()),
            Raw("layer.tar", read(NEAR.data)),
            Raw("manifest.json", json.dumps(entry).encode()),
        )
    )
    assert any("too many values" in line for line in faults(check_archive(path)))
    assert _peak(path) < 60 << 20


def test_links_that_go_round(tmp_path: Path) -> None:
    circle = [Raw(f"{n}", type=tarfile.SYMTYPE, target=f"{(n + 1) % 3}") for n in range(3)]
    entry = [{"Config": "0", "Layers": [], "RepoTags": []}]
    data = tar(*circle, Raw("manifest.json", json.dumps(entry).encode()))
    assert any("is missing" in line for line in faults(check(data, tmp_path)))


def test_what_crane_writes(tmp_path: Path) -> None:
    """go-containerregistry, pkg/v1/tarball: layers by their own digest, the config with a colon."""
    built = GOOD["docker"]()
    layers = [f"{each.digest.partition(':')[2]}.tar.gz" for each in built.layers]
    entry = [{"Config": built.config_digest, "RepoTags": ["sample:latest"], "Layers": layers}]
    members = [
        Raw(built.config_digest, built.config),
        *(
            Raw(name, read(each.data))
            for name, each in dict(zip(layers, built.layers, strict=True)).items()
        ),
        Raw("manifest.json", json.dumps(entry).encode()),
    ]
    report = check(tar(*members), tmp_path)
    assert not faults(report)
    assert [(found.names, found.platform) for found in report.images] == [
        (("sample:latest",), "linux/amd64")
    ]
    members[1] = replace(members[1], data=members[2].data)
    lines = faults(check(tar(*members), tmp_path))
    assert any(layers[0] in line for line in lines)


def test_what_regctl_writes(tmp_path: Path) -> None:
    """regclient, image export: an OCI layout, and a manifest.json without a config's name."""
    built = GOOD["oci"]()
    entry = [
        {
            "Config": f"blobs/{built.config_digest.replace(':', '/')}",
            "RepoTags": ["sample:latest"],
            "Layers": [f"blobs/{each.digest.replace(':', '/')}" for each in built.layers],
            "LayerSources": {each.diff_id: each.descriptor() for each in built.layers},
        }
    ]
    index = {
        "schemaVersion": 2,
        "manifests": [
            built.descriptor() | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
        ],
    }
    blobs = {blob.digest: read(blob.data) for blob in built.blobs}
    blobs[built.digest] = built.manifest
    data = tar(
        Raw("blobs", type=tarfile.DIRTYPE),
        Raw("blobs/sha256", type=tarfile.DIRTYPE),
        *(Raw(f"blobs/{digest.replace(':', '/')}", body) for digest, body in blobs.items()),
        Raw("index.json", json.dumps(index).encode()),
        Raw("manifest.json", json.dumps(entry).encode()),
        Raw("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    )
    report = check(data, tmp_path)
    assert not faults(report)
    assert [found.names for found in report.images] == [("latest",)]


def test_what_is_printed_can_be_printed(tmp_path: Path) -> None:
    config = config_document([NEAR], "linux/\x1b[31mred")
    path = archive(tmp_path / "a.tar", image([NEAR], config=config), platform="all")
    (found,) = check_archive(path).images
    assert found.platform == "linux/?[31mred"


ESCAPES = "\x1b]0;owned\x07"


def test_what_is_cut_off_is_named_so_that_it_can_be_printed(tmp_path: Path) -> None:
    (fault,) = faults(check(Raw(ESCAPES, b"x" * 2000).to_bytes()[:1024], tmp_path))
    assert fault == "the archive is truncated in ?]0;owned?"


def test_what_documents_name_can_be_printed(tmp_path: Path) -> None:
    """Every place where a message quotes a name of somebody else's choice."""
    layer_data = tar(Raw("a", b"a"))
    config = config_document([NEAR])
    config["rootfs"] = {"type": "layers", "diff_ids": ["sha512:" + "0" * 128, NEAR.diff_id]}
    entry = {"Config": f"{ESCAPES}.json", "Layers": [ESCAPES, f"{ESCAPES}2"], "RepoTags": ["a:1"]}
    v1 = {"id": ESCAPES}
    report = check(
        tar(
            Raw(ESCAPES, layer_data),
            Raw(f"{ESCAPES}2", layer_data),
            Raw(f"{ESCAPES}.json", json.dumps(config).encode()),
            Raw("manifest.json", json.dumps([entry]).encode()),
        ),
        tmp_path,
    )
    (fault,) = faults(report)
    assert "but ?]0;owned?.json says" in fault
    (note,) = report.notes
    assert note.startswith("?]0;owned? was not checked")
    report = check(
        tar(
            Raw(f"{ESCAPES}/json", json.dumps(v1).encode()),
            Raw(f"{ESCAPES}/layer.tar", layer_data),
            Raw("0" * 64 + "/json", b"{}"),
            Raw("repositories", json.dumps({"a": {"1": ESCAPES}}).encode()),
        ),
        tmp_path,
    )
    assert not faults(report)
    assert [found.digest for found in report.images] == ["sha256:?]0;owned?"]
