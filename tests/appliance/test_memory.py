"""Little memory: a disk is taken where there is one, and what cannot work is said in one line."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.hosts import leftovers
from tests.appliance.memory import MIB, group, run
from tests.appliance.test_limits import SAVE, limit
from tests.appliance.test_signals import wait_until
from tests.images import big_image
from tests.registry.real import Registries


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """Return a file system in memory."""
    place = tmp_path / "in memory"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_save_where_memory_is_short_takes_a_disk(
    binary: Path, tmp_path: Path, in_memory: Path, registries: Registries
) -> None:
    """All that is unpacked, and what the program takes, do not fit."""
    registry = registries.get(tls=True)
    registries.push({"big": big_image(2, 10_000_000)})
    words = [registry.reference("big"), "-o", "a.tar", "--quiet", "--ca-file"]
    command = [str(binary), *words, str(registry.ca_file)]
    done = run(command, 32 * MIB, tmp_path, {"TMPDIR": str(in_memory)})
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.tar").stat().st_size > 20_000_000
    assert leftovers(tmp_path) == []


def test_what_is_installed_names_it_too(binary: Path, tmp_path: Path) -> None:
    subprocess.run([str(binary), "--install", str(tmp_path / "bin")], check=True)
    done = run([str(tmp_path / "bin" / "dockersave"), *SAVE], 13 * MIB, tmp_path, {})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("dockersave: cannot start: needs 16 MiB of memory, and 1")


@pytest.mark.parametrize("most", [10, 13, 16])
def test_too_little_memory_is_named_before_anything_is_killed(
    binary: Path, tmp_path: Path, most: int
) -> None:
    done = run([str(binary), *SAVE], most * MIB, tmp_path, {"TMPDIR": str(tmp_path)})
    assert (done.returncode, leftovers(tmp_path)) == (1, [])
    assert "MiB of memory, and" in done.stderr
    assert "bug" not in done.stderr


def test_a_group_with_enough_is_not_short(binary: Path, tmp_path: Path, in_memory: Path) -> None:
    """Then memory is as good a place as any."""
    with group(200 * MIB) as enter:
        launcher = subprocess.Popen(
            [str(binary), "127.0.0.1:1/x", "--wait", "60", "--quiet"],
            env={"TMPDIR": str(in_memory)},
            cwd=tmp_path,
            preexec_fn=enter,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        wait_until(lambda: leftovers(in_memory) or launcher.poll() is not None)
        launcher.terminate()
        launcher.communicate(timeout=20)
    assert launcher.returncode == 143


@pytest.mark.parametrize("most", [10_000_000, 13_000_000, 40_000_000, 80_000_000])
def test_too_few_addresses(binary: Path, tmp_path: Path, most: int) -> None:
    done = subprocess.run(
        [str(binary), *SAVE],
        env={"TMPDIR": str(tmp_path)},
        preexec_fn=limit(resource.RLIMIT_AS, most),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, leftovers(tmp_path)) == (1, [])
    assert "of addresses, and the limit is" in done.stderr or "Out of memory" in done.stderr
    assert "bug" not in done.stderr


def test_as_many_addresses_as_it_asks_for_are_enough(
    binary: Path, tmp_path: Path, registries: Registries
) -> None:
    registry = registries.get(tls=True)
    registries.push({"big": big_image(2, 10_000_000)})
    done = subprocess.run(
        [str(binary), registry.reference("big"), "--ca-file", str(registry.ca_file), "--quiet"],
        env={"TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        preexec_fn=limit(resource.RLIMIT_AS, 128 * MIB),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
