"""Public keys, as PEM files hold them, and the signatures that they verify.

Sources: RFC 5280, section 4.1 (SubjectPublicKeyInfo); RFC 5480 (EC), RFC 3279 (RSA), RFC 8410
(Ed25519).
"""

from __future__ import annotations

import hashlib

from ..errors import UsageError, shown
from ..values import dataclass, field
from . import ecdsa, ed25519, rsa
from .encodings import (
    BIT_STRING,
    INTEGER,
    SEQUENCE,
    EncodingError,
    items,
    pem,
    sequence,
    unsigned,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[bytes, bytes], bool]
    """Gets a signature, and what was signed."""

_EC = bytes.fromhex("2a8648ce3d0201")
_RSA = bytes.fromhex("2a864886f70d010101")
_ED25519 = bytes.fromhex("2b6570")
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): (ecdsa.P256, "sha256"),
    bytes.fromhex("2b81040022"): (ecdsa.P384, "sha384"),
    bytes.fromhex("2b81040023"): (ecdsa.P521, "sha512"),
}
_SIGNATURE_MOST = rsa.BITS_MOST // 8
"""Bytes of the longest signature: reading more takes memory for nothing."""
_KINDS = "ECDSA P-256, P-384 or P-521, Ed25519, RSA of 2048 to 8192 bits"
_CONVERT = "openssl pkey -in PRIVATE.pem -pubout writes the public key of a private one"
_CONVERT_OF_COSIGN = "cosign public-key writes the public key of a private one"
_FORM = "a public key is PEM text: it begins with -----BEGIN PUBLIC KEY-----"
_INSTEAD = {
    "CERTIFICATE": (
        "is a certificate, not a public key",
        "openssl x509 -in FILE -noout -pubkey writes its key; whether it is valid is not checked",
    ),
    "RSA PUBLIC KEY": (
        "has an RSA key in an old format",
        "openssl rsa -RSAPublicKey_in -in FILE -pubout converts it",
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class PublicKey:
    """A key that verifies signatures.

    Args:
        kind: its scheme: `ECDSA P-256`, for example.
        fingerprint: `sha256:` and the hash of its SubjectPublicKeyInfo, as hex.
        checks: how its signatures are checked, by the hash that they are made with. First as cosign
            3 makes them: with the hash that a curve goes with, and SHA-512 for Ed25519ph. Then as
            others do: with SHA-256, and none for Ed25519.
    """

    kind: str
    fingerprint: str
    checks: dict[str, Check] = field(repr=False)

    @classmethod
    def of_pem(cls, text: bytes, name: str) -> PublicKey:
        """The key in a PEM file.

        Args:
            text: the file's content.
            name: of the file, for messages.

        Raises:
            UsageError: it has no key, several, a private one, or one of an unknown kind.
        """
        name = f"the key {shown(name)}"
        try:
            blocks = pem(text)
        except EncodingError as failure:
            raise UsageError(f"{name} cannot be read: {failure}", _FORM) from None
        if len(blocks) != 1:
            many = f"has {len(blocks)} PEM blocks, not one" if blocks else "is not a PEM file"
            hint = "give one public key in each file" if blocks else _FORM
            raise UsageError(f"{name} {many}", hint)
        label, body = blocks[0]
        if label in _INSTEAD:
            what, hint = _INSTEAD[label]
            raise UsageError(f"{name} {what}", hint)
        if "PRIVATE" in label:
            # Cosign encrypts its own in a form of its own.
            is_of_cosign = "COSIGN" in label or "SIGSTORE" in label
            hint = _CONVERT_OF_COSIGN if is_of_cosign else _CONVERT
            raise UsageError(f"{name} is a private key; give the public one", hint)
        if label != "PUBLIC KEY":
            raise UsageError(f"{name} is no public key, but {shown(label, 40)}", _FORM)
        try:
            return cls.of_der(body)
        except EncodingError as failure:
            raise UsageError(f"{name} cannot be used: {failure}", f"use {_KINDS}") from None

    @classmethod
    def of_der(cls, data: bytes) -> PublicKey:
        """The key in a SubjectPublicKeyInfo.

        Raises:
            EncodingError: it is malformed, or of an unknown kind.
        """
        algorithm, bits = sequence(data, SEQUENCE, BIT_STRING)
        if bits[:1] != b"\0":
            raise EncodingError("it has a number of bits that is no number of bytes")
        kind, checks = _scheme(items(algorithm), bits[1:])
        return cls(kind, f"sha256:{hashlib.sha256(data).hexdigest()}", checks)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether a signature of a message is by this key."""
        if len(signature) > _SIGNATURE_MOST:
            return False
        return any(check(signature, message) for check in self.checks.values())


def _scheme(algorithm: list[tuple[int, bytes]], key: bytes) -> tuple[str, dict[str, Check]]:
    """The scheme that an AlgorithmIdentifier names.

    Args:
        algorithm: its identifier and parameters, each as a tag and its content.
        key: the key in the scheme's own encoding.
    """
    match algorithm:
        case [(6, oid), (6, curve)] if oid == _EC:
            if curve not in _CURVES:
                raise EncodingError("its curve is not supported")
            return _ecdsa(*_CURVES[curve], key)
        case [(6, oid), (5, b"")] if oid == _RSA:
            return _rsa(key)
        case [(6, oid)] if oid == _ED25519:
            return _ed25519(key)
    raise EncodingError("its kind is not supported")


def _ecdsa(curve: ecdsa.Curve, usual: str, key: bytes) -> tuple[str, dict[str, Check]]:
    point = curve.point(key)

    def with_hash(name: str) -> Check:
        return lambda signature, message: ecdsa.verify(
            curve, point, signature, hashlib.new(name, message).digest()
        )

    return curve.name, {name: with_hash(name) for name in (usual, "sha256")}


def _rsa(key: bytes) -> tuple[str, dict[str, Check]]:
    modulus, exponent = map(unsigned, sequence(key, INTEGER, INTEGER))
    bits = modulus.bit_length()
    if not rsa.is_acceptable(modulus, exponent):
        raise EncodingError(f"an RSA key of {bits} bits with this exponent is not supported")

    def check(signature: bytes, message: bytes) -> bool:
        return rsa.verify(modulus, exponent, signature, hashlib.sha256(message).digest())

    return f"RSA {bits}", {"sha256": check}


def _ed25519(key: bytes) -> tuple[str, dict[str, Check]]:
    point = ed25519.public_point(key)

    def whole(signature: bytes, message: bytes) -> bool:
        return ed25519.verify(key, point, signature, message)

    def prehashed(signature: bytes, message: bytes) -> bool:
        return ed25519.verify(key, point, signature, message, prehashed=True)

    return "Ed25519", {"sha512": prehashed, "": whole}
