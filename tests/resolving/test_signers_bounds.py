"""However many signatures there are, and however large: a check ends, and says what it saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockersave.limits import LIMITS
from dockersave.model.options import Network
from tests.images import Document, Store, index
from tests.images.documents import OCI_INDEX
from tests.registry.faults import Fault
from tests.registry.simulator import Simulator
from tests.resolving.signed_images import (
    APP,
    OTHER_PLATFORM,
    OWN,
    bundle,
    having,
    listed,
    older,
    refused,
    saving,
)
from tests.signatures import maker
from tests.signatures.maker import bundle_of, payload, referrer, signed


def junk(number: int) -> maker.Payload:
    """A signature that is well-formed, but nobody's."""
    ones = (number + 1).to_bytes(4, "big").lstrip(b"\0")
    ones = b"\0" * (ones[0] >> 7) + ones
    body = b"\2" + bytes([len(ones)]) + ones
    return payload(APP.digest), maker.text_of(b"\x30" + bytes([2 * len(body)]) + 2 * body)


def test_one_of_a_thousand_counts(folder: Path, key: str) -> None:
    many = [junk(number) for number in range(1000)]
    with having(older(*many, signed(payload(APP.digest)))) as registry:
        assert saving(f"{registry.host}/app", key).images[0].signers
        assert len(registry.requests) == OWN + 2, "they have the same payload"


def test_one_that_is_listed_again_counts_once(
    folder: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(LIMITS), "signatures", 2, raising=False)
    with having(older(*[junk(0)] * 5, signed(payload(APP.digest)))) as registry:
        assert saving(f"{registry.host}/app", key).images[0].signers


def test_an_index_under_its_own_digest_as_a_tag_is_no_list(folder: Path, key: str) -> None:
    """GitLab answers with the image itself: its platforms do not refer to it."""
    both = index([APP, OTHER_PLATFORM], "oci")
    store = Store.of({"app": both})
    store.add("app", both, maker.tag_of(both))
    with Simulator(store) as registry:
        refused(folder, f"{registry.host}/app", key)
        assert OTHER_PLATFORM.digest not in [each.reference for each in registry.requests]


def test_they_are_not_looked_at_without_an_end(
    folder: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(LIMITS), "signatures", 5, raising=False)
    many = [junk(number) for number in range(6)]
    with having(older(*many, signed(payload(APP.digest)))) as registry:
        error = refused(folder, f"{registry.host}/app", key)
    assert "5 by other keys, 1 not looked at" in error.message


def test_they_are_not_read_without_an_end(
    folder: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may push could let every device fetch gigabytes before it refuses."""
    monkeypatch.setattr(type(LIMITS), "signature_bytes", 50_000, raising=False)
    bundles = [bundle(APP.digest, number=1, junk=str(n) * 10_000) for n in range(9)]
    with having(listed(*(referrer(APP, each) for each in bundles))) as registry:
        error = refused(folder, f"{registry.host}/app", key)
        assert error.message.endswith(" by other keys, 1 not looked at")
        read = [each for each in registry.of("blob") if each.status == 200]
        assert len(read) < 1 + len(bundles)


@pytest.mark.parametrize("limit", ["signatures", "signature_bytes", "signature_requests"])
def test_a_mirror_full_of_others_hides_nothing(
    limit: str, folder: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"signatures": 5, "signature_bytes": 20_000, "signature_requests": 10}[limit]
    monkeypatch.setattr(type(LIMITS), limit, few, raising=False)
    bundles = [bundle(APP.digest, number=1, junk=str(n) * 5_000) for n in range(8)]
    many = listed(*(referrer(APP, each) for each in bundles))
    with having(listed(bundle_of(APP))) as registry, having(many) as mirror:
        network = Network(insecure=True, retries=0, mirrors=(mirror.base_url,))
        assert saving(f"{registry.host}/app", key, network=network).images[0].signers


@pytest.mark.parametrize("endless", [True, False])
def test_a_list_of_referrers_ends(endless: bool, folder: Path, key: str) -> None:
    many = [("", referrer(APP, b"%d" % number, "text/plain")) for number in range(8)]
    with having(*many, ("", bundle_of(APP)), referring=True) as registry:
        registry.service.page_size = 1
        if not endless:
            assert saving(f"{registry.host}/app", key).images[0].signers
            return
        link = f'</v2/app/referrers/{APP.digest}?from=0>; rel="next"'
        registry.faults.add(Fault.header("Link", link, on="referrers"))
        refused(folder, f"{registry.host}/app", key)
        assert len(registry.of("referrers")) == LIMITS.referrers_pages


def test_a_list_of_signatures_that_is_too_large_is_damaged(folder: Path, key: str) -> None:
    with having(older(signed(payload(APP.digest)))) as registry:
        tag = maker.tag_of(APP, ".sig")
        registry.store.repositories["app"].tags[tag] = HUGE.digest
        registry.store.repositories["app"].manifests[HUGE.digest] = HUGE
        error = refused(folder, f"{registry.host}/app", key)
        assert error.message.startswith("its signature is damaged: ")


HUGE = Document(OCI_INDEX, b" " * (LIMITS.manifest + 1) + b"{}")


def test_a_list_of_referrers_without_an_end_is_told(folder: Path, key: str) -> None:
    with having(("", referrer(APP, b"x", "text/plain")), referring=True) as registry:
        link = f'</v2/app/referrers/{APP.digest}?from=0>; rel="next"'
        registry.faults.add(Fault.header("Link", link, on="referrers"))
        error = refused(folder, f"{registry.host}/app", key)
        assert error.message.endswith(f"the list of what refers to {APP.digest} never ends")
