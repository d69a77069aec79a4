"""What a save would do: it is told, it is true, and nothing of it is done."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave import (
    Forecast,
    Network,
    NotFoundError,
    Options,
    OutputError,
    Saved,
    forecast,
    save,
)
from dockersave.archive import disk
from dockersave.cli.answers import outlook
from tests.images import Store, image, random_layer, sample_index
from tests.registry.simulator import Simulator

LAYERS = [random_layer(20_000, 1, "gzip"), random_layer(3000, 2)]
APP = image(LAYERS)
STORE = Store.of({"app": APP, "multi": sample_index(), "new": image([*LAYERS, random_layer(9, 3)])})


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Return a registry; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    with Simulator(STORE) as running:
        yield running


def foreseen(server: Simulator, name: str = "app", **options: object) -> Forecast:
    return forecast(
        f"{server.host}/{name}",
        options=Options(**options),  # type: ignore[arg-type]
        network=Network(insecure=True),
    )


def done(server: Simulator, name: str = "app", **options: object) -> Saved:
    return save(
        f"{server.host}/{name}",
        options=Options(**options),  # type: ignore[arg-type]
        network=Network(insecure=True),
    )


def test_nothing_is_done(server: Simulator) -> None:
    found = foreseen(server, cache_dir="cache", output="x.tar", tree=True)
    assert os.listdir(".") == []
    assert [request.kind for request in server.requests] == ["manifest", "config"]
    assert found.paths == ("x.tar", "x")
    assert found.images[0].digest == APP.digest
    assert [layer.digest for layer in found.layers] == [each.digest for each in APP.layers]
    assert {layer.source for layer in found.layers} == {server.host}
    assert found.free


@pytest.mark.parametrize(
    "options",
    [{}, {"format": "oci"}, {"format": "legacy"}, {"output": "deep.tar"}, {"gunzip": True}],
    ids=str,
)
def test_what_is_told_comes_true(server: Simulator, options: dict[str, object]) -> None:
    found = forecast(
        f"{server.host}/app",
        options=Options(**options),  # type: ignore[arg-type]
        network=Network(insecure=True),
    )
    saved = save(
        f"{server.host}/app",
        options=Options(**options),  # type: ignore[arg-type]
        network=Network(insecure=True),
    )
    assert saved.paths == found.paths
    # That of unpacked layers' manifest is not known before.
    assert saved.images == found.images or options.get("gunzip")
    assert (saved.fetched, saved.reused) == (found.fetched, found.reused)
    # A layer's size is known when it is unpacked.
    assert found.size == (None if options.get("gunzip") else saved.size)
    assert found.size in (None, os.path.getsize(saved.paths[0]))


def test_all_platforms(server: Simulator) -> None:
    found = foreseen(server, "multi", platform="all")
    assert len(found.images[0].platforms) > 2
    assert len({layer.digest for layer in found.layers}) == len(found.layers), "each once"


def test_what_is_there_is_reused(server: Simulator) -> None:
    done(server)
    found = foreseen(server, "new", reuse=("app-latest.tar",))
    assert [layer.is_reused for layer in found.layers] == [True, True, False]
    assert [layer.source for layer in found.layers] == [*["app-latest.tar"] * 2, server.host]
    assert found.fetched == found.layers[2].size
    assert found.reused == sum(layer.size for layer in found.layers[:2])
    again = foreseen(server)
    assert again.fetched == 0


def test_what_a_cache_keeps_is_reused(server: Simulator) -> None:
    done(server, cache_dir="cache")
    os.unlink("app-latest.tar")
    assert foreseen(server, cache_dir="cache").fetched == 0


def test_something_of_another_size_is_not_reused(server: Simulator) -> None:
    done(server, cache_dir="cache")
    os.unlink("app-latest.tar")
    for path in Path("cache").rglob("*"):
        if path.is_file():
            path.write_bytes(b"cut")
    assert foreseen(server, cache_dir="cache").reused == 0


def test_where_there_is_no_room(server: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    done(server)
    monkeypatch.setattr(disk, "free_room", lambda fd: 1000)
    with pytest.raises(OutputError, match=r"cannot write x.tar: needs .* 1 kB is free in \."):
        foreseen(server, output="x.tar").check_room()
    foreseen(server).check_room()  # existing content is not written again
    foreseen(server, output="-").check_room()


def test_an_archive_that_is_compressed(server: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """How large it becomes is seen when it is written."""
    found = foreseen(server, output="x.tar.gz")
    assert found.compression == "gzip"
    (line,) = (each for each in outlook(found, as_json=False) if each.startswith("to write: "))
    assert line.endswith("kB, before it is compressed with gzip")
    packed = sum(layer.size for layer in found.layers[:1])
    monkeypatch.setattr(disk, "free_room", lambda fd: packed // 2)
    found.check_room()
    with pytest.raises(OutputError, match=r"cannot write x.tar.gz and x: needs at least "):
        foreseen(server, output="x.tar.gz", tree=True).check_room()
    monkeypatch.setattr(disk, "free_room", lambda fd: packed // 2 - 1)
    with pytest.raises(OutputError, match=r"cannot write x.tar.gz: needs at least "):
        found.check_room()


def test_archive_and_directory_need_room_together(
    server: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forecast matches what the save reports before it fetches anything."""
    found = foreseen(server, output="x.tar", tree=True)
    assert found.needed == foreseen(server, output="x.tar").needed + sum(
        each.stat().st_size for each in saved_tree(server)
    )
    monkeypatch.setattr(disk, "free_room", lambda fd: found.needed - 1)
    with pytest.raises(OutputError) as foretold:
        found.check_room()
    server.requests.clear()
    with pytest.raises(OutputError) as caught:
        done(server, output="x.tar", tree=True)
    assert caught.value.message.endswith(foretold.value.message)
    assert "blob" not in {request.kind for request in server.requests}
    assert not Path("x").exists()
    assert not list(Path().glob("*.part"))
    monkeypatch.setattr(disk, "free_room", lambda fd: found.needed)
    done(server, output="x.tar", tree=True)


