"""Platforms: how they are written, and which image is chosen for one."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from dockersave.errors import NotFoundError, UsageError
from dockersave.limits import LIMITS
from dockersave.model import manifests as oci
from dockersave.model.descriptors import OCI_INDEX, OCI_MANIFEST
from dockersave.model.digest import digest_of
from dockersave.model.manifests import Index
from dockersave.model.platforms import Platform


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", "linux/amd64"), ("amd64", "linux/amd64"), ("x86_64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"), ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/amd64/v1", "linux/amd64"), ("aarch64", "linux/arm64"), ("arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"), ("linux/arm64/8", "linux/arm64"),
        ("arm", "linux/arm/v7"), ("armhf", "linux/arm/v7"), ("armel", "linux/arm/v6"),
        ("armv7l", "linux/arm/v7"), ("armv6l", "linux/arm/v6"), ("linux/arm/6", "linux/arm/v6"),
        ("i686", "linux/386"), ("386", "linux/386"), ("riscv64", "linux/riscv64"),
        ("windows/amd64", "windows/amd64"), ("ppc64le", "linux/ppc64le"), ("s390x", "linux/s390x"),
    ],
)  # fmt: skip
def test_platforms(text: str, platform: str) -> None:
    assert str(Platform.parse(text)) == platform
    assert Platform.parse(platform) == Platform.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "linux/",
        "/amd64",
        "linux//v7",
        "a/b/c/d",
        "linux-arm64",
        "linux_arm64",
        "linux:arm",
    ],
)
def test_no_platforms(text: str) -> None:
    with pytest.raises(UsageError) as info:
        Platform.parse(text)
    assert "OS/ARCH" in info.value.hint


@pytest.mark.parametrize("text", ["linux/amd64,linux/arm64", "amd64 arm64", "amd64; arm64"])
def test_several_platforms(text: str) -> None:
    with pytest.raises(UsageError, match="names several platforms"):
        Platform.parse(text)


@pytest.mark.parametrize("text", ["linux/amd64 ", " amd64", "linux/amd64\n"])
def test_blanks_around_one_do_not_count(text: str) -> None:
    assert str(Platform.parse(text)) == "linux/amd64"


@pytest.mark.parametrize("text", ["linux/arm64,", ";arm64", "linux/ /arm64"])
def test_what_is_not_one_platform(text: str) -> None:
    with pytest.raises(UsageError, match=r"invalid platform|names several"):
        Platform.parse(text)


def test_a_system_alone_is_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.uname_result(("Linux", "host", "6.1", "#1", "armv6l"))
    monkeypatch.setattr("os.uname", lambda: name)
    assert str(Platform.parse("linux")) == "linux/arm/v6"


@pytest.mark.parametrize("text", ["all", "ALL", "linux/all"])
def test_all_is_not_one_platform(text: str) -> None:
    with pytest.raises(UsageError, match="is not one platform") as info:
        Platform.parse(text)
    assert info.value.hint == "all of them are saved with platform='all'"


def test_an_operating_system_alone_means_this_architecture() -> None:
    """As for Docker (containerd's platforms package, Parse)."""
    here = Platform.of_host().architecture
    assert Platform.parse("linux") == Platform("linux", here)
    assert Platform.parse("Windows") == Platform("windows", here)


@pytest.mark.parametrize("several", [["linux/amd64", "linux/arm64"], Platform("linux", "amd64")])
def test_a_platform_is_a_text(several: Any) -> None:
    with pytest.raises(TypeError, match="a platform is a str, such as 'linux/arm64' or 'all'"):
        Platform.parse(several)


def test_this_host_has_a_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, platform in (("x86_64", "linux/amd64"), ("armv7l", "linux/arm/v7")):
        name = os.uname_result(("Linux", "host", "6.1", "#1", machine))
        monkeypatch.setattr("os.uname", lambda name=name: name)
        assert str(Platform.of_host()) == platform


def index(*entries: str) -> Index:
    """An index with these platforms; `-` states none, `+` is a nested index without one."""
    manifests = []
    for number, text in enumerate(entries):
        entry: dict[str, Any] = {
            "mediaType": OCI_INDEX if text.startswith("+") else OCI_MANIFEST,
            "digest": f"sha256:{number:064x}",
            "size": number,
        }
        if text.lstrip("+") not in {"", "-"}:
            platform = zip(
                ("os", "architecture", "variant"), text.lstrip("+").split("/"), strict=False
            )
            entry["platform"] = dict(platform)
        manifests.append(entry)
    body = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    document = oci.parse_document(body, digest_of(body))
    assert isinstance(document, Index)
    return document


ARMS = ("linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64")


@pytest.mark.parametrize(
    ("entries", "wanted", "chosen"),
    [
        (ARMS, "linux/amd64", [4]),
        (ARMS, "linux/arm64", [3]),
        (ARMS, "linux/arm", [2, 1, 0]),
        (ARMS, "linux/arm/v6", [1, 0]),
        (ARMS, "linux/arm/v5", [0]),
        (ARMS, "linux/arm/v8", [2, 1, 0]),
        (("linux/arm",), "linux/arm/v7", [0]),
        (("linux/arm64",), "linux/arm64/v8", [0]),
        (("linux/arm64",), "linux/arm64/v9", [0]),
        (("linux/arm64/v8.0",), "linux/arm64", [0]),
        (("linux/amd64/2", "linux/amd64"), "linux/amd64/v2", [0, 1]),
        (("linux/amd64", "linux/amd64/v2", "linux/amd64/v4"), "linux/amd64/v3", [1, 0]),
        (("linux/amd64/v2", "linux/amd64"), "linux/amd64", [1]),
        (("windows/amd64", "linux/amd64"), "windows/amd64", [0]),
        (("unknown/unknown", "linux/amd64"), "linux/amd64", [1]),
        (("-", "linux/amd64"), "linux/amd64", [1, 0]),
        (("-",), "linux/riscv64", [0]),
        (("+", "-", "+linux/arm64"), "linux/arm64", [2, 0, 1]),
        (("+linux/amd64",), "linux/arm64", [0]),
        (("linux/amd64", "linux/amd64"), "linux/amd64", [0, 1]),
        (("linux/arm/odd", "linux/arm/v6"), "linux/arm/v7", [1]),
        (("linux/arm/odd",), "linux/arm/odd", [0]),
        (("linux/arm/vnan", "linux/arm/v-inf", "linux/arm/v6"), "linux/arm/v7", [2, 1]),
    ],
)
def test_chooses(entries: tuple[str, ...], wanted: str, chosen: list[int]) -> None:
    assert [d.size for d in oci.select(index(*entries), Platform.parse(wanted))] == chosen


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        (ARMS, "linux/s390x"),
        (("linux/arm/v7",), "linux/arm/v6"),
        (("linux/arm64/v9",), "linux/arm64"),
        (("linux/amd64/v3",), "linux/amd64"),
        (("linux/arm/v7",), "linux/arm64"),
        (("linux/amd64",), "windows/amd64"),
        (("unknown/unknown",), "linux/amd64"),
    ],
)
def test_has_nothing_for_a_platform(entries: tuple[str, ...], wanted: str) -> None:
    with pytest.raises(NotFoundError, match=f"no image for {Platform.parse(wanted)}") as info:
        oci.select(index(*entries), Platform.parse(wanted))
    assert "unknown" not in info.value.hint
    for entry in entries:
        assert "unknown" in entry or str(Platform.parse(entry)) in info.value.hint


def test_what_there_is_instead_is_one_short_clean_line() -> None:
    entries = [f"linux/arch{number}\x1b[2J" for number in range(LIMITS.document_marks // 20)]
    with pytest.raises(NotFoundError) as info:
        oci.select(index(*entries), Platform.parse("amd64"))
    assert len(info.value.hint) < 1100
    assert info.value.hint.isprintable()
