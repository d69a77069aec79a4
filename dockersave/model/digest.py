"""Size and digest: the one place where bytes are judged."""

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
    """Judges bytes that come in order.

    Args:
        digest: what they must hash to; None to learn it.
        size: how many they must be, in bytes; None to learn it.
        what: what they are, for the message.
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
            ContentError: they are more than the size allows.
        """
        self.seen += len(data)
        if self.size is not None and self.seen > self.size:
            raise ContentError(f"{self.what} is longer than its {self.size} bytes")
        self._hash.update(data)

    @property
    def value(self) -> str:
        """The digest of what was taken so far."""
        return f"{self.algorithm}:{self._hash.hexdigest()}"

    def finish(self) -> None:
        """Judge.

        Raises:
            ContentError: the size or the digest is not what it should be.
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
    """Judge bytes that are all here.

    Args:
        body: the bytes.
        digest: what they must hash to.
        what: what they are, for the message.
        size: how many they must be, in bytes, where that is known.

    Raises:
        ContentError: they are not.
    """
    verifier = Verifier(digest, size, what)
    verifier.update(body)
    verifier.finish()
