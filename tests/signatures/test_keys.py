"""Keys and signatures, against Wycheproof's vectors, OpenSSL, and what is almost right."""

from __future__ import annotations

import hashlib
import json
import lzma
import tracemalloc
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockersave.errors import UsageError
from dockersave.signatures import ecdsa, encodings
from dockersave.signatures.encodings import EncodingError
from dockersave.signatures.keys import PublicKey
from tests.signatures.keyring import KINDS, agrees, openssl, private, public, sign

VECTORS = sorted((Path(__file__).parent / "wycheproof").glob("*.json.xz"))
MESSAGE = b"what is signed"


def _judged(group: dict[str, Any], test: dict[str, Any]) -> bool:
    try:
        key = PublicKey.of_der(bytes.fromhex(group.get("publicKeyDer") or group["keyDer"]))
    except EncodingError:
        return False
    check = key.checks.get(group.get("sha", "").lower().replace("-", ""))
    return check is not None and check(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))


def _is_right(test: dict[str, Any]) -> bool:
    # Those that may be accepted or not: an RSA exponent of 3 is fine, odd Ed25519 keys are not.
    return bool(test["result"] == "valid" or test["flags"] == ["SmallPublicKey"])


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name.partition(".")[0])
def test_wycheproof(path: Path) -> None:
    document = json.loads(lzma.decompress(path.read_bytes()))
    # Files of several hashes have those that no key of ours takes, too.
    groups = [
        group
        for group in document["testGroups"]
        if group.get("sha", "SHA-256") in ("SHA-256", "SHA-384", "SHA-512")
        if "_sig_gen" not in path.name or group["sha"] == "SHA-256"
    ]
    tests = [(group, test) for group in groups for test in group["tests"]]
    assert len(tests) >= 8
    wrong = [
        (test["tcId"], test["comment"])
        for group, test in tests
        if _judged(group, test) is not _is_right(test)
    ]
    assert not wrong


