"""Signatures are found, checked, and nothing is saved without them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dockersave.errors import ContentError, NetworkError, SignatureError
from dockersave.limits import LIMITS
from dockersave.model.options import Network, Options
from dockersave.saving.save import save
from dockersave.signatures.keys import PublicKey
from dockersave.signatures.signed import BUNDLE, CERTIFICATE, SIGNATURE
from tests.images import Document, Store, image, index, layer
from tests.images.documents import OCI_INDEX
from tests.images.layers import file
from tests.registry.faults import Fault
from tests.registry.real import Registries
from tests.registry.simulator import Simulator
from tests.resolving.signed_images import (
    APP,
    OTHER,
    OTHER_PLATFORM,
    OWN,
    bundle,
    having,
    listed,
    older,
    refused,
    saving,
)
from tests.saving.from_simulator import PLAIN, names_in
from tests.signatures import maker, recorded
from tests.signatures.keyring import KINDS, public
from tests.signatures.maker import bundle_of, payload, referrer, referrers, signatures, signed


@pytest.mark.parametrize("referring", [True, False], ids=["endpoint", "tag"])
@pytest.mark.parametrize("form", recorded.FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cosign_signs_is_saved(
    kind: str, form: str, referring: bool, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    path.write_bytes(recorded.key(kind))
    name = recorded.repository_of(kind, form)
    with Simulator(recorded.store(name), referrers=referring) as registry:
        saved = saving(f"{registry.host}/{name}", str(path), annotations=("env=prod",))
        (asked, *_) = saved.images
        assert asked.signers == (PublicKey.of_pem(recorded.key(kind), "key").fingerprint,)
        (folder / "a.tar").unlink()
        error = refused(folder, f"{registry.host}/{name}", str(path), annotations=("env=test",))
        assert error.message == "its signature does not have the annotation env=test"


@pytest.mark.parametrize("name", ["index-cosign", "index-bundle", "inside-bundle"])
def test_a_signature_of_the_index_or_of_the_platform_counts(
    name: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    path.write_bytes(recorded.key())
    with Simulator(recorded.store(name)) as registry:
        saved = saving(f"{registry.host}/{name}", str(path))
        assert len(saved.images[0].signers) == 1
        (folder / "a.tar").unlink()
        # Of the other platform, only the index was signed.
        other = Options(verify_keys=(str(path),), platform="linux/arm64")
        if name == "inside-bundle":
            with pytest.raises(SignatureError, match="it is not signed"):
                save(f"{registry.host}/{name}", output="a.tar", options=other, network=PLAIN)
        else:
            save(f"{registry.host}/{name}", output="a.tar", options=other, network=PLAIN)


REQUESTS = {
    # How the registry lists what refers to an image: by the endpoint, by a tag, or by a tag behind
    # an endpoint that knows nothing, as pull-through caches have it.
    "endpoint": {
        "one image, older": 2,
        "one image, bundle": 4,
        "one image, unsigned": 3,
        "index, older": 2,
        "index, bundle": 4,
        "platform, older": 6,
        "platform, bundle": 5,
        "index, unsigned": 5,
    },
    "tag": {
        "one image, older": 2,
        "one image, bundle": 5,
        "one image, unsigned": 3,
        "index, older": 2,
        "index, bundle": 5,
        "platform, older": 6,
        "platform, bundle": 6,
        "index, unsigned": 5,
    },
    "cache": {
        "one image, older": 2,
        "one image, bundle": 5,
        "one image, unsigned": 3,
        "index, older": 2,
        "index, bundle": 6,
        "platform, older": 6,
        # It is not found: a registry with the endpoint must list what tags list, so none is read.
        "platform, bundle": 5,
        "index, unsigned": 5,
    },
}
"""Requests that a check needs, by what is signed, and how."""


@pytest.mark.parametrize("case", REQUESTS["tag"])
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_check_needs_few_requests(kind: str, case: str, folder: Path, key: str) -> None:
    what, _, form = case.partition(", ")
    image = APP if what == "one image" else index([APP, OTHER_PLATFORM], "oci")
    subject = APP if what == "platform" else image
    store = Store.of({"app": image})
    if form == "older":
        good = signatures(signed(payload(subject.digest)))
        store.add("app", good, maker.tag_of(subject, ".sig"))
    elif form == "bundle":
        store.add("app", referrers(bundle_of(subject)), maker.tag_of(subject))
    with Simulator(store, referrers=kind != "tag") as registry:
        if kind == "cache":
            registry.faults.add(Fault.body(NOTHING, on="referrers"))
        if form == "unsigned" or (kind, case) == ("cache", "platform, bundle"):
            refused(folder, f"{registry.host}/app", key)
            # The layer was not fetched.
            own = OWN - 1 + (image is not APP)
        else:
            saving(f"{registry.host}/app", key)
            own = OWN + (image is not APP)
        assert len(registry.requests) - own == REQUESTS[kind][case]


NOTHING = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})


def keyless() -> bytes:
    """A bundle with a certificate."""
    certificate = {"certificate": {"rawBytes": "MAA="}}
    return bundle(APP.digest, verificationMaterial=certificate)


def certified() -> tuple[str, Document]:
    """A signature in the older form, with a certificate beside it."""
    body, text = signed(payload(APP.digest))
    notes = {"annotations": {SIGNATURE: text, CERTIFICATE: "-----BEGIN CERTIFICATE-----"}}
    return maker.tag_of(APP, ".sig"), signatures((body, text), layers=notes)


UNSIGNED: dict[str, tuple[Callable[[], list[tuple[str, Document]]], str]] = {
    "nothing": (list, "it is not signed"),
    "by another key": (
        lambda: [older(signed(payload(APP.digest), number=1))],
        "it is signed, but not by this key",
    ),
    "a bundle by another key": (
        lambda: [listed(bundle_of(APP, 1))],
        "it is signed, but not by this key",
    ),
    "of another image": (
        lambda: [older(signed(payload(OTHER.digest)))],
        f"its signature is of another image: {OTHER.digest}",
    ),
    "a bundle of another image": (
        lambda: [listed(referrer(APP, bundle(OTHER.digest)))],
        f"its signature is of another image: {OTHER.digest}",
    ),
    "a manifest about another image": (lambda: [listed(bundle_of(OTHER))], "it is not signed"),
    "the right signature of another payload": (
        lambda: [older((payload(APP.digest), signed(payload(OTHER.digest))[1]))],
        "it is signed, but not by this key",
    ),
    "not base64": (
        lambda: [older((payload(APP.digest), "%%%"))],
        "its signature is damaged: it is not base64",
    ),
    "twice the same member": (
        lambda: [older(signed(payload(APP.digest).replace(b'"optional"', b'"critical"')))],
        "its signature is damaged: it names a member twice: readers disagree about which one "
        "counts",
    ),
    "too large": (
        lambda: [older(signed(payload(APP.digest, {"x": "x" * LIMITS.signature})))],
        "its signature is damaged: it has 1048",
    ),
    "with a certificate": (
        lambda: [listed(referrer(APP, keyless()))],
        "it is signed with a certificate instead of a key (keyless), which is not checked",
    ),
    "with a certificate, in the older form": (
        lambda: [certified()],
        "it is signed with a certificate instead of a key (keyless), which is not checked",
    ),
    "a bundle of another version": (
        lambda: [listed(referrer(APP, bundle(APP.digest), BUNDLE.replace("0.3", "0.4")))],
        "its signature is damaged: its bundle is not of version 0.3",
    ),
    "several": (
        lambda: [
            older(signed(payload(APP.digest), number=1), (payload(APP.digest), "%%%")),
            listed(referrer(APP, keyless())),
        ],
        "none of its signatures is by this key and right: 1 by other keys, 1 damaged, 1 keyless",
    ),
    "the image itself, as GitLab answers": (
        lambda: [(maker.tag_of(APP), APP)],
        "it is not signed",
    ),
    "an index of images": (
        lambda: [(maker.tag_of(APP), index([OTHER], "oci"))],
        "it is not signed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSIGNED)
def test_what_is_not_signed_is_not_saved(case: str, folder: Path, key: str) -> None:
    attached, why = UNSIGNED[case]
    with having(*attached()) as registry:
        error = refused(folder, f"{registry.host}/app", key)
        assert error.message.startswith(why)
        layers = {each["digest"] for each in json.loads(APP.manifest)["layers"]}
        assert not [each for each in registry.requests if each.reference in layers]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("attested", "it has attestations, but no signature"),
        ("notation", "it is signed with notation, which is not checked"),
        ("p384-bundle", "it is signed, but not by this key"),
        ("p384-cosign", "it is signed, but not by this key"),
    ],
)
def test_what_others_made_is_told_plainly(
    name: str, why: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    path.write_bytes(recorded.key())
    with Simulator(recorded.store(name)) as registry:
        assert refused(folder, f"{registry.host}/{name}", str(path)).message == why


def test_any_of_several_keys_suffices(folder: Path, key: str, tmp_path: Path) -> None:
    (other := tmp_path.parent / f"{tmp_path.name}.pem").write_bytes(public(maker.KIND, 1))
    with having(older(signed(payload(APP.digest)))) as registry:
        saved = saving(f"{registry.host}/app", str(other), key)
        assert saved.images[0].signers == (PublicKey.of_pem(public(maker.KIND), "key").fingerprint,)


def test_another_platform_than_the_index_says_is_not_saved(folder: Path, key: str) -> None:
    both = index([APP, image([layer([file("x", "x")], "none")], "linux/arm64", "oci")], "oci")
    store = Store.of({"app": both})
    good = signatures(signed(payload(both.digest)))
    store.add("app", good, maker.tag_of(both, ".sig"))
    with Simulator(store) as registry:
        saving(f"{registry.host}/app", key)
        (folder / "a.tar").unlink()
        store.repositories["app"].manifests[APP.digest] = OTHER
        with pytest.raises(ContentError):
            saving(f"{registry.host}/app", key)
        assert names_in(folder) == []


def test_an_endpoint_that_knows_nothing_is_not_the_last_word(folder: Path, key: str) -> None:
    """Pull-through caches have one, and know only what was pushed to them."""
    with having(listed(bundle_of(APP)), referring=True) as registry:
        registry.faults.add(Fault.body(NOTHING, on="referrers"))
        assert saving(f"{registry.host}/app", key).images[0].signers


@pytest.mark.parametrize("media_type", [OCI_INDEX, "application/json"])
def test_tags_of_the_platform_count_where_other_clients_read_them(
    media_type: str, folder: Path, key: str
) -> None:
    """cosign, oras and regctl read tags unless an endpoint answers as the specification says."""
    both = index([APP, OTHER_PLATFORM], "oci")
    store = Store.of({"app": both})
    store.add("app", referrers(bundle_of(APP)), maker.tag_of(APP))
    with Simulator(store, referrers=True) as registry:
        registry.faults.add(Fault.body(NOTHING, media_type, on="referrers"))
        if media_type == OCI_INDEX:
            refused(folder, f"{registry.host}/app", key)
        else:
            assert saving(f"{registry.host}/app", key).images[0].signers


@pytest.mark.parametrize("referring", [True, False], ids=["endpoint", "tag"])
def test_a_list_may_have_what_refers_to_the_platforms_manifest(
    referring: bool, folder: Path, key: str
) -> None:
    """It is read once, for whichever digest it is about."""
    both = index([APP, OTHER_PLATFORM], "oci")
    store = Store.of({"app": both})
    for document in (both, APP):
        store.add("app", referrers(bundle_of(APP)), maker.tag_of(document))
    with Simulator(store, referrers=referring) as registry:
        saving(f"{registry.host}/app", key)
        bundle = referrers(bundle_of(APP)).children[0].digest
        assert [each.reference for each in registry.requests].count(bundle) == 1


def test_each_signature_is_counted_once(folder: Path, key: str, tmp_path: Path) -> None:
    policy = tmp_path.parent / f"{tmp_path.name}.json"
    foreign = signed(payload(APP.digest), number=1)
    with having(older(foreign, (payload(APP.digest), "%%%"))) as registry:
        rules = {registry.host: {"keys": [key]}}
        policy.write_text(json.dumps({"default": "refuse", "images": rules}))
        error = refused(folder, f"{registry.host}/app", key, policy=policy)
        assert error.message.endswith(": 1 by other keys, 1 damaged")


def test_an_endpoint_that_is_a_web_page_is_none(folder: Path, key: str) -> None:
    with having(listed(bundle_of(APP)), referring=True) as registry:
        registry.faults.add(Fault.body(b"<html>", on="referrers"))
        assert saving(f"{registry.host}/app", key).images[0].signers


def test_a_mirror_may_have_them(folder: Path, key: str) -> None:
    with having() as registry, having(older(signed(payload(APP.digest)))) as mirror:
        network = Network(insecure=True, retries=0, mirrors=(mirror.base_url,))
        assert saving(f"{registry.host}/app", key, network=network).images[0].signers
    # By digest, the registry need not be there.
    (folder / "a.tar").unlink()
    with having(older(signed(payload(APP.digest)))) as mirror:
        network = Network(insecure=True, retries=0, mirrors=(mirror.base_url,))
        gone = f"{registry.host}/app@{APP.digest}"
        assert saving(gone, key, network=network).images[0].signers
    (folder / "a.tar").unlink()
    with having(older(signed(payload(APP.digest), number=1))) as mirror:
        network = Network(insecure=True, retries=0, mirrors=(mirror.base_url,))
        with pytest.raises(NetworkError):
            saving(gone, key, network=network)


def test_a_real_registry(registries: Registries, folder: Path, key: str) -> None:
    name = "signed-here"
    registries.push({name: APP})
    registries.push({name: signatures(signed(payload(APP.digest)))}, maker.tag_of(APP, ".sig"))
    host = registries.get().host
    assert saving(f"{host}/{name}", key).images[0].signers
    name = "signed-with-a-bundle"
    registries.push({name: APP})
    registries.push({name: referrers(bundle_of(APP))}, maker.tag_of(APP))
    (folder / "a.tar").unlink()
    assert saving(f"{host}/{name}", key).images[0].signers
