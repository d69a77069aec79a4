"""The codec for host names, for those in ASCII: that for all others has tables of 1.1 MB.

Sockets, TLS and urllib3 encode each host's name with it. urllib3 takes no other name without a
package that is not in here either, so nothing is lost. Punycode (`xn--...`) is ASCII.
"""

from __future__ import annotations

import codecs


def _encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
    """Return the name as bytes. Raise UnicodeError as RFC 3490, section 4.1, wants it."""
    encoded = text.encode("ascii")
    labels = encoded.removesuffix(b".").split(b".") if encoded else []
    if not all(0 < len(label) < 64 for label in labels):
        raise UnicodeError("label empty or too long")
    return encoded, len(text)


def _decode(data: bytes, errors: str = "strict") -> tuple[str, int]:
    return bytes(data).decode("ascii"), len(data)


def getregentry() -> codecs.CodecInfo:
    """Return the codec, for the module `encodings`."""
    return codecs.CodecInfo(_encode, _decode, name="idna")