@pytest.mark.parametrize("gunzip", [False, True])
@pytest.mark.parametrize("tar", [False, True])
def test_what_is_there_needs_no_room(
    tar: bool, gunzip: bool, server: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = done(server, output="x.tar", tar=tar, tree=True, gunzip=gunzip)
    assert not first.unchanged
    before = {path: path.stat().st_ino for path in Path().rglob("*")}
    monkeypatch.setattr(disk, "free_room", lambda fd: 0)
    again = done(server, output="x.tar", tar=tar, tree=True, gunzip=gunzip)
    assert (again.unchanged, again.fetched) == (True, 0)
    assert (again.size, again.paths, again.images) == (first.size, first.paths, first.images)
    assert foreseen(server, output="x.tar", tar=tar, tree=True, gunzip=gunzip).needed == 0
    assert {path: path.stat().st_ino for path in Path().rglob("*")} == before


def saved_tree(server: Simulator) -> list[Path]:
    """The files of the image as a directory."""
    done(server, output="y.tar", tar=False, tree=True)
    return [path for path in Path("y").rglob("*") if path.is_file()]


def test_what_is_unpacked_needs_what_it_has_packed(
    server: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = foreseen(server, output="x.tar", tree=True, gunzip=True)
    assert both.needed == 2 * foreseen(server, output="x.tar", gunzip=True).needed > 0
    monkeypatch.setattr(disk, "free_room", lambda fd: both.needed - 1)
    server.requests.clear()
    with pytest.raises(OutputError, match=r"cannot write x.tar and x: needs at least"):
        done(server, output="x.tar", tree=True, gunzip=True)
    assert "blob" not in {request.kind for request in server.requests}


def test_what_would_fail_fails(server: Simulator) -> None:
    with pytest.raises(NotFoundError):
        foreseen(server, "nothing")
    os.mkdir("folder")
    with pytest.raises(OutputError, match="it is a directory"):
        foreseen(server, output="folder")


def test_a_part_that_is_there_is_said(server: Simulator) -> None:
    Path("x.tar.part").write_bytes(b"x" * 100_000)
    found = foreseen(server, output="x.tar")
    assert found.kept >= 100_000
    assert Path("x.tar.part").stat().st_size == 100_000
    assert any(line.startswith("started earlier: ") for line in outlook(found, as_json=False))


def test_as_lines_and_as_json(server: Simulator) -> None:
    found = foreseen(server)
    lines = list(outlook(found, as_json=False))
    assert lines[0] == f"{server.host}/app:latest: {APP.digest} for linux/amd64"
    assert lines[1].endswith(f"  from {server.host}")
    assert "to write: app-latest.tar, " in lines[4]
    (line,) = outlook(found, as_json=True)
    document = json.loads(line)
    assert document["fetched"] == found.fetched == sum(each["size"] for each in document["layers"])
    assert document["images"][0]["platforms"] == ["linux/amd64"]
    stream = list(outlook(foreseen(server, output="-"), as_json=False))
    assert stream[-1].startswith("to write: standard output, ")
