"""The codec for host names in ASCII; the standard library's has tables of 1.1 MB for all others.

Sockets, TLS and urllib3 encode each host's name with it. urllib3 takes no other name without a
package that is not in here either, so nothing is lost. Names in punycode (`xn--...`) are in ASCII.
"""

from __future__ import annotations

import codecs


def _encode(text, errors="strict"):
    """Return the name as bytes. Raises UnicodeError as RFC 3490, section 4.1, wants it."""
    encoded = text.encode("ascii")
    labels = encoded.removesuffix(b".").split(b".") if encoded else []
    if not all(0 < len(label) < 64 for label in labels):
        raise UnicodeError("label empty or too long")
    return encoded, len(text)


def _decode(data, errors="strict"):
    return bytes(data).decode("ascii"), len(data)


def getregentry():
    return codecs.CodecInfo(_encode, _decode, name="idna")
