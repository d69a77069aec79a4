"""Which platforms a reference offers images for, asked for in as few requests as that takes."""

from __future__ import annotations

import pytest

from dockersave import ContentError, Reference
from dockersave.model.platforms import Offer, Platform
from dockersave.resolving.resolver import Resolver
from tests.archive.resolved_images import OfflineRegistry
from tests.images import ODD, Document, attestation, image, index, random_layer, sample_index

LAYER = random_layer(1000, 1)
ARM = image([LAYER], "linux/arm/v7")
AMD = image([LAYER])


def offered(document: Document) -> tuple[list[Offer], int]:
    offline = OfflineRegistry(document)
    offers = Resolver(offline, Reference.parse("r.test/sample")).platforms()
    return offers, len(offline.asked)


def test_an_index_says_it_all() -> None:
    document = sample_index(attested=True)
    offers, asked = offered(document)
    assert asked == 1
    assert [str(offer.platform) for offer in offers][:2] == ["linux/amd64", "linux/arm64"]
    assert [offer.digest for offer in offers] == [
        child.digest for child in document.children[: len(offers)]
    ]
    assert 2 * len(offers) == len(document.children), "attestations are no images"


def test_a_single_image_is_asked_for_its_config() -> None:
    assert offered(ARM) == ([Offer(Platform("linux", "arm", "v7"), ARM.digest)], 2)


def test_indexes_in_an_index() -> None:
    offers, asked = offered(index([index([AMD]), index([ARM, AMD])]))
    assert [str(offer.platform) for offer in offers] == ["linux/amd64", "linux/arm/v7"]
    assert asked == 3


def _beside(*children: Document) -> Document:
    """An index that does not say what its entries are for, as artifacts have it."""
    entries = [child.descriptor() for child in children]
    for entry in entries:
        entry.pop("platform", None)
    return index(children, top={"manifests": entries})


def test_what_is_no_image_is_left_out() -> None:
    offers, asked = offered(_beside(AMD, ODD["helm"]()))
    assert [offer.digest for offer in offers] == [AMD.digest]
    assert asked == 4, "the index, two manifests, one config"


def test_nothing_but_other_things() -> None:
    with pytest.raises(ContentError, match="container image but a Helm chart"):
        offered(_beside(ODD["helm"]()))
    with pytest.raises(ContentError, match="no container image"):
        offered(index([attestation(AMD)]))
    with pytest.raises(ContentError, match="container image but a Helm chart"):
        offered(ODD["helm"]())
