"""What a signature says, in both of cosign's forms, and whether it is what is required.

Sources: sigstore/cosign, specs/SIGNATURE_SPEC.md (simple signing: the payload is a layer of the
manifest with the tag `sha256-HEX.sig`) and specs/BUNDLE_SPEC.md; protobuf-specs,
sigstore_bundle.proto (version 0.3); DSSE 1.0, protocol.md; in-toto attestations, Statement v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import shown
from ..model.digest import is_digest
from ..values import dataclass
from .encodings import EncodingError, base64, json_object
from .refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from .keys import PublicKey

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
"""Annotations of a layer that is a payload."""

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "dev.sigstore.bundle.predicateType"
"""An annotation of a manifest with a bundle."""
IS_SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""The predicate of a statement that says no more than that somebody signed."""
NOTATION = "application/vnd.cncf.notary.signature"

_BUNDLES = (BUNDLE, "application/vnd.dev.sigstore.bundle+json;version=0.3")
_CERTIFIED = ("certificate", "x509CertificateChain")
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a signature must be.

    Args:
        keys: one of them must have made it.
        annotations: must be in what was signed.
        identity: whether the name that was signed is the image's; None if it does not matter.
    """

    keys: tuple[PublicKey, ...]
    annotations: Mapping[str, str]
    identity: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that nobody has checked yet, and what it says.

    Args:
        kind: `cosign`, the older form, or `bundle`.
        message: the bytes that were signed.
        signatures: of the message; one suffices.
        subjects: the digests that it is about, each with its annotations.
        name: of the image; empty if the form has none.
    """

    kind: str
    message: bytes
    signatures: tuple[bytes, ...]
    subjects: Mapping[str, Mapping[str, Any]]
    name: str = ""

    @classmethod
    def of_payload(cls, payload: bytes, signature: str) -> Signed:
        """A signature in cosign's older form.

        Args:
            payload: the layer.
            signature: its annotation.

        Raises:
            Refused: it is damaged.
        """
        try:
            made = base64(signature)
            document = json_object(payload)
        except EncodingError as failure:
            raise Refused.damaged(str(failure)) from None
        critical = _object(document, "critical")
        if critical.get("type") != "cosign container image signature":
            raise Refused.damaged("its payload is not of cosign's type")
        digest = _object(critical, "image").get("docker-manifest-digest")
        if not isinstance(digest, str) or not is_digest(digest):
            raise Refused.damaged("its payload has no digest")
        name = _object(critical, "identity").get("docker-reference")
        notes = document.get("optional") or {}
        if not isinstance(notes, dict) or not isinstance(name, str):
            raise Refused.damaged("its payload has a part that is not what it should be")
        return cls("cosign", payload, (made,), {digest: notes}, name)

    @classmethod
    def of_bundle(cls, body: bytes) -> Signed:
        """A signature in a Sigstore bundle.

        Args:
            body: the bundle.

        Raises:
            Refused: it is damaged, or not checked here.
        """
        try:
            return cls._of_bundle(json_object(body))
        except EncodingError as failure:
            raise Refused.damaged(str(failure)) from None

    @classmethod
    def _of_bundle(cls, bundle: dict[str, Any]) -> Signed:
        if bundle.get("mediaType") not in _BUNDLES:
            raise Refused.damaged("its bundle is not of version 0.3")
        material = _object(bundle, "verificationMaterial")
        if any(key in material for key in _CERTIFIED):
            raise Refused("keyless")
        if "messageSignature" in bundle or not isinstance(material.get("publicKey"), dict):
            raise Refused.damaged("its bundle is not of a kind that cosign makes")
        envelope = _object(bundle, "dsseEnvelope")
        texts = [envelope.get("payload"), *_signatures(envelope)]
        if envelope.get("payloadType") != _PAYLOAD or not all(isinstance(t, str) for t in texts):
            raise Refused.damaged("its envelope is not what it should be")
        payload, *signatures = map(base64, texts)
        message = b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)
        statement = json_object(payload)
        if statement.get("_type") not in _STATEMENTS:
            raise Refused.damaged("its statement is not of a known type")
        if statement.get("predicateType") != IS_SIGNED:
            raise Refused("attestation")
        return cls("bundle", message, tuple(signatures), _subjects(statement))

    def check(self, digests: Collection[str], requirement: Requirement) -> PublicKey:
        """Check it.

        Args:
            digests: what it may be about.
            requirement: what it must be.

        Returns:
            The key that made it.

        Raises:
            Refused: it is not what is required.
        """
        about = [digest for digest in self.subjects if digest in digests]
        if not about:
            raise Refused("other image", shown(", ".join(self.subjects) or "none"))
        key = next(
            (
                key
                for key in requirement.keys
                for made in self.signatures
                if key.verifies(made, self.message)
            ),
            None,
        )
        if key is None:
            raise Refused("other key")
        # What it says counts only from here on.
        for name, value in requirement.annotations.items():
            if not all(self.subjects[digest].get(name) == value for digest in about):
                raise Refused("annotation", shown(f"{name}={value}"))
        if requirement.identity and not self.name:
            raise Refused("nameless")
        if requirement.identity and not requirement.identity(self.name):
            raise Refused("other name", shown(self.name))
        return key


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise Refused.damaged(f"it has no {key}")
    return value


def _signatures(envelope: Mapping[str, Any]) -> list[Any]:
    made = envelope.get("signatures")
    # One in version 0.3; DSSE allows several.
    if not isinstance(made, list) or len(made) != 1:
        raise Refused.damaged("its envelope has not one signature")
    return [each.get("sig") if isinstance(each, dict) else None for each in made]


def _subjects(statement: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    subjects = statement.get("subject")
    for subject in subjects if isinstance(subjects, list) else ():
        digests = subject.get("digest") if isinstance(subject, dict) else None
        notes = (subject.get("annotations") if isinstance(subject, dict) else None) or {}
        if not isinstance(digests, dict) or not isinstance(notes, dict):
            raise Refused.damaged("its statement has a subject that is none")
        for algorithm, value in digests.items():
            digest = f"{algorithm}:{value}"
            if is_digest(digest) and found.setdefault(digest, notes) != notes:
                raise Refused.damaged("its statement names a digest twice")
    return found
