"""Where a save goes, and where it must not."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dockersave.archive.read.verify import check_archive
from dockersave.errors import ContentError, OutputError
from dockersave.model.formats import FORMATS
from dockersave.model.options import Options
from dockersave.saving.save import Saved, save
from tests.images import INDEXES, file, image, layer, read
from tests.registry.real import Registry
from tests.registry.simulator import Fault
from tests.saving.from_simulator import PLAIN, names_in, refused, serving


def test_outputs_that_cannot_be_written(plain_registry: Registry, tmp_path: Path) -> None:
    reference = plain_registry.reference("docker")
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    before = names_in(tmp_path)
    for path, said in (
        (tmp_path / "directory", "is a directory"),
        (tmp_path / "missing" / "a.tar", "No such file"),
        (tmp_path / "file" / "a.tar", "Not a directory"),
        (Path("/proc/a.tar"), "/proc/a.tar"),
    ):
        for changes in ({}, {"xz": True}, {"gunzip": True}):
            failure = refused(reference, output=str(path), **changes)
            assert isinstance(failure, OutputError)
            assert said in str(failure)
            assert failure.hint
    failure = refused(reference, working_dir=str(tmp_path), layers_dir="file", tar=False, tree=True)
    assert "not a directory" in str(failure)
    assert failure.exit_code == 7
    assert names_in(tmp_path) == before
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize(
    "changes", [{}, {"xz": True}, {"gunzip": True}, {"tree": True, "tar": False}], ids=str
)
def test_a_disk_that_is_full(
    changes: dict[str, bool], plain_registry: Registry, small_disk: Path
) -> None:
    old = small_disk / "a.tar"
    name = "layers_dir" if changes.get("tree") else "output"
    if name == "output":
        old.write_bytes(b"old")
    options = {"working_dir": str(small_disk), name: "a.tar", **changes}
    failure = refused(plain_registry.reference("docker"), **options)
    assert isinstance(failure, OutputError)
    if changes.get("xz"):
        # How large it will be is not known beforehand.
        assert "No space left" in str(failure)
        assert "free some space" in failure.hint
        assert "starts from the beginning" in failure.hint
    else:
        assert re.search(r"needs (at least )?\d+ kB, but only \d+ kB is free in ", str(failure))
    if name == "output":
        assert old.read_bytes() == b"old"
    else:
        assert not old.exists()


@pytest.mark.parametrize("more", [[], ["--xz"], ["--gunzip"]], ids=str)
def test_a_stream_to_a_full_disk_begins_anew(
    more: list[str], plain_registry: Registry, tmp_path: Path
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [
                sys.executable, "-m", "dockersave", "--insecure", "--output", "-", *more,
                plain_registry.reference("docker"),
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
    assert done.returncode == 7
    assert "cannot write standard output: No space left" in done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "the same command again: it starts from the beginning"
    )


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount a disk in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk of 200 KiB; the samples have 300 KB."""
    with mounted(tmp_path / "disk", "size=200k") as folder:
        yield folder


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory that root cannot write either."""
    with mounted(tmp_path / "disk", "ro") as folder:
        yield folder


def test_a_disk_that_is_read_only(plain_registry: Registry, read_only_disk: Path) -> None:
    failure = refused(plain_registry.reference("docker"), working_dir=str(read_only_disk))
    assert isinstance(failure, OutputError)
    assert "Read-only file system" in str(failure)
    assert failure.hint


def test_it_works_in_threads_at_once(plain_registry: Registry, tmp_path: Path) -> None:
    results: dict[int, Saved] = {}

    def work(number: int) -> None:
        results[number] = save(
            plain_registry.reference("docker"), output=tmp_path / f"{number}.tar", network=PLAIN
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(tmp_path / f"{number}.tar").read_bytes() for number in results}) == 1
    assert len(results) == 4


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
def test_the_size_of_a_compressed_archive_is_that_of_the_file(
    suffix: str, plain_registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / f"a.tar{suffix}"
    saved = save(
        plain_registry.reference("docker"),
        output=path,
        options=Options(gunzip=True),
        network=PLAIN,
    )
    assert saved.size == path.stat().st_size


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_all_platforms_in_one_archive(form: str, plain_registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    options = Options(platform="all", format=form)
    (saved,) = save(
        plain_registry.reference("oci-multi"), output=path, options=options, network=PLAIN
    ).images
    assert saved.digest == INDEXES["oci-multi"]().digest
    assert str(saved.platform) == "linux/amd64"
    assert not check_archive(path).faults
    again = save(plain_registry.reference("oci-multi"), output=path, options=options, network=PLAIN)
    assert again.unchanged


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "changes", [{}, {"xz": True}, {"gunzip": True}, {"tree": True, "tar": False}], ids=str
)
def test_an_image_without_layers(form: str, changes: dict[str, bool], tmp_path: Path) -> None:
    with serving(sample=image([], flavor="oci")) as registry:
        options = Options(format=form, working_dir=str(tmp_path), **changes)  # type: ignore[arg-type]
        saved = save(f"{registry.host}/sample", options=options, network=PLAIN)
    report = check_archive(saved.paths[0])
    assert not report.faults
    assert len(report.images) == 1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("gunzip", [False, True], ids=["as-served", "gunzip"])
def test_sha512(form: str, gunzip: bool, tmp_path: Path) -> None:
    """Digests of the other registered algorithm (OCI descriptor.md, "Registered algorithms")."""
    narrow = layer([file("a", "a\n")])
    data = read(narrow.data)
    wide = replace(narrow, digest=f"sha512:{hashlib.sha512(data).hexdigest()}")
    with serving(sample=image([wide], flavor="oci")) as registry:
        name, path = f"{registry.host}/sample", tmp_path / "a.tar"
        options = Options(format=form, gunzip=gunzip)
        save(name, output=path, options=options, network=PLAIN)
        assert not check_archive(path).faults
        again = save(name, output=path, options=options, network=PLAIN)
        assert again.unchanged or (form == "legacy" and gunzip)
        registry.faults.add(Fault.flip_bit(at=30, on="blob"))
        with pytest.raises(ContentError):
            save(name, output=tmp_path / "b.tar", options=options, network=PLAIN)
