"""Every fault at every kind of request: the identical archive, or a clean error and a resume."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dockersave import DockersaveError, retry_policy
from dockersave.model.options import Options
from tests.faults.saving import fetched, refused, saved
from tests.images import Store, digest_of, image, random_layer
from tests.registry.simulator import Auth, Fault, Simulator

LAYERS = [
    random_layer(3_500_000, 1, "gzip"),
    random_layer(100_000, 2),
    random_layer(1_200_000, 3, "zstd"),
]
STORE = Store.of({"sample": image(LAYERS)})
SIZE = sum(layer.size for layer in LAYERS)
WAYS = {
    "file": Options(),
    "gunzip": Options(gunzip=True),
    "tree": Options(tar=False, tree=True),
}
KINDS = ("manifest", "config", "blob", "storage", "token")


@contextmanager
def registry(*, storage: bool = True) -> Iterator[Simulator]:
    """A registry like the big ones: tokens, and blobs at a storage with signed addresses."""
    auth = Auth(scheme="bearer", anonymous=True, own_server=True)
    with Simulator(STORE, storage=storage, auth=auth) as server:
        yield server


def save_into(server: Simulator, folder: Path, way: str = "file", **wishes: Any) -> str:
    """Save, and return what came of it, whatever the registry's port."""
    output, options = folder / "image.tar", WAYS[way]
    if options.tree:
        options = replace(options, working_dir=str(folder), layers_dir="tree")
        output = folder / "tree"
    saved(server, folder / "image.tar", options=options, **wishes)
    return result_of(output, server)


def result_of(output: Path, server: Simulator) -> str:
    """The digest of each file, with the registry's address left out: its port is any."""
    files = sorted(path for path in output.rglob("*") if path.is_file()) or [output]
    found = [(path, path.read_bytes().replace(server.host.encode(), b"")) for path in files]
    return " ".join(f"{path.relative_to(output)}={digest_of(data)}" for path, data in found)


@cache
def right(way: str = "file") -> str:
    """What comes of it where nothing goes wrong."""
    with tempfile.TemporaryDirectory() as folder, registry() as server:
        return save_into(server, Path(folder), way)


def identical(server: Simulator, folder: Path, *faults: Fault, way: str = "file") -> int:
    """Save with faults; the same must come of it as without.

    Returns:
        How many bytes of layers the server has sent.
    """
    server.faults.add(*faults)
    assert save_into(server, folder, way, timeout=1.0) == right(way)
    assert server.faults.struck(), "nothing went wrong"
    assert not list(folder.glob("*.part*"))
    return fetched(server)


PASSING = {
    "reset": Fault.reset(times=1),
    "reset at once": Fault.reset_after(0, times=1),
    "reset in the middle": Fault.reset_after(0.5, times=2),
    "close in the middle": Fault.close_after(0.5, times=2),
    "without a length, closed in the middle": Fault.close_after(0.5, times=1),
    "stall": Fault.stall_after(0.3, times=1),
    "silence": Fault.stall_after(-1, times=1),
    "500": Fault.status(500, times=2),
    "502": Fault.status(502, times=1),
    "503": Fault.status(503, times=2),
    "503, Retry-After 0": Fault.status(503, retry_after="0", times=1),
    "503, Retry-After garbage": Fault.status(503, retry_after="soon", times=1),
    "503, Retry-After long ago": Fault.status(
        503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT", times=1
    ),
    "429": Fault.status(429, times=2),
    "HTTP/1.0": Fault.http10(),
    "Connection: close": Fault.connection_close(),
    "chunked": Fault.chunked(),
    "no length": Fault.without_length(),
    "late": Fault.delay(0.05),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PASSING)
def test_what_passes_leaves_no_trace(name: str, kind: str, tmp_path: Path) -> None:
    with registry(storage=kind == "storage") as server:
        identical(server, tmp_path, at(PASSING[name], kind))


CONTENT = {
    "one flipped bit": Fault.flip_bit(0.5, times=1),
    "a flipped bit at the end": Fault.flip_bit(0.9999, times=1),
    "too short": Fault.shortened(0.5, times=2),
    "too long": Fault.lengthened(5, times=2),
    "gzip that nobody asked for": Fault.gzip_encoded(times=2),
    "garbage in front": Fault.garbage_before(times=2),
    "garbage behind": Fault.garbage_after(),
    "another web page": Fault.body("<html>", times=2),
    "a redirect chain": Fault.redirect_chain(3),
    "expired addresses": Fault.expire_urls(skip=2, times=1),
    "403 for a signed address": Fault.status(403, skip=2, times=1),
}


