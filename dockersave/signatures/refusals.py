"""Why signatures do not count, and how to say it in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SignatureError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_DETAIL = 200
"""Characters of a detail that is shown."""

_ALONE: Mapping[str, tuple[str, str]] = {
    "other key": (
        "it is signed, but not by {keys}",
        "was it signed with another key, or by somebody else?",
    ),
    "other image": (
        "its signature is of another image: {detail}",
        "the registry, or whoever pushed the signature, mixes things up",
    ),
    "damaged": (
        "its signature is damaged: {detail}",
        "sign the image again, or tell whoever published it",
    ),
    "annotation": (
        "its signature does not have the annotation {detail}",
        "is it the right image? annotations are given when it is signed",
    ),
    "other name": (
        "its signature is for another name: {detail}",
        "the policy's signedIdentity says which names are right",
    ),
    "nameless": (
        "its signature names no image, but the policy's signedIdentity asks for a name",
        "bundles have no names: write a policy as in dockersave's own format",
    ),
    "keyless": (
        "it is signed with a certificate instead of a key (keyless), which is not checked",
        "cosign verify checks it; or sign it with a key, too",
    ),
    "notation": (
        "it is signed with notation, which is not checked",
        "notation verify checks it; or sign it with cosign and a key, too",
    ),
    "attestation": (
        "it has attestations, but no signature",
        "sign it: cosign sign with your key",
    ),
    "too many": ("none of its first {detail} signatures counts", "remove those that are outdated"),
}
"""The line and the hint if there is one kind of them, the one that leads nearest to success
first."""

_COUNTED: Mapping[str, str] = {
    "other key": "by other keys",
    "other image": "of other images",
    "damaged": "damaged",
    "annotation": "without the annotation",
    "other name": "for other names",
    "nameless": "without a name",
    "keyless": "keyless",
    "notation": "by notation",
    "attestation": "only attestations",
    "too many": "not looked at",
}
"""The words for several kinds at once, after their number."""


class Refused(Exception):
    """A signature that does not count.

    Args:
        kind: why, a key of `_ALONE`.
        detail: more about it, safe to print.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind} {detail}".strip())
        self.kind = kind
        self.detail = detail

    @classmethod
    def damaged(cls, why: str) -> Refused:
        """A signature that is not what it should be."""
        return cls("damaged", shown(why, _DETAIL))


class Refusals:
    """All signatures of an image that do not count."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._details: dict[str, str] = {}

    def add(self, refused: Refused) -> None:
        """Count one."""
        self._counts[refused.kind] = self._counts.get(refused.kind, 0) + 1
        self._details.setdefault(refused.kind, refused.detail)

    def error(self, keys: int) -> SignatureError:
        """The error for an image without a signature that counts.

        Args:
            keys: how many were accepted.
        """
        kinds = [kind for kind in _ALONE if kind in self._counts]
        these = "this key" if keys == 1 else "any of these keys"
        if not kinds:
            return SignatureError(
                "it is not signed",
                "sign it with cosign; a signature must be in the image's repository",
            )
        if len(kinds) == 1:
            line, hint = _ALONE[kinds[0]]
            return SignatureError(line.format(keys=these, detail=self._details[kinds[0]]), hint)
        parts = [f"{self._counts[kind]} {_COUNTED[kind]}" for kind in kinds]
        return SignatureError(
            f"none of its signatures is by {these} and right: {', '.join(parts)}",
            _ALONE[kinds[0]][1],
        )
