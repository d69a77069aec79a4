"""Size and digest: the one place where bytes are verified."""

from __future__ import annotations

import hashlib
import re

from ..errors import ContentError

# OCI image specification, descriptor.md, "Digests"; registered algorithms only.
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")

Buffer = bytes | bytearray | memoryview


def is_digest(text: object) -> bool:
    """Whether `text` is a digest that may become part of a path or a URL."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def digest_of(body: Buffer, algorithm: str = "sha256") -> str:
    """The digest of `body`, as `algorithm:hex`."""
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


class Verifier:
    """Verifies bytes that come in order.

    Args:
        digest: the expected digest; None to compute it.
        size: the expected size in bytes; None for any.
        what: their name for messages.
    """

    __slots__ = ("_hash", "algorithm", "digest", "seen", "size", "what")

    def __init__(self, digest: str | None, size: int | None, what: str) -> None:
        self.algorithm = digest.partition(":")[0] if digest else "sha256"
        self._hash = hashlib.new(self.algorithm)
        self.digest = digest
        self.size = size
        self.what = what
        self.seen = 0

    def update(self, data: Buffer) -> None:
        """Take the next bytes.

        Raises:
            ContentError: they exceed the size.
        """
        self.seen += len(data)
        if self.size is not None and self.seen > self.size:
            raise ContentError(f"{self.what} is longer than the stated {self.size} bytes")
        self._hash.update(data)

    @property
    def value(self) -> str:
        """The digest of the bytes so far."""
        return f"{self.algorithm}:{self._hash.hexdigest()}"

    def finish(self) -> None:
        """Check size and digest.

        Raises:
            ContentError: the size or the digest is wrong.
        """
        if self.size is not None and self.seen != self.size:
            raise ContentError(
                f"{self.what} has {self.seen} bytes instead of {self.size}", transient=True
            )
        if self.digest is not None and self.value != self.digest:
            raise ContentError(
                f"{self.what} hashes to {self.value} instead of {self.digest}",
                "the registry, or something in between, changes the content; try another network",
                transient=True,
            )


def check(body: Buffer, digest: str, what: str, size: int | None = None) -> None:
    """Verify complete bytes.

    Args:
        body: the bytes.
        digest: the expected digest.
        what: their name for messages.
        size: the expected size in bytes, if known.

    Raises:
        ContentError: they are wrong.
    """
    verifier = Verifier(digest, size, what)
    verifier.update(body)
    verifier.finish()
