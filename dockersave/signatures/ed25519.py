"""Ed25519, and Ed25519ph, in which the message is hashed first; cosign 3.1 signs with that.

Source: RFC 8032, sections 5.1.3 (points), 5.1.4 (addition) and 5.1.7 (verification). The equation
without the cofactor is checked, as Go and OpenSSL do.
"""

from __future__ import annotations

import hashlib

from .encodings import EncodingError

Point = tuple[int, int, int, int]
"""X, Y, Z and T in extended coordinates: x = X / Z, y = Y / Z, x y = T / Z."""

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ORDER = 2**252 + 27742317777372353535851937790883648493
_ROOT = pow(2, (_P - 1) // 4, _P)
"""A square root of -1."""
_PREHASHED = b"SigEd25519 no Ed25519 collisions\1\0"
"""`dom2` (RFC 8032, section 2): no signature is one of both kinds."""
_NEUTRAL: Point = (0, 1, 1, 0)


def public_point(data: bytes) -> Point:
    """The point that a public key is.

    Raises:
        EncodingError: it is not a point of the curve in its canonical form, or not in the group of
            the base point, as every real key is: verifiers disagree about such keys.
    """
    found = _point(data)
    zero = _sum_of_products(0, _ORDER, found)
    if found[:2] == (0, 1) or zero[0] or zero[1] != zero[2]:
        raise EncodingError("the key is not in the group that Ed25519 uses")
    return found


def _point(data: bytes) -> Point:
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if len(data) != 32 or y >= _P:
        raise EncodingError("a point is not in its canonical form")
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        raise EncodingError("a point is not on its curve")
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


def verify(
    key: bytes, point: Point, signature: bytes, message: bytes, *, prehashed: bool = False
) -> bool:
    """Whether a signature is right.

    Args:
        key: the public key, 32 bytes.
        point: the same, as `public_point` gives it.
        signature: 64 bytes.
        message: what was signed, not hashed.
        prehashed: whether it is one of Ed25519ph, without a context.
    """
    if len(signature) != 64:
        return False
    try:
        there = _point(signature[:32])
    except EncodingError:
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= _ORDER:
        return False
    text = signature[:32] + key + message
    if prehashed:
        text = _PREHASHED + signature[:32] + key + hashlib.sha512(message).digest()
    h = int.from_bytes(hashlib.sha512(text).digest(), "little") % _ORDER
    x, y, z, t = point
    minus = (_P - x, y, z, _P - t)
    found = _sum_of_products(s, h, minus)
    return not ((found[0] - there[0] * found[2]) % _P or (found[1] - there[1] * found[2]) % _P)


def _sum_of_products(s: int, h: int, other: Point) -> Point:
    """The base point times `s`, plus another point times `h`; two bits of each at a time."""
    ones, others = _multiples(_BASE), _multiples(other)
    table = [[_add(one, two) for two in others] for one in ones]
    result = _NEUTRAL
    for position in range(252, -1, -2):
        result = _add(result, result)
        result = _add(result, result)
        one, two = s >> position & 3, h >> position & 3
        if one or two:
            result = _add(result, table[one][two])
    return result


def _multiples(point: Point) -> list[Point]:
    double = _add(point, point)
    return [_NEUTRAL, point, double, _add(double, point)]


def _add(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


_BASE = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
