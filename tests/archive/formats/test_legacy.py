"""The v1 layout. Whether it is Docker's, byte for byte, a real dockerd says in tests/engines."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from dockersave.archive.formats import format_named
from dockersave.archive.formats.legacy import LegacyFormat, v1_layers
from dockersave.archive.members import Document
from dockersave.spelling import as_python
from tests.archive.resolved_images import paths, resolved
from tests.images import GOOD, empty_layer, file, foreign, image, layer

FORMAT = LegacyFormat()


def documents(members: list[Document]) -> dict[str, Any]:
    """Return the documents among members by their names."""
    return {
        member.path: json.loads(member.body)
        for member in members
        if member.body and not member.path.endswith("/VERSION")
    }


def test_ids_are_dockers() -> None:
    """The ids that dockerd 20.10.24 gave this image in `docker save`."""
    layers = v1_layers(resolved(GOOD["one-layer"]()).primary)
    assert [one.id for one in layers] == [
        "1c56e2ebf24f254be877b8bd1f73e004d92e3ba19d785689ad9ce81b7ac025bf"
    ]
    layers = v1_layers(resolved(GOOD["docker"]()).primary)
    assert [one.id for one in layers] == [
        "cb752331aa72c80e37609a4a51bd061b3c68bcf48d81ab6e195ca88953625f84",
        "379f04350d21cd272453d532036515cb0b4e6c80c3bd3bbd6f7c48839105fc87",
        "55a54e9f7faabeade83868ab9b493b641a8020a571b6cc8420aea864e54f5c39",
        "904a873d0fc1053d791619d706dccf4bca585ddf0449a4c98b2f926aea4b948a",
        "38228a43a119450a2287bfc5020fda5d4e518b0e2f96c01b09e15f97277d5ea6",
    ]


def test_a_chain_of_parents() -> None:
    layers = v1_layers(resolved(GOOD["docker"]()).primary)
    parent = None
    for one in layers:
        document = json.loads(one.document)
        assert document["id"] == one.id
        assert document.get("parent") == parent
        assert document["os"] == "linux"
        parent = one.id
    assert json.loads(layers[-1].document)["config"]["Env"]
    assert "config" not in json.loads(layers[0].document)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05.120000000Z", "2024-01-02T03:04:05.12Z"),
        ("2024-01-02T03:04:05.000Z", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05.1234567891Z", "2024-01-02T03:04:05.123456789Z"),
        ("2024-01-02T03:04:05+00:00", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05+02:00"),
        (None, "0001-01-01T00:00:00Z"),
    ],
)
def test_times_as_go_writes_them(written: str | None, stored: str) -> None:
    assert _top({"created": written})["created"] == stored


def test_structures_as_go_writes_them() -> None:
    document = _top(
        {
            "CONFIG": {"cmd": "sh", "Labels": {"b": "2", "a": "1"}, "Unknown": 1, "Shell": []},
            "author": "",
        }
    )
    assert list(document["config"]) == [
        "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "Tty",
        "OpenStdin", "StdinOnce", "Env", "Cmd", "Image", "Volumes", "WorkingDir", "Entrypoint",
        "OnBuild", "Labels",
    ]  # fmt: skip
    assert document["config"]["Cmd"] == ["sh"]
    assert document["config"]["Env"] is None
    assert list(document["config"]["Labels"]) == ["a", "b"]
    assert "author" not in document


def test_text_as_go_writes_it() -> None:
    raw = _raw_top({"comment": 'a<b>&"\\\b\f\n\u2028ü'})
    assert rb'"comment":"a\u003cb\u003e\u0026\"\\\u0008\u000c\n\u2028' in raw
    assert "ü".encode() in raw


def _raw_top(config: dict[str, Any]) -> bytes:
    one = layer([file("a", "a\n")])
    rootfs = {"rootfs": {"type": "layers", "diff_ids": [one.diff_id]}}
    platform = {"os": "linux", "architecture": "amd64"}
    return v1_layers(resolved(image([one], config=config | platform | rootfs)).primary)[-1].document


def _top(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_raw_top(config))
    return found


def test_the_same_layer_twice_is_a_link() -> None:
    built = GOOD["docker"]()
    image = resolved(built)
    first, second = (v1_layers(image.primary)[n].path for n in (1, 3))
    members = {member.path: member for member in FORMAT.documents([image])}
    assert first in paths(FORMAT.layers([image]))
    assert members[second] == Document(second, target=f"../{first}")
    (entry,) = documents(FORMAT.documents([image]))["manifest.json"]
    # Not all engines follow links there, and all read a file twice.
    places = [one.path for one in v1_layers(image.primary)]
    assert entry["Layers"] == [*places[:3], first, places[4]]


def test_layers_that_images_share_are_there_once() -> None:
    base, top = layer([file("base", "base\n")]), layer([file("top", "top\n")])
    images = [resolved(image([base]), "one:1"), resolved(image([base, top]), "two:2")]
    layers = FORMAT.layers(images)
    found = [each.digest for each in layers]
    assert sorted(found) == sorted([base.digest, top.digest])
    everything = paths([*layers, *FORMAT.documents(images)])
    assert len(everything) == len(set(everything))
    repositories = documents(FORMAT.documents(images))["repositories"]
    tops = [v1_layers(image.primary)[-1].id for image in images]
    assert repositories == {"one": {"1": tops[0]}, "two": {"2": tops[1]}}


def test_an_image_without_layers() -> None:
    members = FORMAT.documents([resolved(image([]))])
    (entry,) = documents(members)["manifest.json"]
    assert entry["Layers"] == []
    assert "repositories" not in paths(members)


def test_a_config_is_named_by_its_digest() -> None:
    built = GOOD["oci"]()
    name = f"{hashlib.sha256(built.config).hexdigest()}.json"
    members = {member.path: member.body for member in FORMAT.documents([resolved(built)])}
    assert members[name] == built.config


def test_a_layer_that_is_left_out_stays_in_the_manifest() -> None:
    far = foreign(empty_layer("gzip"), "https://foreign.invalid/far.tar.gz")
    image_ = resolved(image([layer([file("a", "a\n")]), far]))
    assert len(FORMAT.layers([image_])) == 1
    (entry,) = documents(FORMAT.documents([image_]))["manifest.json"]
    assert len(entry["Layers"]) == 2
    source = entry["LayerSources"][far.diff_id]
    assert source["urls"] == ["https://foreign.invalid/far.tar.gz"]
    assert source["digest"] == far.digest


def test_zstd_for_old_engines_is_said() -> None:
    legacy, docker = format_named("legacy"), format_named("docker")
    (line,) = legacy.notes(resolved(GOOD["zstd"]()))
    assert "gunzip=True" in as_python(line)
    assert not docker.notes(resolved(GOOD["zstd"]()))
    assert not legacy.notes(resolved(GOOD["zstd"](), gunzip=True))
