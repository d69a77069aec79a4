"""RSA with SHA-256 and the padding of PKCS #1 v1.5.

Source: RFC 8017, section 8.2.2: what the signature should contain is built, and compared.
"""

from __future__ import annotations

BITS_LEAST, BITS_MOST = 2048, 8192
EXPONENT_BITS_MOST = 64
"""Exponents are small primes, mostly 65537; a large one only costs time."""

_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
"""The DigestInfo before the hash (RFC 8017, section 9.2, note 1)."""


def is_acceptable(modulus: int, exponent: int) -> bool:
    """Whether a key has a size that is neither weak nor a waste of time."""
    is_sized = BITS_LEAST <= modulus.bit_length() <= BITS_MOST and modulus & 1
    return bool(
        is_sized and exponent & 1 and exponent >= 3 and exponent.bit_length() <= EXPONENT_BITS_MOST
    )


def verify(modulus: int, exponent: int, signature: bytes, digest: bytes) -> bool:
    """Whether a signature is right.

    Args:
        modulus, exponent: the public key.
        signature: as many bytes as the modulus has.
        digest: the SHA-256 hash of what was signed.
    """
    size = (modulus.bit_length() + 7) // 8
    number = int.from_bytes(signature, "big")
    if not is_acceptable(modulus, exponent) or len(signature) != size or number >= modulus:
        return False
    info = _SHA256 + digest
    wanted = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
    return pow(number, exponent, modulus).to_bytes(size, "big") == wanted