def test_they_are_all_there() -> None:
    assert len(VECTORS) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_what_openssl_signs_is_right_and_nothing_else(kind: str) -> None:
    key = PublicKey.of_pem(public(kind), "key.pem")
    assert key.kind == kind
    der = public(kind, form="DER")
    assert key.fingerprint == f"sha256:{hashlib.sha256(der).hexdigest()}"
    for digest in filter(None, key.checks if kind != "Ed25519" else ()):
        assert key.verifies(sign(kind, MESSAGE, digest=digest), MESSAGE)
    signature = sign(kind, MESSAGE)
    assert key.verifies(signature, MESSAGE)
    assert not key.verifies(signature, MESSAGE + b".")
    assert not key.verifies(sign(kind, MESSAGE, 1), MESSAGE), "by another key"
    assert not PublicKey.of_pem(public(kind, 1), "key.pem").verifies(signature, MESSAGE)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_signature_is_wrong(kind: str, data: st.DataObject) -> None:
    right = sign(kind, MESSAGE)
    damaged = bytearray(right)
    change = data.draw(st.sampled_from(["flip", "cut", "add", "insert", "drop"]))
    at = data.draw(st.integers(0, len(right) - 1))
    if change == "flip":
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    elif change == "cut":
        del damaged[at:]
    elif change == "add":
        damaged += data.draw(st.binary(min_size=1, max_size=4))
    elif change == "insert":
        damaged.insert(at, data.draw(st.integers(0, 255)))
    else:
        del damaged[at]
    key = PublicKey.of_pem(public(kind), "key.pem")
    # To insert a byte beside its like, and the reverse, changes nothing.
    assert key.verifies(bytes(damaged), MESSAGE) is (bytes(damaged) == right)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_openssl_is_of_the_same_mind(kind: str, data: st.DataObject) -> None:
    signature = bytearray(sign(kind, MESSAGE))
    for _ in range(data.draw(st.integers(0, 1))):
        at = data.draw(st.integers(0, len(signature) - 1))
        signature[at] = data.draw(st.integers(0, 255))
    key = PublicKey.of_pem(public(kind), "key.pem")
    assert key.verifies(bytes(signature), MESSAGE) is agrees(kind, bytes(signature), MESSAGE)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_key_is_refused_or_another(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    right = public(kind, form="DER")
    damaged = bytearray(right)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        damaged = damaged or bytearray(b"0")
    try:
        key = PublicKey.of_der(bytes(damaged))
    except EncodingError:
        return
    assert bytes(damaged) == right or not key.verifies(sign(kind, MESSAGE), MESSAGE)


@given(st.binary(max_size=80))
def test_any_bytes_are_no_key(data: bytes) -> None:
    with pytest.raises(EncodingError):
        PublicKey.of_der(data)


def test_ed25519ph() -> None:
    """The vector of RFC 8032, section 7.3."""
    seed = "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42"
    private_key = bytes.fromhex("302e020100300506032b657004220420" + seed)
    pem = openssl("pkey", "-inform", "DER", "-pubout", data=private_key)
    key = PublicKey.of_pem(pem, "key.pem")
    signature = bytes.fromhex(
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
        "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
    )
    assert key.checks["sha512"](signature, b"abc")
    assert key.verifies(signature, b"abc")
    assert not key.verifies(signature, b"abd")
    assert not key.checks[""](signature, b"abc"), "of another kind"


@pytest.mark.parametrize("curve", [ecdsa.P256, ecdsa.P384, ecdsa.P521], ids=lambda c: c.name)
def test_the_curves_are_nists(curve: ecdsa.Curve) -> None:
    name = curve.name.removeprefix("ECDSA ")
    text = openssl("ecparam", "-name", name, "-param_enc", "explicit", "-outform", "DER")
    width = (curve.n.bit_length() + 7) // 8
    for number in (curve.p, curve.n, curve.b, curve.x, curve.y):
        assert number.to_bytes(width, "big").lstrip(b"\0") in text


def _armoured(label: str, body: bytes) -> bytes:
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (
        label.encode(),
        b64encode(body),
        label.encode(),
    )


def _certificate() -> bytes:
    words = ("-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout", "/dev/null")
    return openssl("req", "-x509", *words)


def _ec() -> bytes:
    return public("ECDSA P-256", form="DER")


def _compressed() -> bytes:
    words = ("ec", "-pubout", "-conv_form", "compressed")
    return openssl(*words, data=private("ECDSA P-256"))


def _rsa(bits: int) -> bytes:
    """A key with a modulus of this size: it would take minutes to make a real one."""

    def der(tag: int, body: bytes) -> bytes:
        return bytes([tag, 0x82]) + len(body).to_bytes(2, "big") + body

    modulus = b"\2\x82" + (bits // 8 + 1).to_bytes(2, "big") + b"\0" + b"\xff" * (bits // 8)
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    numbers = der(0x30, modulus + bytes.fromhex("0203010001"))
    return _armoured("PUBLIC KEY", der(0x30, algorithm + der(3, b"\0" + numbers)))


_SMALL_ORDER = bytes.fromhex("302a300506032b6570032100") + b"\1" + bytes(31)

UNUSABLE: list[tuple[str, Callable[[], bytes]]] = [
    ("is not a PEM file", bytes),
    ("is not a PEM file", lambda: b"\x00\xff" * 9),
    ("is not a PEM file", _ec),
    ("has 2 PEM blocks, not one", lambda: public("Ed25519") * 2),
    ("is a private key", lambda: private("Ed25519")),
    ("is a certificate, not a public key", _certificate),
    (
        "has an RSA key in an old format",
        lambda: openssl("rsa", "-RSAPublicKey_out", data=private("RSA 2048")),
    ),
    ("is no public key, but SSH2 KEY", lambda: _armoured("SSH2 KEY", b"x")),
    ("cannot be used: its curve is not supported", lambda: public("secp256k1")),
    ("cannot be used: its curve is not supported", lambda: public("P-224")),
    ("cannot be used: its kind is not supported", lambda: public("ED448")),
    ("cannot be used: a point of a curve is not in its uncompressed form", _compressed),
    ("cannot be used: DER: it is not one", lambda: _armoured("PUBLIC KEY", _ec() + b"\0\0")),
    ("cannot be used: DER: it ends too soon", lambda: _armoured("PUBLIC KEY", _ec()[:-1])),
    (
        "cannot be used: a point is not on its curve",
        lambda: _armoured("PUBLIC KEY", _ec()[:-1] + bytes([_ec()[-1] ^ 1])),
    ),
    (
        "cannot be used: the key is not in the group that Ed25519 uses",
        lambda: _armoured("PUBLIC KEY", _SMALL_ORDER),
    ),
    ("cannot be read: a PEM block has no end", lambda: b"-----BEGIN PUBLIC KEY-----\nMA==\n"),
    (
        "cannot be read: it is not base64",
        lambda: _armoured("PUBLIC KEY", b"x").replace(b"=", b"!"),
    ),
    (
        "cannot be used: an RSA key of 1024 bits with this exponent is not supported",
        lambda: openssl("rsa", "-pubout", data=openssl("genrsa", "1024")),
    ),
    (
        "cannot be used: an RSA key of 8200 bits with this exponent is not supported",
        lambda: _rsa(8200),
    ),
]


@pytest.mark.parametrize("number", range(len(UNUSABLE)))
def test_a_key_that_cannot_be_used(number: int) -> None:
    why, make = UNUSABLE[number]
    with pytest.raises(UsageError) as caught:
        PublicKey.of_pem(make(), "k\n.pem")
    assert str(caught.value).startswith(f"the key k?.pem {why}")
    assert caught.value.advice
    assert PublicKey.of_pem(_rsa(8192), "key").kind == "RSA 8192"


def test_hints_fit_what_is_wrong() -> None:
    cosigns = _armoured("ENCRYPTED SIGSTORE PRIVATE KEY", b"x")
    for make, hint in (
        (_ec, "begins with -----BEGIN"),
        (lambda: private("Ed25519"), "-pubout"),
        (lambda: cosigns, "cosign public-key"),
    ):
        with pytest.raises(UsageError) as caught:
            PublicKey.of_pem(make(), "key")
        assert hint in caught.value.advice


@pytest.mark.parametrize("text", ["QQ=", "QR==", "QQ==\n", " QQ==", "QQ", "Q-==", "ü", "QQ==QQ=="])
def test_base64_has_one_spelling(text: str) -> None:
    assert encodings.base64("QQ==") == b"A"
    with pytest.raises(EncodingError):
        encodings.base64(text)


@pytest.mark.parametrize(
    "text",
    [
        *("3006020101020101", "3081060201010201", "300702020001020101", "3006020181020101"),
        *("300602010102010100", "31060201010201", "3006020101040101", "30050200020101"),
        *("30", "30800000", "3084000000060201010201", "3085000000000602010102"),
    ],
)
def test_der_has_one_spelling(text: str) -> None:
    data = bytes.fromhex(text)
    try:
        numbers = [encodings.unsigned(each) for each in encodings.sequence(data, 2, 2)]
    except EncodingError:
        numbers = []
    assert (numbers == [1, 1]) is (text == "3006020101020101")


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_that_is_too_long_is_not_read(kind: str) -> None:
    """Its numbers would take a hundred megabytes."""
    body = b"\2\0" * 500_000
    signature = b"\x30\x83" + len(body).to_bytes(3, "big") + body
    key = PublicKey.of_pem(public(kind), "key")
    tracemalloc.start()
    try:
        assert not key.verifies(signature, MESSAGE)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
