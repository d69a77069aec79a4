"""What signatures say: recorded ones, damaged ones, and those that say something else."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.signatures.keys import PublicKey
from dockersave.signatures.refusals import _ALONE, _COUNTED, Refusals, Refused
from dockersave.signatures.signed import (
    BUNDLE,
    SIGNATURE,
    SIMPLE_SIGNING,
    Requirement,
    Signed,
)
from tests.fuzz.inputs import documents
from tests.signatures import maker, recorded
from tests.signatures.keyring import KINDS, public

DIGEST = "sha256:" + "7" * 64
OTHER = "sha256:" + "8" * 64


PROD = {"env": "prod"}


def required(text: bytes | None = None, notes: Mapping[str, str] | None = None) -> Requirement:
    """A signature by one key."""
    return Requirement((PublicKey.of_pem(text or public(maker.KIND), "key"),), notes or {})


def made_by_cosign() -> list[tuple[str, str, str, bytes, str]]:
    """Recorded signatures: key, form, the digest, the payload or bundle, and its signature."""
    blobs = {digest: b64decode(text) for digest, text in recorded.made()["blobs"].items()}
    found = []
    for kind in KINDS:
        for form in recorded.FORMS:
            tags = dict(recorded.made()["tags"][recorded.repository_of(kind, form)])
            digest = tags.pop("latest")
            manifest = json.loads(recorded.made()["manifests"][tags.popitem()[1]])
            if form == "bundle":
                entry = manifest["manifests"][0]["digest"]
                manifest = json.loads(recorded.made()["manifests"][entry])
            (layer,) = manifest["layers"]
            assert layer["mediaType"] == (BUNDLE if form == "bundle" else SIMPLE_SIGNING)
            text = layer.get("annotations", {}).get(SIGNATURE, "")
            found.append((kind, form, digest, blobs[layer["digest"]], text))
    return found


def reading(form: str, body: bytes, text: str) -> Signed:
    return Signed.of_bundle(body) if form == "bundle" else Signed.of_payload(body, text)


MADE = made_by_cosign()


@pytest.mark.parametrize("made", MADE, ids=lambda made: f"{made[0]}-{made[1]}")
def test_what_cosign_made(made: tuple[str, str, str, bytes, str]) -> None:
    kind, form, digest, body, text = made
    needed = required(recorded.key(kind), PROD)
    signed = reading(form, body, text)
    key = signed.check([digest], needed)
    assert key.kind == kind
    first = next(iter(key.checks.values()))
    assert first(signed.signatures[0], signed.message), "a second try takes as long again"
    for kind_of_other in KINDS:
        if kind_of_other != kind:
            with pytest.raises(Refused, match="other key"):
                signed.check([digest], required(recorded.key(kind_of_other)))
    with pytest.raises(Refused, match="other image"):
        signed.check([OTHER], needed)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_nothing_that_is_damaged_counts(data: st.DataObject) -> None:
    """`python -m tests.signatures.damage` tries a hundred thousand of them."""
    kind, form, digest, body, text = data.draw(st.sampled_from(MADE))
    rng = data.draw(st.randoms(use_true_random=False))
    now, mark = damaged(rng, body, text)
    try:
        reading(form, now, mark).check([digest], required(recorded.key(kind), PROD))
    except Refused:
        return
    assert says_the_same(form, (now, mark), (body, text))


def damaged(rng: Any, body: bytes, text: str) -> tuple[bytes, str]:
    """A payload or bundle, and its signature, with up to three bytes changed, added or gone."""
    whole = bytearray(body)
    mark = bytearray(text.encode())
    for _ in range(rng.randint(1, 3)):
        one = mark if mark and rng.random() < 0.5 else whole
        at = rng.randrange(len(one)) if one else 0
        one[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
    return bytes(whole), mark.decode("latin-1")


def says_the_same(form: str, one: tuple[bytes, str], other: tuple[bytes, str]) -> bool:
    """Whether two signatures are the same in all that counts: a bundle has more than that."""
    left, right = reading(form, *one), reading(form, *other)
    return (left.message, left.signatures) == (right.message, right.signatures)


PAYLOAD = json.loads(maker.payload(DIGEST, {"env": "prod"}))


def payload_of(**critical: Any) -> bytes:
    return json.dumps(PAYLOAD | {"critical": PAYLOAD["critical"] | critical}).encode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"{}", "it has no critical"),
        (b'{"critical": NaN}', "NaN is not a JSON number"),
        (payload_of(type="atomic container signature"), "its payload is not of cosign's type"),
        (payload_of(image=None), "it has no image"),
        (payload_of(image={"docker-manifest-digest": "sha256:0"}), "its payload has no digest"),
        (payload_of(image={"Docker-manifest-digest": DIGEST}), "its payload has no digest"),
        (payload_of(identity={}), "its payload has a part"),
        (json.dumps(PAYLOAD | {"optional": [1]}).encode(), "its payload has a part"),
        (maker.payload(DIGEST)[:-1] + b',"optional":{}}', "it names a member twice"),
        (b'{"critical":{"a":' + b"[0," * 200_000, "it has too many values"),
    ],
)
def test_a_payload_that_is_damaged(body: bytes, why: str) -> None:
    with pytest.raises(Refused, match=f"damaged {why}"):
        Signed.of_payload(body, "MAA=")


STATEMENT = maker.statement(DIGEST)


def bundle_of(statement: object = STATEMENT, **more: Any) -> dict[str, Any]:
    body = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    return maker.bundle(body, **more)


def enveloped(**more: Any) -> dict[str, Any]:
    bundle = bundle_of()
    return bundle | {"dsseEnvelope": bundle["dsseEnvelope"] | more}


TWICE = [*STATEMENT["subject"], STATEMENT["subject"][0] | {"annotations": {"a": "b"}}]
SIGNATURES = maker.envelope(b"{}")["signatures"]

BUNDLES: list[tuple[Callable[[], dict[str, Any]], str]] = [
    (dict, "damaged its bundle is not of version 0.3"),
    (lambda: bundle_of(mediaType=BUNDLE.replace("0.3", "0.4")), "damaged its bundle is not of"),
    (lambda: bundle_of(verificationMaterial={}), "damaged its bundle is not of a kind"),
    (lambda: bundle_of(verificationMaterial={"publicKey": {}, "certificate": {}}), "keyless"),
    (lambda: bundle_of(verificationMaterial={"x509CertificateChain": {}}), "keyless"),
    (lambda: bundle_of(messageSignature={}), "damaged its bundle is not of a kind"),
    (lambda: bundle_of(dsseEnvelope=[]), "damaged it has no dsseEnvelope"),
    (lambda: enveloped(signatures=[]), "damaged its envelope has not one signature"),
    (lambda: enveloped(signatures=SIGNATURES * 2), "damaged its envelope has not one signature"),
    (lambda: enveloped(signatures=[1]), "damaged its envelope is not what"),
    (lambda: enveloped(payload=None), "damaged its envelope is not what"),
    (lambda: enveloped(payload="e30"), "damaged it is not base64"),
    (lambda: enveloped(payloadType="text/plain"), "damaged its envelope is not what"),
    (lambda: bundle_of(b"x"), "damaged it is not JSON"),
    (lambda: bundle_of(b'{"_type":"a","_type":"b"}'), "damaged it names a member twice"),
    (lambda: bundle_of(STATEMENT | {"_type": "x"}), "damaged its statement is not of a known"),
    (lambda: bundle_of(STATEMENT | {"predicateType": "https://slsa.dev"}), "attestation"),
    (lambda: bundle_of(STATEMENT | {"subject": None}), "other image none"),
    (lambda: bundle_of(STATEMENT | {"subject": [1]}), "damaged its statement has a subject"),
    (lambda: bundle_of(STATEMENT | {"subject": [{"digest": {"md5": "0"}}]}), "other image none"),
    (lambda: bundle_of(STATEMENT | {"subject": TWICE}), "damaged its statement names a digest"),
    (lambda: bundle_of(maker.statement(OTHER)), f"other image {OTHER}"),
    (lambda: enveloped(signatures=SIGNATURES), "other key"),
    (lambda: bundle_of(number=1), "other key"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BUNDLES)))
def test_a_bundle_that_does_not_count(number: int) -> None:
    make, why = BUNDLES[number]
    with pytest.raises(Refused) as caught:
        Signed.of_bundle(json.dumps(make()).encode()).check([DIGEST], required())
    assert str(caught.value).startswith(why)
    assert Signed.of_bundle(json.dumps(bundle_of()).encode()).check([DIGEST], required())


@settings(max_examples=300, deadline=None)
@given(documents([bundle_of(), PAYLOAD]))
def test_any_document_is_read_or_refused(document: Any) -> None:
    body = json.dumps(document).encode(errors="replace")
    for read in (Signed.of_bundle, lambda body: Signed.of_payload(body, "MAA=")):
        try:
            read(body).check([DIGEST], required())
        except Refused as refused:
            refusals = Refusals()
            refusals.add(refused)
            assert str(refusals.error(1)).isprintable()


def test_annotations_are_what_was_signed() -> None:
    body = json.dumps(maker.statement(DIGEST, notes={"env": "prod", "n": 1})).encode()
    signed = Signed.of_bundle(json.dumps(maker.bundle(body)).encode())
    assert signed.check([DIGEST], required(notes=PROD))
    for notes in ({"env": "test"}, {"none": ""}, {"n": "1"}, {"env": "prod", "more": "x"}):
        with pytest.raises(Refused, match="annotation"):
            signed.check([DIGEST], required(notes=notes))


def test_annotations_are_those_of_every_digest_that_counts() -> None:
    """An index and a platform in it, of which one is for production."""
    statement = maker.statement(DIGEST, OTHER, notes={"env": "prod"})
    statement["subject"][1]["annotations"] = {"env": "test"}
    signed = Signed.of_bundle(json.dumps(maker.bundle(json.dumps(statement).encode())).encode())
    assert signed.check([DIGEST], required(notes=PROD))
    for digests in ([OTHER], [DIGEST, OTHER]):
        with pytest.raises(Refused, match="annotation"):
            signed.check(digests, required(notes=PROD))


def test_names_are_what_was_signed() -> None:
    named = Requirement(required().keys, {}, lambda name: name == "r.io/app:1")
    right = maker.payload(DIGEST, name="r.io/app:1")
    assert Signed.of_payload(*maker.signed(right)).check([DIGEST], named)
    wrong = Signed.of_payload(*maker.signed(maker.payload(DIGEST, name="r.io/app:2")))
    with pytest.raises(Refused, match=r"other name r\.io/app:2"):
        wrong.check([DIGEST], named)
    with pytest.raises(Refused, match="nameless"):
        Signed.of_bundle(json.dumps(bundle_of()).encode()).check([DIGEST], named)


def test_every_kind_has_its_words() -> None:
    assert _ALONE.keys() == _COUNTED.keys()
    for kind in _ALONE:
        for count in (1, 2):
            refusals = Refusals()
            for _ in range(count):
                refusals.add(Refused(kind, "x{0}"))
            error = refusals.error(count)
            assert error.exit_code == 8
            assert error.hint
            assert "{" not in error.message.replace("x{0}", "")
    refusals = Refusals()
    for kind in _ALONE:
        refusals.add(Refused(kind))
    assert refusals.error(2).message.startswith("none of its signatures is by any of these keys")