RANGES = {
    "200 for a range": Fault.ignore_range(),
    "200 for one range": Fault.ignore_range(times=1),
    "416": Fault("refuse_range"),
    "416 once": Fault("refuse_range", times=1),
    "multipart": Fault.multipart_range(),
    "no Content-Range": Fault.content_range(""),
    "wrong Content-Range": Fault.content_range("bytes 1-{end}/{total}"),
    "wrong total": Fault.content_range("bytes {start}-{end}/1", times=1),
    "other bytes than it says": Fault.shifted_range(70_000, times=2),
}
"""Whoever asks for whole layers, as `--gunzip` does, never meets these."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CONTENT)
def test_wrong_content_that_passes(name: str, way: str, tmp_path: Path) -> None:
    with registry() as server:
        assert identical(server, tmp_path, at(CONTENT[name], "storage"), way=way) <= 4 * SIZE


@pytest.mark.parametrize("name", RANGES)
def test_ranges_that_are_none(name: str, tmp_path: Path) -> None:
    with registry() as server:
        assert identical(server, tmp_path, at(RANGES[name], "storage")) <= 4 * SIZE


LIMITED = {
    "429 beyond one": Fault.status(429, over=1, on="storage"),
    "503 beyond two": Fault.status(503, retry_after="1", over=2, on="storage"),
    "resets beyond one": Fault.reset(over=1, on="storage"),
    "no connection beyond three": Fault.reset(over=3, on="connection"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LIMITED)
def test_servers_that_limit_connections(
    name: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if LIMITED[name].on == "connection":
        # Of those made ahead some are refused, which a late machine notices during the real pauses.
        monkeypatch.setattr(retry_policy, "_FIRST_PAUSE", 0.5)
    with registry() as server:
        server.faults.add(Fault.rate(3_000_000, on="storage"))
        identical(server, tmp_path, LIMITED[name], way=way)


@pytest.mark.parametrize("kind", ["manifest", "blob", "storage", "token"])
def test_tokens_that_expire(kind: str, tmp_path: Path) -> None:
    with registry() as server:
        fault = Fault.expire_tokens(on="blob" if kind == "storage" else kind, times=2)
        identical(server, tmp_path, fault)


FAILING = {
    "reset": (Fault.reset(), {5}),
    "reset in the middle": (Fault.reset_after(10), {5}),
    "closed in the middle": (Fault.close_after(10), {5}),
    "500": (Fault.status(500), {5}),
    "503 for a day": (Fault.status(503, retry_after="86400"), {5}),
    "429": (Fault.status(429), {5}),
    "403": (Fault.status(403), {4}),
    "404": (Fault.status(404), {3, 4, 5}),
    "silence": (Fault.stall_after(-1), {5}),
    "trickle": (Fault.rate(1), {5}),
    "too short": (Fault.shortened(10), {5, 6}),
    "too long": (Fault.lengthened(10), {5, 6}),
    "a flipped bit": (Fault.flip_bit(20), {4, 5, 6}),
    "garbage": (Fault.garbage_before(), {5}),
    "a web page": (Fault.html(), {4, 5, 6}),
    "a redirect loop": (Fault.redirect("{path}"), {5}),
    "a redirect to nowhere": (Fault.redirect("http://127.0.0.1:1/"), {5}),
    "a redirect to a file": (Fault.redirect("file:///etc/passwd"), {5}),
}


@pytest.mark.parametrize("kind", ["manifest", "config", "storage", "token"])
@pytest.mark.parametrize("name", FAILING)
def test_what_lasts_is_explained_and_the_next_run_goes_on(
    name: str, kind: str, tmp_path: Path
) -> None:
    fault, codes = FAILING[name]
    output = tmp_path / "image.tar"
    output.write_bytes(b"the old file")
    with registry(storage=kind == "storage") as server:
        server.faults.add(at(fault, kind, later=kind == "storage"))
        code = refused(server, output, timeout=0.4, retries=1)
        assert code in codes
        assert output.read_bytes() == b"the old file"
        server.faults.clear()
        assert save_into(server, tmp_path) == right()
        assert [path.name for path in tmp_path.iterdir()] == ["image.tar"]


def test_a_tag_that_moves_between_two_requests(tmp_path: Path) -> None:
    other = image([random_layer(50_000, 9)])
    store = Store.of({"sample": image(LAYERS)})
    digest = store.add("sample", other)
    with Simulator(store) as server:
        output = tmp_path / "image.tar"
        server.faults.add(Fault.reset_after(0.5, on="blob"))
        assert refused(server, output, retries=0) == 5
        server.faults.clear()
        server.faults.add(Fault.move_tag(digest, times=1))
        done = saved(server, output)
        assert done.images[0].digest == digest
        assert done.fetched == other.layers[0].size


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("image.tar", Options()),
        ("image.tar", Options(gunzip=True)),
        ("image", Options(tar=False, tree=True)),
        ("image.tar.gz", Options()),
        ("root.tar", Options(format="rootfs")),
        ("root", Options(format="rootfs", tar=False, tree=True)),
    ],
)
def test_what_is_kept_for_the_next_run_is_said(name: str, options: Options, tmp_path: Path) -> None:
    output = tmp_path / name
    with Simulator(STORE) as server:

        def hint() -> str:
            with pytest.raises(DockersaveError) as caught:
                saved(server, output, options=options, retries=0, jobs=1)
            return caught.value.hint

        server.faults.add(Fault.reset(on="blob"))
        assert "continues" not in hint(), "nothing was fetched"
        server.faults.clear()
        # Neither the lowest nor the largest one, so another is there when it fails.
        server.faults.add(Fault.status(404, on="blob", reference=LAYERS[1].digest))
        said, part = hint(), tmp_path / f"{name}.part"
        assert said.endswith(f"; the same call continues with {part}") == part.exists()
        assert part.exists() == (name in ("image.tar", "image"))


def test_two_layers_of_which_one_is_missing_leave_what_there_is(tmp_path: Path) -> None:
    output = tmp_path / "image.tar"
    with Simulator(STORE) as server:
        server.faults.add(Fault.status(404, on="blob", reference=LAYERS[2].digest))
        server.faults.add(Fault.delay(0.3, on="blob", reference=LAYERS[2].digest))
        assert refused(server, output, retries=0) in (3, 5)
        server.faults.clear()
        done = saved(server, output)
        assert done.reused > SIZE / 2


def at(fault: Fault, kind: str, later: bool = False) -> Fault:
    """The same fault at one kind of request; with `later`, not at the first (the config's)."""
    skip = max(fault.skip, 1 if later else 0)
    return replace(fault, on=kind, skip=skip)
