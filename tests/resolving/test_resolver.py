"""From a reference to an image, on documents that a registry would serve."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dockersave.errors import ContentError, DockersaveError, NotFoundError
from dockersave.model.descriptors import Descriptor
from dockersave.model.platforms import Platform
from dockersave.model.reference import Reference
from dockersave.registry.documents import Document as Served
from dockersave.resolving.resolver import Resolver
from tests.archive.resolved_images import OfflineRegistry, resolved
from tests.images import GOOD, INDEXES, ODD, PLATFORMS, Document, attestation, index

SAMPLE = Reference.parse("sample:latest")


def platform_of(document: Document, wanted: str) -> str:
    """Return what platform was chosen."""
    config = resolved(document, platform=wanted).primary.config
    assert config is not None
    return str(config.platform)


@pytest.mark.parametrize("name", ["multi", "oci-multi"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_platform_that_was_asked_for(name: str, platform: str) -> None:
    assert platform_of(INDEXES[name](), platform) == platform


@pytest.mark.parametrize(
    ("name", "wanted", "chosen"),
    [
        ("no-variant", "linux/arm64", "linux/arm64"),
        ("no-variant", "linux/arm64/v8", "linux/arm64"),
        ("arm-only", "linux/arm/v6", "linux/arm/v6"),
        ("arm-only", "linux/arm", "linux/arm/v7"),
        ("nested", "linux/arm64", "linux/arm64"),
    ],
)
def test_the_best_there_is(name: str, wanted: str, chosen: str) -> None:
    assert platform_of(INDEXES[name](), wanted) == chosen


@pytest.mark.parametrize(("name", "platform"), [("multi", "linux/s390x"), ("nested", "linux/386")])
def test_no_such_platform(name: str, platform: str) -> None:
    with pytest.raises(NotFoundError, match=platform) as caught:
        resolved(INDEXES[name](), platform=platform)
    assert "linux/amd64" in caught.value.hint or name == "nested"


def test_an_image_for_another_platform() -> None:
    with pytest.raises(NotFoundError, match="linux/arm64"):
        resolved(GOOD["docker"](), platform="linux/arm64")


def test_without_a_platform_a_lone_image_is_taken_as_it_is() -> None:
    document = INDEXES["multi"]().children[1]
    found = Resolver(OfflineRegistry(document), SAMPLE).image(None)
    assert found.root.digest == document.digest


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "s390x"])
@pytest.mark.parametrize("name", INDEXES)
def test_all_platforms_in_the_same_order_on_any_host(
    name: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = INDEXES[name]()
    here = resolved(document, platform="all")
    monkeypatch.setattr("platform.machine", lambda: machine)
    there = resolved(document, platform="all")
    assert there == here
    everything = {part.digest for part in document.walk()}
    found = {each.manifest.descriptor.digest for each in here.artifacts}
    assert found | {index.descriptor.digest for index in here.indexes} == everything


def test_the_first_of_all_platforms_is_the_commonest() -> None:
    reversed_ = index(tuple(reversed(INDEXES["oci-multi"]().children)), "oci")
    found = resolved(reversed_, platform="all")
    assert found.primary.config.platform == Platform("linux", "amd64")
    assert found.attached


def test_all_platforms_of_a_lone_image() -> None:
    found = resolved(GOOD["docker"](), platform="all")
    assert not found.indexes
    assert len(found.variants) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("helm", "helm.config"),
        ("wasm", "wasm.config"),
        ("artifact", "vnd.example.thing"),
        ("schema1", "schema 1"),
        ("list-config", "config is not a JSON object"),
        ("two-faces", "an index and an image at once"),
    ],
)
def test_what_is_no_image(name: str, said: str) -> None:
    with pytest.raises(ContentError, match=said):
        resolved(ODD[name]())


def test_the_digest_that_was_asked_for_is_what_counts() -> None:
    class Liar(OfflineRegistry):
        def manifest(
            self,
            repository: str,
            version: str,
            large: Callable[[int], object] = lambda size: None,
            media_type: str = "",
        ) -> Served:
            served = super().manifest(repository, self.digest)
            return Served(served.body, served.media_type, version)

    asked = GOOD["zstd"]().digest
    resolver = Resolver(Liar(GOOD["docker"]()), Reference.parse(f"sample@{asked}"))
    with pytest.raises(ContentError, match="instead of"):
        resolver.image(None)


def test_a_child_of_another_size_than_its_index_says() -> None:
    class Padder(OfflineRegistry):
        def manifest(
            self,
            repository: str,
            version: str,
            large: Callable[[int], object] = lambda size: None,
            media_type: str = "",
        ) -> Served:
            served = super().manifest(repository, version)
            padding = b" " if version.startswith("sha256") else b""
            return Served(served.body + padding, served.media_type, served.digest)

    with pytest.raises(ContentError):
        Resolver(Padder(INDEXES["multi"]()), SAMPLE).image(Platform("linux", "amd64"))


def test_a_config_that_is_here_is_not_asked_for() -> None:
    built = GOOD["docker"]()

    def local(descriptor: Descriptor) -> bytes | None:
        return built.config if descriptor.digest == built.config_digest else None

    offline = OfflineRegistry(built)
    found = Resolver(offline, SAMPLE, local).image(None)
    assert found.primary.config_body == built.config
    assert offline.asked == ["latest"]


def test_indexes_have_a_bottom() -> None:
    document: Document = GOOD["oci"]()
    for _ in range(6):
        document = index([document], "oci")
    for platform in ("linux/amd64", "all"):
        with pytest.raises(ContentError, match="nested more than"):
            resolved(document, platform=platform)


@pytest.mark.parametrize("question", ["image", "all_platforms", "platforms"])
def test_whatever_is_asked_secrets_are_removed_from_errors(question: str) -> None:
    document: Document = GOOD["oci"]()
    for _ in range(6):
        document = index([document], "oci")
    offline = OfflineRegistry(document)
    cleaned: list[Exception] = []
    offline.conceal = cleaned.append  # type: ignore[assignment, method-assign]
    ask = getattr(Resolver(offline, SAMPLE), question)
    with pytest.raises(ContentError) as caught:
        ask(*[None] if question == "image" else [])
    assert cleaned == [caught.value]


def test_an_index_without_images() -> None:
    refusals: list[tuple[list[Document], type[DockersaveError], str]] = [
        ([], NotFoundError, "no image"),
        ([attestation(GOOD["oci"]())], ContentError, "no container image but an attestation"),
    ]
    for children, kind, said in refusals:
        document = index(children, "oci")
        for platform in ("linux/amd64", "all"):
            with pytest.raises(kind, match=said):
                resolved(document, platform=platform)
        with pytest.raises(kind, match=said):
            Resolver(OfflineRegistry(document), SAMPLE).platforms()
