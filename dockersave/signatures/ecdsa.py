"""ECDSA on NIST's curves.

Sources: FIPS 186-5, section 6.4.2 (verification); SP 800-186, section 3.2.1 (curves); SEC 1,
section 2.3.4 (points); "dbl-2001-b" and "add-2007-bl" of the Explicit-Formulas Database.
"""

from __future__ import annotations

from ..values import dataclass
from .encodings import INTEGER, EncodingError, sequence, unsigned

Point = tuple[int, int, int]
"""X, Y and Z in Jacobian coordinates: x = X / Z², y = Y / Z³; Z is 0 at infinity."""

_INFINITY: Point = (1, 1, 0)
_WINDOW = 5
"""Digits of numbers are odd and below 2⁴ in amount, and five bits or more apart."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve y² = x³ - 3x + b over the integers modulo p, with base point (x, y) of order n."""

    name: str
    p: int
    n: int
    b: int
    x: int
    y: int

    @property
    def size(self) -> int:
        """Bytes of a coordinate."""
        return (self.p.bit_length() + 7) // 8

    def point(self, data: bytes) -> Point:
        """A point on the curve.

        Args:
            data: the point, uncompressed.

        Raises:
            EncodingError: it is compressed, at infinity, not on the curve, or has another size.
        """
        size = self.size
        if len(data) != 2 * size + 1 or data[0] != 4:
            raise EncodingError("a point of a curve is not in its uncompressed form")
        x, y = int.from_bytes(data[1 : size + 1], "big"), int.from_bytes(data[size + 1 :], "big")
        if x >= self.p or y >= self.p or (y * y - (x * x * x - 3 * x + self.b)) % self.p:
            raise EncodingError("a point is not on its curve")
        return x, y, 1


def verify(curve: Curve, key: Point, signature: bytes, digest: bytes) -> bool:
    """Whether a signature is right.

    Args:
        curve: the key's curve.
        key: a point on it.
        signature: r and s, as DER.
        digest: the hash of what was signed.
    """
    try:
        r, s = map(unsigned, sequence(signature, INTEGER, INTEGER))
    except EncodingError:
        return False
    n = curve.n
    if not (0 < r < n and 0 < s < n):
        return False
    e = int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - n.bit_length())
    w = pow(s, -1, n)
    base = (curve.x, curve.y, 1)
    x, _, z = _sum_of_products(((base, e * w % n), (key, r * w % n)), curve.p)
    return z != 0 and x * pow(z * z, -1, curve.p) % curve.p % n == r


def _sum_of_products(products: tuple[tuple[Point, int], ...], p: int) -> Point:
    """The sum of points, each taken a number of times; all in one pass (Straus)."""
    tables = [_odd_multiples(point, p) for point, _ in products]
    digits = [_digits(number) for _, number in products]
    result = _INFINITY
    for position in range(max(map(len, digits)) - 1, -1, -1):
        result = _double(result, p)
        for table, each in zip(tables, digits, strict=True):
            if position < len(each) and (digit := each[position]):
                x, y, z = table[abs(digit) >> 1]
                result = _add(result, (x, y if digit > 0 else -y % p, z), p)
    return result


def _odd_multiples(point: Point, p: int) -> list[Point]:
    double, found = _double(point, p), [point]
    while len(found) < 1 << _WINDOW - 2:
        found.append(_add(found[-1], double, p))
    return found


def _digits(number: int) -> list[int]:
    """A number's non-adjacent form, the lowest digit first."""
    found = []
    while number:
        digit = 0
        if number & 1:
            digit = number & (1 << _WINDOW) - 1
            if digit >> _WINDOW - 1:
                digit -= 1 << _WINDOW
            number -= digit
        found.append(digit)
        number >>= 1
    return found


def _double(point: Point, p: int) -> Point:
    x, y, z = point
    if not z:
        return _INFINITY
    delta, gamma = z * z % p, y * y % p
    beta, alpha = x * gamma % p, 3 * (x - delta) * (x + delta) % p
    new = (alpha * alpha - 8 * beta) % p
    return new, (alpha * (4 * beta - new) - 8 * gamma * gamma) % p, 2 * y * z % p


def _add(one: Point, other: Point, p: int) -> Point:
    x1, y1, z1 = one
    x2, y2, z2 = other
    if not z1:
        return other
    if not z2:
        return one
    square1, square2 = z1 * z1 % p, z2 * z2 % p
    u1, s1 = x1 * square2 % p, y1 * square2 * z2 % p
    h, r = x2 * square1 - u1, y2 * square1 * z1 % p - s1
    if not h % p:
        return _INFINITY if r % p else _double(one, p)
    h2 = h * h % p
    h3, v = h * h2 % p, u1 * h2 % p
    x = (r * r - h3 - 2 * v) % p
    return x, (r * (v - x) - s1 * h3) % p, z1 * z2 * h % p


P256 = Curve(
    "ECDSA P-256",
    p=2**256 - 2**224 + 2**192 + 2**96 - 1,
    n=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    x=0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    y=0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
P384 = Curve(
    "ECDSA P-384",
    p=2**384 - 2**128 - 2**96 + 2**32 - 1,
    n=int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF"
        "581A0DB248B0A77AECEC196ACCC52973",
        16,
    ),
    b=int(
        "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875A"
        "C656398D8A2ED19D2A85C8EDD3EC2AEF",
        16,
    ),
    x=int(
        "AA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A38"
        "5502F25DBF55296C3A545E3872760AB7",
        16,
    ),
    y=int(
        "3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C0"
        "0A60B1CE1D7E819D7A431D7C90EA0E5F",
        16,
    ),
)
P521 = Curve(
    "ECDSA P-521",
    p=2**521 - 1,
    n=int(
        "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
        "FA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409",
        16,
    ),
    b=int(
        "0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109"
        "E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00",
        16,
    ),
    x=int(
        "00C6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3D"
        "BAA14B5E77EFE75928FE1DC127A2FFA8DE3348B3C1856A429BF97E7E31C2E5BD66",
        16,
    ),
    y=int(
        "011839296A789A3BC0045C8A5FB42C7D1BD998F54449579B446817AFBD17273E66"
        "2C97EE72995EF42640C550B9013FAD0761353C7086A272C24088BE94769FD16650",
        16,
    ),
)
