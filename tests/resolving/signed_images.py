"""Images with signatures attached, and saves that ask for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dockersave.errors import SignatureError
from dockersave.model.options import Network, Options
from dockersave.saving.save import Saved, save
from tests.images import Document, Store, image, layer
from tests.images.layers import file
from tests.registry.simulator import Simulator
from tests.saving.from_simulator import PLAIN, names_in
from tests.signatures import maker
from tests.signatures.maker import referrers, signatures

APP = image([layer([file("hello", "hello")], "none")], flavor="oci")
OWN = 3
"""Requests for the image: its manifest, config and layer."""
OTHER = image([layer([file("hello", "other")], "none")], flavor="oci")
OTHER_PLATFORM = image([layer([file("x", "x")], "none")], "linux/arm64", "oci")


def saving(reference: str, *keys: str, network: Network = PLAIN, **options: Any) -> Saved:
    """Save, if one of these keys signed it."""
    chosen = Options(verify_keys=keys, platform="linux/amd64", **options)
    return save(reference, output="a.tar", options=chosen, network=network)


def refused(folder: Path, reference: str, *keys: str, **options: Any) -> SignatureError:
    """Save, which must fail, and leave nothing behind."""
    with pytest.raises(SignatureError) as caught:
        saving(reference, *keys, **options)
    assert names_in(folder) == []
    assert str(caught.value).isprintable()
    assert caught.value.hint
    return caught.value


@contextmanager
def having(*attached: tuple[str, Document], referring: bool = False) -> Iterator[Simulator]:
    """A registry with an image, and what is attached to it under tags."""
    store = Store.of({"app": APP})
    for tag, document in attached:
        store.add("app", document, *filter(None, [tag]))
    with Simulator(store, referrers=referring) as registry:
        yield registry


def older(*payloads: maker.Payload) -> tuple[str, Document]:
    """Signatures of the image in cosign's older form."""
    return maker.tag_of(APP, ".sig"), signatures(*payloads)


def listed(*documents: Document) -> tuple[str, Document]:
    """What refers to the image, in an index with a tag."""
    return maker.tag_of(APP), referrers(*documents)


def bundle(*digests: str, **more: Any) -> bytes:
    """A bundle that signs digests."""
    return json.dumps(maker.bundle(json.dumps(maker.statement(*digests)).encode(), **more)).encode()
