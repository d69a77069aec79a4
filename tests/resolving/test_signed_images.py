"""Questions about signatures and referrers, as Python asks them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dockersave
from dockersave import (
    ContentError,
    Policy,
    Registry,
    SignatureError,
    UsageError,
    verify_signature,
)
from dockersave.limits import LIMITS
from tests.images import Store, image, index, layer
from tests.images.layers import file
from tests.registry.simulator import Simulator
from tests.saving.from_simulator import PLAIN
from tests.signatures import maker
from tests.signatures.keyring import public
from tests.signatures.maker import bundle_of, referrer, referrers

APP = image([layer([file("x", "x")], "none")], flavor="oci")
ARM = image([layer([file("x", "arm")], "none")], "linux/arm64", "oci")
BOTH = index([APP, ARM], "oci")


@pytest.fixture
def store() -> Store:
    """An index, of which one platform is signed; and one that is signed itself."""
    made = Store.of({"app": BOTH, "inside": BOTH})
    made.add("app", referrers(bundle_of(BOTH)), maker.tag_of(BOTH))
    made.add("inside", referrers(bundle_of(APP)), maker.tag_of(APP))
    return made


@pytest.fixture(params=[True, False], ids=["endpoint", "tag"])
def registry(request: pytest.FixtureRequest, store: Store) -> Iterator[Simulator]:
    """A registry with them."""
    with Simulator(store, referrers=request.param) as serving:
        yield serving


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """A signature by the key of `maker` is needed."""
    (tmp_path / "key.pem").write_bytes(public(maker.KIND))
    return Policy.of_keys([tmp_path / "key.pem"])


def test_a_signature_is_verified_without_saving(registry: Simulator, policy: Policy) -> None:
    for platform in ("linux/arm64", "all"):
        app = f"{registry.host}/app"
        signed = verify_signature(app, policy, platform=platform, network=PLAIN)
        assert signed.digest == BOTH.digest
        assert len(signed.signers) == 1
    layers = {blob.digest for blob in (*APP.layers, *ARM.layers)}
    assert not [each for each in registry.requests if each.reference in layers]


def test_of_an_index_one_platform_may_be_signed(registry: Simulator, policy: Policy) -> None:
    inside = f"{registry.host}/inside"
    signed = verify_signature(inside, policy, platform="linux/amd64", network=PLAIN)
    assert signed.digest == BOTH.digest
    for platform in ("linux/arm64", "all"):
        with pytest.raises(SignatureError, match="it is not signed"):
            verify_signature(inside, policy, platform=platform, network=PLAIN)


def test_a_policy_may_need_no_signature_or_none_at_all(registry: Simulator, tmp_path: Path) -> None:
    inside = f"{registry.host}/inside"
    for default in ("accept", "refuse"):
        (tmp_path / f"{default}.json").write_text(f'{{"default": "{default}"}}')
    accepting = Policy.read(tmp_path / "accept.json")
    assert verify_signature(inside, accepting, platform="all", network=PLAIN).signers == ()
    with pytest.raises(UsageError, match="no policy was given"):
        verify_signature(inside, network=PLAIN)
    before = len(registry.requests)
    with pytest.raises(SignatureError, match="does not allow it"):
        verify_signature(inside, Policy.read(tmp_path / "refuse.json"), network=PLAIN)
    assert len(registry.requests) == before


def test_what_refers_to_an_image(store: Store) -> None:
    sbom = referrer(BOTH, b"sbom", "application/spdx+json", annotations={"made": "today"})
    other = referrer(APP, b"other", "application/spdx+json")
    store.add("app", referrers(bundle_of(BOTH), sbom, other), maker.tag_of(BOTH))
    for referring in (True, False):
        with Simulator(store, referrers=referring) as serving, Registry(PLAIN) as registry:
            app = f"{serving.host}/app"
            found = {each.digest: each for each in registry.referrers(app)}
            assert found.keys() == {bundle_of(BOTH).digest, sbom.digest}
            assert found[sbom.digest].artifact_type == "application/spdx+json"
            assert found[sbom.digest].annotations == {"made": "today"}
            inside = registry.referrers(f"{serving.host}/inside", "linux/amd64")
            assert [each.digest for each in inside] == [bundle_of(APP).digest]
    assert issubclass(SignatureError, dockersave.DockersaveError)


def test_what_refers_to_an_image_is_not_cut_off(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [referrer(BOTH, b"%d" % number, "text/plain") for number in range(3)]
    store.add("app", referrers(*few, *few), maker.tag_of(BOTH))
    with Simulator(store) as serving, Registry(PLAIN) as registry:
        for limit, is_enough in ((3, True), (2, False)):
            monkeypatch.setattr(type(LIMITS), "referrers", limit, raising=False)
            if is_enough:
                assert len(list(registry.referrers(f"{serving.host}/app"))) == 3
            else:
                with pytest.raises(ContentError, match="more than 2 manifests refer to"):
                    list(registry.referrers(f"{serving.host}/app"))
