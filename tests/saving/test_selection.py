"""`--only` fetches no layer that is not needed where an index tells, and saves the same."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dockersave
from dockersave import FileSystem, Options, forecast, save
from dockersave.limits import LIMITS
from dockersave.transfer import layer_index
from tests.images import Image, Layer, image, raw_layer
from tests.registry.simulator import Fault, Simulator
from tests.rootfs.layers import Item, directory, file, link, symlink, tar
from tests.rootfs.test_merge import LAYERS, PATHS
from tests.saving.from_simulator import PLAIN, serving
from tests.saving.indexed import CHUNKED, TOC_DIGEST, WITH, Indexed, image_of, stargz, toc

Make = Callable[[Sequence[Item]], Indexed]
LARGE = b"large" * 20_000
BASE = [
    directory("usr"), directory("usr/lib"), file("usr/lib/a", "A"), file("usr/lib/b", LARGE),
    symlink("lib", "usr/lib"), directory("etc"), file("etc/hosts", "h"), file("gone", "x"),
]  # fmt: skip
MIDDLE = [
    directory("srv"), Item("srv/data", data=LARGE, mtime=12.5), directory("etc"), file(".wh.gone"),
    link("hard", "usr/lib/a"), file("ü" * 120, "long"),
]  # fmt: skip
TOP = [directory("app"), file("app/x", "new"), file("usr/lib/.wh.b"), file("lib/c", "C")]
ALL = [BASE, MIDDLE, TOP]


def saved(served: Simulator, path: Path, *only: str, **options: object) -> tuple[bytes, list[int]]:
    """Save a part as a tar; return it, and the numbers of the layers of which all was fetched."""
    before = len(served.requests)
    made = Options(format="rootfs", only=only, output=path, **options)  # type: ignore[arg-type]
    save(f"{served.host}/sample", options=made, network=PLAIN)
    return path.read_bytes(), fetched(served, before)


def fetched(served: Simulator, before: int = 0) -> list[int]:
    """Return the numbers of layers that were read from their start: indexes are at the end."""
    begun = {
        request.reference
        for request in served.requests[before:]
        if request.kind == "blob" and request.headers.get("range", "bytes=0-")[:8] == "bytes=0-"
    }
    return [n for n, layer in enumerate(image_layers(served)) if layer.digest in begun]


def image_layers(served: Simulator) -> Sequence[Layer]:
    """Return the layers of the image that is served."""
    ((_, document),) = served.store.repositories["sample"].manifests.items()
    assert isinstance(document, Image)
    return document.layers


def whole(layers: Sequence[Sequence[Item]], path: Path, *only: str) -> bytes:
    """Save the same of an image without indexes."""
    with serving(sample=image([raw_layer(tar(items)) for items in layers])) as served:
        return saved(served, path, *only)[0]


@pytest.mark.parametrize("kind", WITH)
@pytest.mark.parametrize(
    ("only", "needed"),
    [
        (["app"], [2]),
        (["srv/data"], [1]),
        (["usr/lib/a"], [0]),
        (["lib"], [0]),
        (["hard"], [0]),
        (["lib/c"], [0, 2]),
        (["etc/hosts"], [0, 1]),
        (["app", "srv"], [1, 2]),
        (["ü" * 120], [1]),
        (["."], [0, 1, 2]),
    ],
)
def test_only_what_is_needed_is_fetched(
    only: list[str], needed: list[int], kind: str, tmp_path: Path
) -> None:
    with serving(sample=image_of([WITH[kind](items, None) for items in ALL])) as served:
        made, layers = saved(served, tmp_path / "made.tar", *only)
    assert layers == needed
    if only != ["."]:
        assert made == whole(ALL, tmp_path / "whole.tar", *only)


@pytest.mark.parametrize("which", range(3))
def test_layers_without_an_index_are_fetched(which: int, tmp_path: Path) -> None:
    layers: list[Indexed] = [stargz(items) for items in ALL]
    layers[which] = raw_layer(tar(ALL[which])), {}
    with serving(sample=image_of(layers)) as served:
        made, numbers = saved(served, tmp_path / "made.tar", "app")
    assert numbers == sorted({which, 2})
    assert made == whole(ALL, tmp_path / "whole.tar", "app")


def test_what_an_upper_layer_hides_is_not_there(tmp_path: Path) -> None:
    with serving(sample=image_of([stargz(items) for items in ALL])) as served:
        for path in ("gone", "usr/lib/b"):
            with pytest.raises(dockersave.NotFoundError, match="has no"):
                saved(served, tmp_path / "made.tar", path)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LAYERS, st.lists(PATHS, min_size=1, max_size=2), st.lists(st.sampled_from([None, *WITH])))
def test_any_part_of_any_layers_is_the_same(
    layers: list[list[Item]], only: list[str], kinds: list[str | None]
) -> None:
    """Whichever of the layers have which index."""
    chosen = [kinds[n % len(kinds)] if kinds else "eStargz" for n, _ in enumerate(layers)]
    indexed = [
        WITH[kind](items, None) if kind else (raw_layer(tar(items)), {})
        for kind, items in zip(chosen, layers, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        with serving(sample=image_of(indexed)) as served:
            made = outcome(lambda: saved(served, Path(folder, "made.tar"), *only)[0])
        assert made == outcome(lambda: whole(layers, Path(folder, "whole.tar"), *only))


def outcome(make: Callable[[], bytes]) -> object:
    try:
        return make()
    except dockersave.DockersaveError as failure:
        return type(failure)


def wrong_digest(items: Sequence[Item]) -> Indexed:
    layer, notes = stargz(items)
    return layer, {**notes, TOC_DIGEST: f"sha256:{'0' * 64}"}


def wrong_place(place: str) -> Make:
    def make(items: Sequence[Item]) -> Indexed:
        layer, notes = WITH["zstd:chunked"](items, None)
        return layer, {**notes, f"{CHUNKED}position": place}

    return make


def no_footer(items: Sequence[Item]) -> Indexed:
    layer, _ = WITH["zstd:chunked"](items, None)
    return layer, {TOC_DIGEST: f"sha256:{'0' * 64}"}


def saying(index: object) -> Make:
    body = index if isinstance(index, bytes) else json.dumps(index).encode()
    return lambda items: stargz(items, body)


def entry(**more: object) -> dict[str, object]:
    return {"version": 1, "entries": [{"type": "reg", "name": "x", **more}]}


DAMAGED: dict[str, Make] = {
    "a wrong digest": wrong_digest,
    "no digest": lambda items: (stargz(items)[0], {TOC_DIGEST: "sha256:x"}),
    "no footer": no_footer,
    "no place": wrong_place(""),
    "a place that is no number": wrong_place("1:x:1:1"),
    "a place outside": wrong_place("999999999:10:10:1"),
    "a place of another kind": wrong_place("1:10:10:2"),
    "an endless index": wrong_place("0:99999999999999999999:1:1"),
    "another part": wrong_place("1:10:10:1"),
    "not JSON": saying(b"{"),
    "not UTF-8": saying(b'{"entries":[{"type":"reg","name":"\xff"}]}'),
    "no entries": saying(b"{}"),
    "cut": saying(b'{"entries":[{"type":"reg","name":"a"}'),
    "nested": saying(b'{"entries":[' + b"[" * 100_000),
    "entries of another type": saying({"entries": [1]}),
    "an unknown kind": saying(entry(type="door")),
    "no name": saying(entry(name=None)),
    "a name of bytes that are no UTF-8": saying(entry(name="a\ufffd")),
    "a name with NUL": saying(entry(name="a\0")),
    "a half surrogate": saying(entry(name="\ud800")),
    "an unsafe name": saying(entry(name="../x")),
    "a hard link to nothing": saying(entry(type="hardlink", linkName="nothing")),
    "a link to nothing": saying(entry(type="symlink")),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_an_index_that_is_wrong_is_not_used(name: str, tmp_path: Path) -> None:
    layers = [DAMAGED[name](BASE), *(stargz(items) for items in ALL[1:])]
    with serving(sample=image_of(layers)) as served:
        made, numbers = saved(served, tmp_path / "made.tar", "app")
    assert numbers[0] == 0
    assert made == whole(ALL, tmp_path / "whole.tar", "app")


def test_an_index_that_is_too_large_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_index, "LIMITS", replace(LIMITS, layer_index=len(toc(BASE)) - 1))
    with serving(sample=image_of([stargz(items) for items in (BASE, TOP)])) as served:
        assert saved(served, tmp_path / "made.tar", "app")[1] == [0, 1]


@pytest.mark.parametrize(
    "fault",
    [
        Fault.ignore_range(on="blob"),
        Fault.refuse_range(on="blob"),
        Fault.error("X", "no", on="blob", times=2),
    ],
    ids=str,
)
def test_registries_without_ranges_send_all(fault: Fault, tmp_path: Path) -> None:
    with serving(sample=image_of([stargz(items) for items in ALL])) as served:
        served.faults.add(fault)
        made, _ = saved(served, tmp_path / "made.tar", "app")
    assert made == whole(ALL, tmp_path / "whole.tar", "app")


def test_an_index_that_lies_is_found_out(tmp_path: Path) -> None:
    """It has the stated digest: its author lies. What is saved is what the layers have."""
    more = stargz(BASE, toc([*BASE, file("more")]))
    with serving(sample=image_of([more, stargz(TOP)])) as served:
        with pytest.raises(dockersave.NotFoundError, match="has no more"):
            saved(served, tmp_path / "made.tar", "more")
        assert fetched(served) == [0, 1]
    other = stargz(BASE, toc([file("usr"), *BASE[5:]]))
    with serving(sample=image_of([other, stargz(TOP)])) as served:
        made, numbers = saved(served, tmp_path / "made.tar", "usr")
    assert numbers == [0, 1]
    assert made == whole([BASE, TOP], tmp_path / "whole.tar", "usr")


@pytest.mark.parametrize(
    "hidden", [[file("usr/lib/.wh.b")], [file("usr/lib/b", "upper")], [symlink("usr", "app")]]
)
def test_an_index_that_hides_something_is_not_believed_in_silence(
    hidden: list[Item], tmp_path: Path
) -> None:
    """Nothing but the layer could tell. So it is said that this layer was not read."""
    lines: list[str] = []
    options = Options(format="rootfs", only=["usr/lib/b"], output=tmp_path / "made.tar")
    layers = [(raw_layer(tar(BASE)), {}), stargz(hidden, toc([]))]
    with serving(sample=image_of(layers)) as served:
        save(f"{served.host}/sample", options=options, network=PLAIN, notify=lines.append)
    (line,) = lines
    assert "1 of 2 layers not fetched: by their indexes" in line


def test_layers_that_are_here_need_no_index(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    with serving(sample=image_of([stargz(items) for items in ALL])) as served:
        save(f"{served.host}/sample", output=archive, network=PLAIN)
        before = len(served.requests)
        made, _ = saved(served, tmp_path / "made.tar", "app", reuse=[archive])
        assert not [each for each in served.requests[before:] if each.kind == "blob"]
    options = Options(
        format="rootfs", only=["app"], from_archive=archive, output=tmp_path / "x.tar"
    )
    save(options=options)
    assert (tmp_path / "x.tar").read_bytes() == made


def test_a_whole_file_system_needs_no_index(tmp_path: Path) -> None:
    with serving(sample=image_of([stargz(items) for items in ALL])) as served:
        made, numbers = saved(served, tmp_path / "made.tar")
        blobs = [request for request in served.requests if request.kind == "blob"]
        assert len(blobs) == len(numbers) == 3
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        assert "stargz.index.json" in archive.getnames()


def test_room_is_asked_for_what_is_certain(tmp_path: Path) -> None:
    layers: list[Indexed] = [stargz(BASE), (raw_layer(tar(MIDDLE)), {}), stargz(TOP)]

    def needed(served: Simulator, *only: str) -> int:
        output = tmp_path / "made.tar"
        options = Options(format="rootfs", only=only, output=output)
        return forecast(f"{served.host}/sample", options=options, network=PLAIN).needed

    with serving(sample=image_of(layers)) as served:
        sizes = [layer.size - layer.size // 8 for layer, _ in layers]
        # The layers, and what they make.
        assert needed(served) == 2 * sum(sizes)
        assert needed(served, "app") == sizes[1]


@pytest.mark.parametrize("only", ["app", "lib/c", "srv", "."])
def test_a_forecast_knows_what_is_fetched(only: str, tmp_path: Path) -> None:
    options = Options(format="rootfs", only=[only], output=tmp_path / "made.tar")
    with serving(sample=image_of([stargz(items) for items in ALL])) as served:
        found = forecast(f"{served.host}/sample", options=options, network=PLAIN)
        assert fetched(served) == []
        assert not (tmp_path / "made.tar").exists()
        told = save(f"{served.host}/sample", options=options, network=PLAIN)
        numbers = fetched(served)
        layers = [each.digest for each in image_layers(served)]
    assert found.fetched == told.fetched
    assert [each.digest for each in found.layers] == [layers[number] for number in numbers]


def test_a_forecast_fetches_no_index_if_a_layer_has_none(tmp_path: Path) -> None:
    layers: list[Indexed] = [stargz(BASE), (raw_layer(tar(MIDDLE)), {}), stargz(TOP)]
    options = Options(format="rootfs", only=["app"], output=tmp_path / "made.tar")
    with serving(sample=image_of(layers)) as served:
        found = forecast(f"{served.host}/sample", options=options, network=PLAIN)
        assert "blob" not in {request.kind for request in served.requests}
    assert len(found.layers) == 3


def test_the_trace_says_what_is_not_needed(tmp_path: Path) -> None:
    lines: list[str] = []
    options = Options(format="rootfs", only=["app"], output=tmp_path / "made.tar")
    layers = [wrong_digest(BASE), stargz(MIDDLE), stargz(TOP)]
    with serving(sample=image_of(layers)) as served:
        save(f"{served.host}/sample", options=options, network=PLAIN, trace=lines.append)
    said = [line.partition(" index: ")[2] for line in lines if " index: " in line]
    assert [line for line in said if "is not needed" in line] == [
        f"layer {layers[1][0].diff_id} is not needed"
    ]
    assert any("the index hashes to" in line for line in said)


def test_a_directory_can_be_updated(tmp_path: Path) -> None:
    path = tmp_path / "root"
    options = Options(format="rootfs", only=["app"], tar=False, tree=True, output=path)
    with serving(sample=image_of([stargz(items) for items in ALL])) as served:
        for _ in range(2):
            save(f"{served.host}/sample", options=options, network=PLAIN)
            assert (path / "app/x").read_text() == "new"
        assert fetched(served) == [2]


def test_a_forecast_of_an_update_asks_the_indexes_too(tmp_path: Path) -> None:
    """What the first save has not fetched, because an index told so, the second one does not."""
    path = tmp_path / "root"
    options = Options(format="rootfs", only=["app"], tar=False, tree=True, output=path)
    more = [directory("app"), file("app/y", "newer")]
    layers = [stargz(items) for items in ALL]
    images = {"sample": image_of(layers), "newer": image_of([*layers, stargz(more)])}
    with serving(**images) as served:
        save(f"{served.host}/sample", options=options, network=PLAIN)
        found = forecast(f"{served.host}/sample", options=options, network=PLAIN)
        assert (found.layers, found.fetched, found.needed) == ((), 0, 0)
        found = forecast(f"{served.host}/newer", options=options, network=PLAIN)
        assert [each.digest for each in found.layers] == [images["newer"].layers[3].digest]
        saved = save(f"{served.host}/newer", options=options, network=PLAIN)
        assert saved.fetched == found.fetched
        assert sorted(os.listdir(path / "app")) == ["x", "y"]


def test_only_the_part_can_be_read() -> None:
    with serving(sample=image_of([stargz(items) for items in ALL])) as served:
        options = Options(only=["srv"])
        with FileSystem(f"{served.host}/sample", options=options, network=PLAIN) as files:
            assert list(files) == ["srv", "srv/data"]
            assert files.stat("srv/data").size == len(LARGE)
            assert files.stat("/").type == "directory"
            for path in ("app/x", "app", "usr/lib/a", "lib"):
                with pytest.raises(dockersave.NotFoundError):
                    files.stat(path)
        assert fetched(served) == [1]
