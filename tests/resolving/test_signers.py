"""Signatures are found, checked, and nothing is saved without them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dockersave.errors import ContentError, NetworkError, SignatureError
from dockersave.limits import LIMITS
from dockersave.model.options import Network, Options
from dockersave.saving.save import Saved, save
from dockersave.signatures.keys import PublicKey
from dockersave.signatures.signed import BUNDLE, CERTIFICATE, SIGNATURE
from tests.images import Document, Store, image, index, layer
from tests.images.documents import OCI_INDEX
from tests.images.layers import file
from tests.registry.faults import Fault
from tests.registry.real import Registries
from tests.registry.simulator import Simulator
from tests.saving.from_simulator import PLAIN, names_in
from tests.signatures import maker, recorded
from tests.signatures.keyring import KINDS, public
from tests.signatures.maker import bundle_of, payload, referrer, referrers, signatures, signed

APP = image([layer([file("hello", "hello")], "none")], flavor="oci")
OWN = 3
"""Requests for the image: its manifest, config and layer."""
OTHER = image([layer([file("hello", "other")], "none")], flavor="oci")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the key of `maker`."""
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    path.write_bytes(public(maker.KIND))
    return str(path)


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


def test_a_check_needs_few_requests(folder: Path, key: str) -> None:
    good = signed(payload(APP.digest))
    with having(older(good)) as registry:
        saving(f"{registry.host}/app", key)
        assert len(registry.requests) == OWN + 2, "the manifest with the tag, and the payload"
    with having(listed(bundle_of(APP))) as registry:
        (folder / "a.tar").unlink()
        saving(f"{registry.host}/app", key)
        assert len(registry.requests) == OWN + 5, "no .sig, no endpoint, index, manifest, bundle"


def bundle(*digests: str, **more: Any) -> bytes:
    """A bundle that signs digests."""
    return json.dumps(maker.bundle(json.dumps(maker.statement(*digests)).encode(), **more)).encode()


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


def test_an_endpoint_that_knows_nothing_is_not_the_last_word(folder: Path, key: str) -> None:
    """Pull-through caches have one, and know only what was pushed to them."""
    nothing = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    with having(listed(bundle_of(APP)), referring=True) as registry:
        registry.faults.add(Fault.body(nothing, on="referrers"))
        assert saving(f"{registry.host}/app", key).images[0].signers


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


OTHER_PLATFORM = image([layer([file("x", "x")], "none")], "linux/arm64", "oci")


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
